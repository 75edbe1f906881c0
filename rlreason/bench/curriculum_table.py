"""The figures of `rlreason bench curriculum` as tables for a terminal; what they mean is in `curriculum`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

HEADER = ("updates", "mastered", "final success, %", "regret, points")


def render(figures: Mapping[str, Any]) -> RenderableType:
    """A table a learner, a row a policy, and SEC's sweep where there is one.

    Args:
        figures: what `bench_curriculum` returns; "sweep": what `sweep_sec` does.
    """
    setting = figures["setting"]
    said = (
        f"{setting['seeds']} seeds, {setting['updates']} updates of {setting['problems']} problems x "
        f"{setting['group']} rollouts, floor {setting['floor']:g}. updates: until success is {setting['mastered']:g} "
        "on every arm that can be learned, the budget where it never is; regret: success the oracle had more, mean "
        "over updates. Means with 95% intervals over seeds."
    )
    parts: list[RenderableType] = [Text(said)]
    for learner, policies in figures["learners"].items():
        parts += [Text(), _policies(learner, policies)]
    for learner, points in figures.get("sweep", {}).items():
        parts += [Text(), _sweep(learner, points)]
    return Group(*parts)


def _policies(learner: str, policies: Mapping[str, Any]) -> Table:
    table = _table(learner, HEADER)
    for policy, shown in policies.items():
        table.add_row(
            Text(policy),
            _interval(shown["updates_to_mastery"], "{:.0f}"),
            f"{shown['mastered']:.0%}",
            _interval(shown["final_success"], "{:.1f}", 100),
            _interval(shown["regret"], "{:.1f}", 100),
        )
    return table


def _sweep(learner: str, points: Sequence[Mapping[str, Any]]) -> Table:
    taus = sorted({point["tau"] for point in points})
    table = _table(f"{learner}: SEC's regret, points", [f"tau {tau:g}" for tau in taus])
    for alpha in sorted({point["alpha"] for point in points}):
        row = {point["tau"]: 100 * point["regret"]["value"] for point in points if point["alpha"] == alpha}
        table.add_row(f"alpha {alpha:g}", *(f"{row[tau]:.1f}" for tau in taus))
    return table


def _interval(shown: Mapping[str, float], form: str, times: float = 1) -> Text:
    value, low, high = (form.format(times * shown[key]) for key in ("value", "low", "high"))
    return Text(f"{value} [{low}, {high}]")


def _table(first: str, names: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(Text(first))
    for name in names:
        table.add_column(name, justify="right")
    return table
