"""Outcomes for a person: tables for a terminal, and a page with two charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlreason.simulate.fit import Check
from rlreason.simulate.hours import PlanHours
from rlreason.simulate.rates import Rates
from rlreason.simulate.search import FAILURES, Outcome
from rlreason.simulate.timeline import SHARES

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Tol's light scheme, for fills
_FILLS = ("#77AADD", "#EEDD88", "#EE8866", "#44BB99", "#DDDDDD", "#FFAABB", "#BBCC33", "#AA4499")


def gains(outcomes: Sequence[Outcome]) -> dict[tuple[int, str], float]:
    """(GPUs, pipeline) -> updates an hour over those of the best synchronous one there; where that was simulated."""
    best: dict[int, float] = {}
    for each in outcomes:
        if each.pipeline.startswith("synchronous"):
            best[each.layout.gpus] = max(each.updates_per_hour, best.get(each.layout.gpus, 0.0))
    return {
        (each.layout.gpus, each.pipeline): each.updates_per_hour / best[each.layout.gpus]
        for each in outcomes
        if each.layout.gpus in best
    }


def render_outcomes(outcomes: Sequence[Outcome], rates: Rates) -> RenderableType:
    """Speed, then where the GPU-seconds go, a block for each number of GPUs."""
    speed = _table("GPUs", "pipeline", "split", "s/update", "updates/h", "compl./s", "gain", "stale", "dropped")
    spent = _table("GPUs", "pipeline", *SHARES, FAILURES)
    gain, last = gains(outcomes), None
    for each in outcomes:
        layout = each.layout
        count = f"{layout.gpus:,}" if layout.gpus != last else ""
        if count and last is not None:
            speed.add_section()
            spent.add_section()
        last = layout.gpus
        told = gain.get((layout.gpus, each.pipeline))
        speed.add_row(
            count,
            each.pipeline,
            "all" if layout.colocated else f"{layout.generator_gpus}+{layout.learners}",
            f"{each.update_s:.3g}",
            f"{each.updates_per_hour:,.4g}",
            f"{each.completions_per_s:,.4g}",
            "" if told is None else f"{told:.2f}x",
            f"{sum(versions * share for versions, share in each.staleness.items()):.2f}",
            f"{each.dropped:.1%}" if each.dropped else "",
        )
        spent.add_row(count, each.pipeline, *(_percent(share) for share in each.shares.values()))
    meanings = [Text(f"{name}: {meaning}", style="dim") for name, meaning in SHARES.items()]
    return Group(
        Text(f"rates: {rates.about}"),
        Text("split: GPUs that generate + learn; gain: over the faster synchronous pipeline; stale: mean versions\n"),
        speed,
        Text("\nwhere the GPU-seconds go\n"),
        spent,
        Text(),
        *meanings,
    )


def render_hours(hours: PlanHours) -> RenderableType:
    """Hours of the stages of the first seed (those of the others take as long), and of all."""
    table = _table("stage", "generate, h", "learn, h", "other, h", "device-hours")
    table.columns[0].justify = "left"
    for each in hours.stages:
        if each.stage.seed == hours.stages[0].stage.seed:
            who = f" {', '.join(each.stage.arms)}" if each.stage.type == "evaluate" else ""
            seconds = (each.generate, each.learn, each.other, each.total * hours.devices)
            table.add_row(each.stage.name + who, *(f"{value / 3600:.3f}" if value else "" for value in seconds))
    seeds = len({each.stage.seed for each in hours.stages})
    tokens = "the model's tokenizer" if hours.counted else "1.25 a word, ASSUMED: no tokenizer is here"
    return Group(
        Text(f"\nhours of the wall clock, one stage after another, {hours.devices} device(s) held throughout\n"),
        table,
        Text(f"\nin all ({seeds} seed(s)): {hours.wall_hours:.2f} h, {hours.device_hours:.2f} device-hours", "bold"),
        Text(f"rates: {hours.about}"),
        Text(f"generating: {_loud(hours.generating)}; learning: {_loud(hours.learning)}; tokens: {tokens}"),
    )


def _loud(basis: str) -> str:
    return "ASSUMED" if basis == "assumed" else basis


def render_checks(checks: Sequence[Check]) -> RenderableType:
    """Predicted and measured seconds of an update, and the median of the measured ones."""
    table = _table("rates from", "predicted for", "predicted, s", "measured, s", "ratio", "median, s")
    for each in checks:
        seconds = (f"{each.predicted_s:.3f}", f"{each.measured_s:.3f}", f"{each.ratio:.2f}")
        median = f"{each.measured_median_s:.3f}"
        table.add_row(each.fitted_on, each.predicted_for, *seconds, median)
    return table


def write_page(outcomes: Sequence[Outcome], title: str, path: Path) -> None:
    """Updates an hour, and the shares at the most GPUs, as one HTML file that asks no network."""
    speed, spent = _speed(outcomes), _spent(outcomes)
    speed.update_layout(title=f"{title}: updates an hour")
    parts = [
        speed.to_html(full_html=False, include_plotlyjs=True),
        spent.to_html(full_html=False, include_plotlyjs=False),
    ]
    body = "\n".join(parts)
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>simulation</title><body>{body}</body></html>'
    path.write_text(page, encoding="utf-8")


def _speed(outcomes: Sequence[Outcome]) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    for name in dict.fromkeys(each.pipeline for each in outcomes):
        own = [each for each in outcomes if each.pipeline == name]
        figure.add_scatter(
            x=[each.layout.gpus for each in own],
            y=[each.updates_per_hour for each in own],
            mode="lines+markers",
            name=name,
        )
    figure.update_xaxes(type="log", title="GPUs")
    figure.update_yaxes(type="log", title="updates an hour, failures included")
    return figure


def _spent(outcomes: Sequence[Outcome]) -> go.Figure:
    import plotly.graph_objects as go

    most = max(each.layout.gpus for each in outcomes)
    own = [each for each in outcomes if each.layout.gpus == most]
    figure = go.Figure()
    for name, fill in zip((*SHARES, FAILURES), _FILLS, strict=True):
        shares: list[float] = [each.shares[name] for each in own]
        figure.add_bar(y=[each.pipeline for each in own], x=shares, name=name, orientation="h", marker_color=fill)
    figure.update_layout(barmode="stack", title=f"where the GPU-seconds go, {most:,} GPUs")
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    return figure


def outcomes_json(outcomes: Sequence[Outcome]) -> list[Mapping[str, object]]:
    """Plain values, with each one's gain; None where nothing synchronous was simulated there."""
    gain = gains(outcomes)
    return [{**each.as_json(), "gain": gain.get((each.layout.gpus, each.pipeline))} for each in outcomes]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if share > 0 else ""


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, justify="left" if name in ("pipeline", "rates from", "predicted for") else "right")
    return table
