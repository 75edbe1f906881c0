"""The figures of `rlreason bench rewards` as a table for a terminal; what they mean is in `rewards`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

HEADER = ("", "median [quartiles]", "bar", "")


def render(figures: Mapping[str, Any]) -> RenderableType:
    """Every figure beside its bar. `figures` is what `bench_rewards` returns."""
    pool, recovery, bars, met = figures["pool"], figures["recovery"], figures["bars"], figures["met"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in HEADER:
        table.add_column(Text(name), justify="right" if name else "left")

    def row(label: str, measured: str, bar: str = "", name: str = "") -> None:
        verdict = Text() if not name else Text("met", "green") if met[name] else Text("not met", "red")
        table.add_row(label, Text(measured), bar, verdict)

    checks = bars["checks_per_s"]
    row("derivations checked/s, one core", _rate(figures["checks_per_s"]), f"over {checks:,.0f}", "checks_per_s")
    row("graded/s, check and 3 rewards", _rate(figures["graded_per_s"]))
    row("math-verify calls/s, one core", _rate(figures["math_verify_per_s"]))
    row(f"batch of {pool['batch']} in process, ms", _spread(pool["in_process_ms"], "{:.3g}"))
    row("through one worker, ms", _spread(pool["pool_ms"], "{:.3g}"))
    bar = f"under {bars['pool_overhead']:.0%}"
    row("overhead of the worker", _spread(pool["overhead"], "{:.0%}"), bar, "pool_overhead")
    row("  pickling alone would be", _spread(pool["plain_pickling"], "{:.0%}"))
    row("one fresh completion, ms", _spread(figures["fresh_ms"], "{:.3g}"))
    beyond = f"{recovery['deadline_s']:g} s + {bars['recovery_beyond_deadline_s']:g} s"
    seconds = f"{recovery['deadline_s']:g} s + {recovery['beyond_deadline_s']:.2g} s"
    row("both workers hang, then recover", seconds, beyond, "recovery_beyond_deadline_s")
    machine = figures["machine"]
    return Group(Text(f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}"), Text(), table)


def _rate(values: Mapping[str, float] | None) -> str:
    return _spread(values, "{:,.0f}")


def _spread(values: Mapping[str, float] | None, form: str) -> str:
    if values is None:
        return "not available"
    return f"{form.format(values['median'])} [{form.format(values['low'])}-{form.format(values['high'])}]"
