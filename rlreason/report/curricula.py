"""What the curricula did: which bandit arms were trained on, how each did, and when it was mastered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import qualitative

from rlreason.records import RunFolder, read_table
from rlreason.report.figures import Chart, as_percent, new_figure
from rlreason.report.summary import Summary
from rlreason.report.tables import NOTHING, Cell, Table, percent
from rlreason.report.training import ON_POLICY

CELL_PALETTE = tuple(qualitative.Safe)
"""Colour-blind-safe, and longer than that of the arms."""
WINDOW = 10
"""Updates over which the pictures average, so that draws of some ten prompts an update make a readable line."""


@dataclass(frozen=True, slots=True)
class CurriculumSummary:
    """One `rl` stage with more than one bandit arm.

    Attributes:
        stage, label: identity, and the stages from the base model to it.
        rule: the recipe's type of curriculum, and "+ gate" where it has one.
        names: bandit arms, without what all of them have in common ("TASK:LEVEL:").
        drawn, success, probability: index update, one column a bandit arm: problems; share of rollouts right, NaN
            where none was judged; probability of a draw.
        mastered: bandit arm -> the update it was mastered in; only where the stage has a gate, None where it never was.
    """

    stage: str
    label: str
    rule: str
    names: tuple[str, ...]
    drawn: pd.DataFrame
    success: pd.DataFrame
    probability: pd.DataFrame
    mastered: dict[str, int | None]

    def as_json(self) -> dict[str, Any]:
        """The stage's entry in report.json."""
        shares = self.drawn.sum() / max(1, int(self.drawn.to_numpy().sum()))
        return {
            "rule": self.rule,
            "bandit_arms": {
                name: {"share_drawn": float(shares[name]), "mastered": self.mastered.get(name)} for name in self.names
            },
        }


def summarise_curricula(folder: RunFolder, summary: Summary) -> tuple[CurriculumSummary, ...]:
    """Every `rl` stage whose curriculum had a choice."""
    stages = {curves.stage: curves.label for curves in summary.curves if curves.type in ON_POLICY}
    rows = read_table(folder, "curriculum", stages)
    found = []
    for identity, label in stages.items():
        mine = rows[rows["stage"] == identity]
        if mine["arm"].nunique() < 2:
            continue
        mine = mine.assign(arm=_short(mine["arm"]))
        order = list(dict.fromkeys(mine["arm"]))
        wide = {
            column: mine.pivot(index="update", columns="arm", values=column)[order].astype("float64")
            for column in ("drawn", "success", "probability")
        }
        said = summary.plan.stages[identity].config.get("curriculum", {})
        rule = str(said.get("type", "uniform")) + (" + gate" if said.get("gate") else "")
        mastered = _mastered(mine) if said.get("gate") else {}
        found.append(CurriculumSummary(identity, label, rule, tuple(order), **wide, mastered=mastered))
    return tuple(found)


def _short(names: pd.Series) -> pd.Series:
    """Names of bandit arms without the task and level that all of them share."""
    parts = names.str.split(":", expand=True)
    keep = [column for column in parts if parts[column].nunique() > 1]
    return parts[keep].agg(":".join, axis=1)


def _mastered(rows: pd.DataFrame) -> dict[str, int | None]:
    first = rows[rows["mastered"].fillna(False).astype(bool)].groupby("arm")["update"].min()
    return {arm: int(first[arm]) if arm in first else None for arm in dict.fromkeys(rows["arm"])}


def curriculum_table(curricula: Sequence[CurriculumSummary]) -> list[Table]:
    """One table a stage: a row a bandit arm."""
    return [Table(_headings(each), tuple(_row(each, name) for name in each.names), _title(each)) for each in curricula]


def _title(each: CurriculumSummary) -> str:
    return each.label if each.rule == "uniform" else f"{each.label} ({each.rule})"


def _headings(each: CurriculumSummary) -> tuple[str, ...]:
    columns = ("cell", "problems", "share of the problems, first → last tenth", "rollouts right, first → last tenth")
    return (*columns, "mastered in update") if each.mastered else columns


def _row(each: CurriculumSummary, name: str) -> tuple[Cell, ...]:
    share = each.drawn[name] / each.drawn.sum(axis=1)
    cells = [
        Cell(name),
        Cell(f"{each.drawn[name].sum():,.0f}", value=float(each.drawn[name].sum())),
        _change(share),
        _change(each.success[name].dropna()),
    ]
    if each.mastered:
        update = each.mastered[name]
        cells.append(Cell("never") if update is None else Cell(f"{update:,}"))
    return tuple(cells)


def _change(values: pd.Series) -> Cell:
    if values.empty:
        return NOTHING
    tenth = max(1, len(values) // 10)
    return Cell(f"{percent(values.iloc[:tenth].mean())} → {percent(values.iloc[-tenth:].mean())}")


def cell_colors(curricula: Sequence[CurriculumSummary]) -> dict[str, str]:
    """One colour a cell, the same in every chart; past the palette's length they begin again."""
    names = dict.fromkeys(name for each in curricula for name in each.names)
    return {name: CELL_PALETTE[index % len(CELL_PALETTE)] for index, name in enumerate(names)}


def curriculum_charts(curricula: Sequence[CurriculumSummary]) -> list[Chart]:
    """Two charts a stage: what was trained on, as a stacked area, and how each bandit arm did."""
    colors = cell_colors(curricula)
    charts = []
    for each in curricula:
        share = each.drawn.div(each.drawn.sum(axis=1), axis=0).rolling(WINDOW, min_periods=1).mean()
        success = each.success.rolling(WINDOW, min_periods=1).mean()
        what = f"by update, one a cell, in {_title(each)}."
        for kind, title, alt, figure in (
            (
                "drawn",
                "trained on",
                f"Stacked areas of the share of problems {what}",
                _lines(share, colors, stacked=True),
            ),
            (
                "success",
                "right",
                f"Lines of the share of rollouts right {what}",
                _lines(success, colors, stacked=False),
            ),
        ):
            charts.append(Chart("curricula", f"{kind}_{each.stage}", f"{_title(each)}: {title}", alt, figure))
    return charts


def _lines(values: pd.DataFrame, colors: Mapping[str, str], *, stacked: bool) -> go.Figure:
    figure = new_figure("share of the problems" if stacked else "rollouts right", "update", height=260)
    for name in values:
        figure.add_scatter(
            name=str(name),
            x=[int(update) for update in values.index],
            y=[None if pd.isna(value) else float(value) for value in values[name]],
            mode="lines",
            line={"color": colors[str(name)], "width": 0.8 if stacked else 1.8},
            stackgroup="all" if stacked else None,
            hovertemplate="update %{x}: %{y:.1%}",
        )
    as_percent(figure)
    return figure
