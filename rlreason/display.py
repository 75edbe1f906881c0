"""How the command line shows things on a terminal: tables, problems, findings, the headline of a report.

Model and task text is printed as plain text, never as markup. Not here: the report itself (`rlreason.report`) and a
run's live progress, which the runner draws.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from rlreason.doctor import Finding
from rlreason.types import Problem

if TYPE_CHECKING:  # they bring numpy and the pool
    from rlreason.difficulty import CellDifficulty
    from rlreason.report.tables import Table as ReportTable
    from rlreason.rewards.check import Report

WIDE = 240
"""Columns for tables whose rows should stay one line each, whatever the terminal then does with them."""
STATUS_STYLE = {"ok": "green", "warn": "yellow", "missing": "red"}


def print_json(value: object) -> None:
    """Indented JSON on standard output; paths and the like as text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_renderable(renderable: RenderableType) -> None:
    """Anything rich can draw, on standard output."""
    Console().print(renderable)


def print_table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A plain table of text."""
    table = _table(*header)
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row))
    Console().print(table)


def print_findings(findings: Iterable[Finding]) -> None:
    """The table of `rlreason doctor`."""
    table = _table("", "part", "found", "what it costs")
    for finding in findings:
        status = Text(finding.status, style=STATUS_STYLE[finding.status])
        table.add_row(status, Text(finding.name), Text(finding.found), Text(finding.cost))
    Console().print(table)


def print_problem(problem: Problem) -> None:
    """A problem as the policy reads it, and its gold derivation below."""
    console = Console(highlight=False, soft_wrap=True)  # on a pipe the text stays what it is
    console.print(Text(f"{problem.id}  cell {problem.cell}, level {problem.level}", style="bold"))
    console.print(Text(problem.prompt))
    console.print(Text(problem.target, style="green"))
    console.print()


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem as plain JSON values."""
    return {name: getattr(problem, name) for name in Problem.__slots__} | {"detail": dict(problem.detail)}


def print_note(text: str) -> None:
    """A paragraph of plain text."""
    Console(highlight=False).print(Text(text))


def print_figures(figures: Mapping[str, Any]) -> None:
    """Measured figures, one a line; nested ones under their heading's dotted name."""
    table = _table("figure", "value")
    for name, value in _flat(figures):
        table.add_row(Text(name), Text(f"{value:,.4g}" if isinstance(value, float) else str(value)))
    Console().print(table)


def print_difficulty(cells: Iterable[CellDifficulty]) -> None:
    """The table of `rlreason difficulty`, without the columns that nobody has."""
    rows = list(cells)
    shown = {
        "right": [_percent(row.right) for row in rows],
        "every step right": [_percent(row.every_step_right) for row in rows],
        "tokens": ["" if row.tokens is None else f"{row.tokens:.0f}" for row in rows],
        "cut off": [_percent(row.cut_off) for row in rows],
        "chance": [_percent(row.chance) for row in rows],
        "answers": ["" if row.answer_space is None else f"{row.answer_space:,.3g}" for row in rows],
        "interpolation": [_percent(row.interpolation) for row in rows],
    }
    columns = {name: values for name, values in shown.items() if any(values)}
    body = [(row.cell, row.problems, *(values[at] for values in columns.values())) for at, row in enumerate(rows)]
    print_table(("cell", "problems", *columns), body)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}%"


def print_reward_check(report: Report) -> None:
    """The table of `rlreason reward check`, the times, and the findings."""
    table = _table("completion")
    for name in ("n", "mean", "min", "max"):
        table.add_column(name, justify="right")
    table.add_column("failures")
    for row in report.rows:
        rewards = ("-" if value is None else f"{value:.2f}" for value in (row.mean, row.least, row.most))
        failures = ", ".join(f"{count} {kind}" for kind, count in row.failures.items())
        table.add_row(row.kind, str(row.n), *rewards, failures)
    console = Console(highlight=False)
    console.print(table)
    if report.p50_ms is not None:
        console.print(
            f"\none completion: {report.p50_ms:.2g} ms (p50), {report.p99_ms:.2g} ms (p99) of {report.calls} calls, "
            "the task's check and the way to the worker and back included"
        )
    if report.untried:
        console.print(f"\n{report.untried} completions were not tried: too many passed their deadline", style="yellow")
    console.print()
    for finding in report.findings:
        style = "red" if finding.severity == "serious" else "yellow"
        console.print(Text(f"{finding.severity} ({finding.name}): ", style=style) + Text(finding.says))
    if not report.findings:
        console.print("nothing found", style="green")


def print_headline(summary: Mapping[str, Any], page: Path) -> None:
    """Greedy accuracy of every arm at every level with its 95% interval, and where the report is.

    Args:
        summary: report.json.
        page: report.html.
    """
    arms: Mapping[str, Any] = summary["arms"]
    levels = list(dict.fromkeys(level for arm in arms.values() for level in arm.get("levels", {})))
    table = _table("arm", *levels)
    for name, arm in arms.items():
        cells = (_interval(arm.get("levels", {}).get(level)) for level in levels)
        table.add_row(Text(str(arm.get("title") or name)), *(Text(cell) for cell in cells))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(Text("greedy answers right, per cent, with the 95% Wilson interval"))
    for each in summary.get("verdict", {}).get("verdicts", ()):
        console.print(Text(f"{each['arm']} against {each['base'] or 'no base'} on {each['level']}: {each['verdict']}"))
    console.print(Text(f"report: {page}"))


def print_report_tables(tables: Iterable[ReportTable]) -> None:
    """Tables of a report, each with its title; what stands smaller on the page stands in parentheses."""
    console = Console(highlight=False, soft_wrap=True, width=WIDE)
    for table in tables:
        shown = _table(*table.headings)
        for row in table.rows:
            said = [(f"{cell.text} ({cell.detail})" if cell.detail else cell.text, cell.strong) for cell in row]
            shown.add_row(*(Text(text, style="bold" if strong else "") for text, strong in said))
        if table.title:
            console.print(Text(f"\n{table.title}"))
        console.print(shown)


def _interval(level: Mapping[str, Any] | None) -> str:
    if level is None or level.get("pass_at_1") is None:
        return "not evaluated"
    low, high = level["ci95"]
    return f"{100 * level['pass_at_1']:.1f} [{100 * low:.0f}-{100 * high:.0f}]"


def _flat(figures: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, object]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _table(*header: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    return table
