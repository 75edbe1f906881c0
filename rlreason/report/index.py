"""One page over many runs: what each was, how its arms did, what its report says, and where it lies.

Read from the reports as they stand (report.json); nothing is counted again. A run without a report, or with one that
cannot be read, is listed as such.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rlreason.errors import RecordsError, UserError
from rlreason.records import RunFolder, read_json, write_text
from rlreason.report.figures import arm_styles
from rlreason.report.render import environment
from rlreason.report.tables import Cell, Table, share_cell

DEPTH = 3
"""How many folders deep runs are looked for."""


@dataclass(frozen=True, slots=True)
class IndexedRun:
    """A run as the index shows it.

    Attributes:
        path: of its folder, from the index's.
        links: title -> address of the forms of its report, relative to the index.
        problem: why its report cannot be told from; "" where it can, and the rest is then filled.
        verdict: its report's verdicts in short, where it has some.
    """

    path: Path
    links: dict[str, str]
    problem: str = ""
    recipe: str = ""
    description: str = ""
    started: str = ""
    seeds: tuple[int, ...] = ()
    unclean: bool = False
    missing: int = 0
    verdict: str = ""
    table: Table | None = None

    def as_json(self) -> dict[str, Any]:
        """The run's entry in `rlreason index --json`."""
        levels = self.table.headings[1:] if self.table else ()
        rows = self.table.rows if self.table else ()
        return {
            "path": str(self.path),
            "problem": self.problem,
            "recipe": self.recipe,
            "started": self.started,
            "seeds": list(self.seeds),
            "unclean": self.unclean,
            "missing": self.missing,
            "verdict": self.verdict,
            "arms": {
                row[0].text: {level: cell.value for level, cell in zip(levels, row[1:], strict=True)} for row in rows
            },
        }


def find_runs(folder: Path) -> list[RunFolder]:
    """Runs in a folder and the folders in it, `DEPTH` deep, by path; a run's own folders are not looked into.

    Raises:
        UserError: no such folder, or there is no run in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name one that holds runs, such as runs")
    found = _search(folder, DEPTH)
    if not found:
        raise UserError(f"there is no run in {folder} (a folder with a plan.json, at most {DEPTH} folders deep)")
    return found


def _search(folder: Path, depth: int) -> list[RunFolder]:
    run = RunFolder(folder)
    if run.plan_path.is_file():
        return [run]
    if not depth:
        return []
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [each for path in inner for each in _search(path, depth - 1)]


def index_runs(folder: Path) -> list[IndexedRun]:
    """Every run in the folder, as its report tells it; those that started last stand first."""
    runs = [_index(folder, run) for run in find_runs(folder)]
    return sorted(runs, key=lambda run: run.started, reverse=True)


def _index(folder: Path, run: RunFolder) -> IndexedRun:
    path = Path(os.path.relpath(run.path, folder))
    forms = {"report": "report.html", "Markdown": "report.md", "JSON": "report.json"}
    links = {
        title: quote((path / "report" / name).as_posix())
        for title, name in forms.items()
        if (run.report / name).is_file()
    }
    if "JSON" not in links:
        return IndexedRun(path, links, f"it has no report yet; rlreason report {run.path} writes one")
    try:
        told = read_json(run.report / "report.json")
        provenance = told["provenance"]
        return IndexedRun(
            path=path,
            links=links,
            recipe=str(told["recipe"]),
            description=str(told["description"]),
            started=str(provenance["started"]),
            seeds=tuple(provenance["seeds"]),
            unclean=bool(told.get("unclean")),
            missing=len(told["missing"]),
            verdict=_verdict(told.get("verdict")),
            table=_headline(told["arms"]),
        )
    except (RecordsError, KeyError, TypeError, AttributeError) as error:
        problem = f"its report.json cannot be read ({error!r}); rlreason report {run.path} renews it"
        return IndexedRun(path, links, problem)


def _headline(arms: dict[str, Any]) -> Table:
    """Greedy answers right, arms by levels."""
    levels = list(dict.fromkeys(level for arm in arms.values() for level in arm["levels"]))
    rows = []
    for name, arm in arms.items():
        cells = [
            share_cell(arm["levels"][level]["pass_at_1"]) if level in arm["levels"] else Cell("not evaluated")
            for level in levels
        ]
        rows.append((Cell(name, arm=name), *cells))
    return Table(("arm", *levels), tuple(rows))


def _verdict(told: Any) -> str:
    """How often each verdict was given; empty where the report has none."""
    if not isinstance(told, dict):
        return ""
    given: dict[str, list[str]] = {}
    for each in told.get("verdicts", ()):
        given.setdefault(str(each["verdict"]), []).append(f"{each['arm']} on {each['level']}")
    return "; ".join(f"{verdict}: {', '.join(where)}" for verdict, where in given.items())


def write_index(folder: Path) -> Path:
    """Write index.html into the folder; returns its path.

    Raises:
        UserError: there is no run in it.
    """
    runs = index_runs(folder)
    names = dict.fromkeys(row[0].arm for run in runs if run.table for row in run.table.rows)
    page = folder / "index.html"
    context = {"runs": runs, "styles": arm_styles(list(names))}
    write_text(page, environment(True).get_template("index.html.j2").render(context))
    return page
