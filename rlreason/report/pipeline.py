"""How the sides of an asynchronous stage kept each other busy: shares of the time at work, and the rollouts' staleness.

Stages that sample and learn by turns leave no timeline, and are not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from rlreason.records import RunFolder, read_table
from rlreason.records.schema import ACTORS as PHASE_ACTORS
from rlreason.report.figures import Chart, new_figure
from rlreason.report.summary import Summary
from rlreason.report.tables import NOTHING, Cell, Table, percent
from rlreason.report.training import ON_POLICY

ACTORS = tuple(dict.fromkeys(PHASE_ACTORS.values()))
LAST_UPDATES = 20
"""Updates that the picture of the timeline shows."""
COLORS = {"generate": "#4477aa", "load": "#66ccee", "score": "#228833", "learn": "#ee6677", "sync": "#ccbb44"}


@dataclass(frozen=True, slots=True)
class PipelineSummary:
    """One asynchronous stage.

    Attributes:
        stage, label: identity, and the stages from the base model to it.
        busy: actor -> share of the time from the first piece of work to the last in which it was at work.
        staleness_mean, staleness_max: of the rollouts learned from, in updates.
        dropped, reweighted: rollouts that were too old, by what became of them.
    """

    stage: str
    label: str
    busy: dict[str, float]
    staleness_mean: float
    staleness_max: float
    dropped: float
    reweighted: float

    def as_json(self) -> dict[str, Any]:
        """The stage's entry in report.json."""
        return {key: value for key, value in asdict(self).items() if key != "stage"}


def summarise_pipelines(folder: RunFolder, summary: Summary) -> tuple[tuple[PipelineSummary, ...], pd.DataFrame]:
    """(every asynchronous stage, the rows of all timelines)."""
    stages = {curves.stage: curves for curves in summary.curves if curves.type in ON_POLICY}
    timeline = read_table(folder, "timeline", stages)
    found = []
    for identity, curves in stages.items():
        mine = timeline[timeline["stage"] == identity]
        if mine.empty:
            continue
        metrics = curves.metrics
        found.append(
            PipelineSummary(
                identity,
                curves.label,
                busy_shares(mine),
                float(metrics["staleness_mean"].mean()),
                float(metrics["staleness_max"].max()),
                float(metrics["dropped_stale"].sum()),
                float(metrics["reweighted_stale"].sum()),
            )
        )
    return tuple(found), timeline


def busy_shares(rows: pd.DataFrame) -> dict[str, float]:
    """Actor -> share of the time from the first start to the last end that its pieces of work cover; pieces may
    overlap, and then count once. A gap that a stopped run left counts as time at rest."""
    whole = rows["end"].max() - rows["start"].min()
    return {actor: covered(rows[rows["actor"] == actor]) / whole for actor in ACTORS if whole > 0}


def covered(rows: pd.DataFrame) -> float:
    """Seconds in which at least one piece of work was under way."""
    ordered = rows.sort_values("start")
    starts, ends = ordered["start"].to_numpy(), np.maximum.accumulate(ordered["end"].to_numpy())
    before = np.concatenate([starts[:1], ends[:-1]])
    return float(np.maximum(ends - np.maximum(starts, before), 0.0).sum())


def pipeline_table(pipelines: Sequence[PipelineSummary]) -> list[Table]:
    """A row a stage."""
    headings = ("stage", *(f"{actor} at work" for actor in ACTORS), "staleness, mean", "most", "dropped", "reweighted")
    rows = []
    for each in pipelines:
        shares = (each.busy.get(actor) for actor in ACTORS)
        busy = [NOTHING if share is None else Cell(percent(share), value=share) for share in shares]
        figures = [
            Cell(f"{value:,.{digits}f}", value=value)
            for value, digits in (
                (each.staleness_mean, 2),
                (each.staleness_max, 0),
                (each.dropped, 0),
                (each.reweighted, 0),
            )
        ]
        rows.append((Cell(each.label), *busy, *figures))
    return [Table(headings, tuple(rows))]


def pipeline_charts(pipelines: Sequence[PipelineSummary], timeline: pd.DataFrame) -> list[Chart]:
    """One chart a stage: who worked when, over the last updates."""
    charts = []
    for each in pipelines:
        mine = timeline[timeline["stage"] == each.stage]
        shown = mine[mine["update"] > mine["update"].max() - LAST_UPDATES]
        alt = f"Bars of who was at work when in {each.label}, over the last {shown['update'].nunique()} updates."
        charts.append(Chart("pipeline", f"timeline_{each.stage}", f"{each.label}: at work", alt, _bars(shown)))
    return charts


def _bars(rows: pd.DataFrame) -> go.Figure:
    figure = new_figure("", "seconds", height=220)
    first = rows["start"].min()
    for phase, color in COLORS.items():
        mine = rows[rows["phase"] == phase]
        if not mine.empty:
            figure.add_bar(
                name=phase,
                orientation="h",
                y=mine["actor"].tolist(),
                x=(mine["end"] - mine["start"]).tolist(),
                base=(mine["start"] - first).tolist(),
                customdata=mine["update"].tolist(),
                marker={"color": color, "line": {"width": 0}},
                hovertemplate="update %{customdata}: %{x:.2f} s",
            )
    figure.update_layout(barmode="overlay", yaxis={"categoryorder": "array", "categoryarray": list(reversed(ACTORS))})
    return figure
