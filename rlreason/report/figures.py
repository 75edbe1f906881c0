"""The report's charts, as plotly figures: one colour an arm everywhere, and no colour of their own for text or paper.

Backgrounds are transparent and the page sets text and grid colours for light and dark, so one figure serves both.
Every chart's numbers also stand in a table, for readers without scripts. Tables and wording are elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from rlreason.report.statistics import Estimate, PairedDifference
from rlreason.report.summary import Summary
from rlreason.report.training import ON_POLICY, Curves

# Okabe and Ito's colour-blind-safe palette, without its black and yellow, which one of the two backgrounds swallows
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C")
# Tol's light scheme, for fills: phases must not be taken for arms
PHASE_PALETTE = ("#77AADD", "#EEDD88", "#EE8866", "#44BB99", "#DDDDDD", "#FFAABB", "#BBCC33")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x")
DASHES = ("solid", "dash", "dot")


@dataclass(frozen=True, slots=True)
class Style:
    """How an arm is drawn; past the palette's length the dash changes, so that no two arms look alike soon."""

    color: str
    symbol: str
    dash: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure and where it stands: `section` of the page, a title, and in words what it shows."""

    section: str
    name: str
    title: str
    alt: str
    figure: go.Figure


def arm_styles(arms: Sequence[str]) -> dict[str, Style]:
    """One style an arm, by its place in the recipe."""
    return {
        arm: Style(
            PALETTE[index % len(PALETTE)],
            SYMBOLS[index % len(SYMBOLS)],
            DASHES[index // len(PALETTE) % len(DASHES)],
        )
        for index, arm in enumerate(arms)
    }


def charts(summary: Summary) -> list[Chart]:
    """All charts that the records allow, in the order of the page."""
    styles = arm_styles(list(summary.arms))
    return [
        *_levels(summary, styles),
        *_paired(summary, styles),
        *pass_at_k_charts(_estimates(summary), styles),
        *_training(summary, styles),
        *_phases(summary),
    ]


def new_figure(y_title: str = "", x_title: str = "", height: int = 300) -> go.Figure:
    """An empty figure in the report's style."""
    figure = go.Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 48, "r": 8, "t": 8, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,  # the page's own legend names the arms once
        hoverlabel={"namelength": -1},
        xaxis={"title": {"text": x_title, "standoff": 8}, "zeroline": False, "automargin": True},
        yaxis={"title": {"text": y_title, "standoff": 8}, "zeroline": False, "automargin": True},
    )
    return figure


def as_percent(figure: go.Figure) -> None:
    """Shares from 0 to 1, written as percent."""
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", tick0=0, dtick=0.25)


def _levels(summary: Summary, styles: Mapping[str, Style]) -> list[Chart]:
    levels = [
        level for level in summary.plan.evaluation.levels if any(level in a.levels for a in summary.arms.values())
    ]
    if not levels:
        return []
    figure = new_figure("greedy answers right")
    as_percent(figure)
    for name, arm in summary.arms.items():
        shown = [(level, arm.levels[level].pass_at_1) for level in levels if level in arm.levels]
        figure.add_bar(
            name=name,
            x=[level for level, _ in shown],
            y=[estimate.value for _, estimate in shown],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [estimate.high - estimate.value for _, estimate in shown],
                "arrayminus": [estimate.value - estimate.low for _, estimate in shown],
                "thickness": 1.2,
                "width": 3,
            },
            marker={"color": styles[name].color, "pattern": {"shape": "" if styles[name].dash == "solid" else "/"}},
            customdata=[[estimate.low, estimate.high] for _, estimate in shown],
            hovertemplate="%{x}: %{y:.1%} (%{customdata[0]:.1%} to %{customdata[1]:.1%})",
        )
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0.08)
    alt = "Bars of the share of greedy answers right, by level and arm, with 95% intervals."
    return [Chart("levels", "levels", "Greedy answers right, with 95% intervals", alt, figure)]


def _paired(summary: Summary, styles: Mapping[str, Style]) -> list[Chart]:
    """A forest plot a level: a row a pair, the first at the top."""
    rows = [
        ForestRow(
            panel=each.level,
            name=f"{each.pair.arm} vs {each.pair.against}",
            arm=each.pair.arm,
            against=each.pair.against,
            measured=each.measures["pass_at_1"],
            told=(each.measures["pass_at_1"].p_corrected,),
            hover="%{x:+.1f} (%{customdata[0]:+.1f} to %{customdata[1]:+.1f}), p %{customdata[2]:.3f}",
        )
        for each in summary.paired.comparisons
    ]
    found = []
    for level, figure in forest_plots(rows, styles, x_title="greedy difference (points)", heights=(90, 34)):
        alt = f"Dots of the paired difference in greedy answers right on {level}, a row a pair, with 95% intervals."
        found.append(Chart("paired", f"paired_{level}", level, alt, figure))
    return found


@dataclass(frozen=True, slots=True)
class ForestRow:
    """A row of a forest plot.

    Attributes:
        panel: which plot it stands in.
        told: what `hover` shows as customdata[2] and on, behind the interval's ends in percentage points.
    """

    panel: str
    name: str
    arm: str
    against: str
    measured: PairedDifference
    told: tuple[float, ...]
    hover: str


def forest_plots(
    rows: Sequence[ForestRow], styles: Mapping[str, Style], *, x_title: str, heights: tuple[int, int]
) -> Iterator[tuple[str, go.Figure]]:
    """(panel, figure) of each panel, all on one scale, rows from the top; `heights`: of frame, of row."""
    differences = [row.measured.difference for row in rows]
    left = min([0.0, *(each.low for each in differences)])
    right = max([0.0, *(each.high for each in differences)])
    margin = 0.05 * (right - left)
    for panel in dict.fromkeys(row.panel for row in rows):
        here = [row for row in rows if row.panel == panel]
        figure = new_figure(x_title=x_title, height=heights[0] + heights[1] * len(here))
        for place, row in enumerate(here):
            _add_row(figure, place, row, styles[row.arm])
        labels = [f"{row.arm}<br>vs {row.against}" for row in here]
        figure.update_yaxes(
            range=[len(here) - 0.5, -0.5], tickvals=list(range(len(here))), ticktext=labels, showgrid=False
        )
        figure.update_xaxes(range=[100 * (left - margin), 100 * (right + margin)], nticks=5)
        figure.update_xaxes(zeroline=True, zerolinecolor=PALETTE[-1])
        yield panel, figure


def _add_row(figure: go.Figure, place: int, row: ForestRow, style: Style) -> None:
    """A row's dot, filled where the difference is clear, and its interval, in percentage points."""
    difference = row.measured.difference
    value, low, high = (100 * x for x in (difference.value, difference.low, difference.high))
    figure.add_scatter(
        name=row.name,
        x=[value],
        y=[place],
        mode="markers",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - value],
            "arrayminus": [value - low],
            "color": style.color,
            "thickness": 2,
            "width": 0,
        },
        marker={
            "symbol": "circle" if row.measured.is_clear else "circle-open",
            "color": style.color,
            "size": 10,
            "line": {"width": 2, "color": style.color},
        },
        customdata=[[low, high, *row.told]],
        hovertemplate=row.hover,
    )


def _estimates(summary: Summary) -> dict[str, dict[str, dict[int, Estimate]]]:
    """pass@k by level and arm, in the recipe's order."""
    return {
        level: {name: arm.levels[level].pass_at_k for name, arm in summary.arms.items() if level in arm.levels}
        for level in summary.plan.evaluation.levels
    }


def pass_at_k_charts(
    levels: Mapping[str, Mapping[str, Mapping[int, Estimate]]], styles: Mapping[str, Style]
) -> list[Chart]:
    """A chart a level: a line an arm with its band. `levels`: level -> arm -> k -> estimate."""
    found = []
    for level, arms in levels.items():
        figure = new_figure("problems solved", "k (samples tried)", height=280)
        as_percent(figure)
        for name, estimates in arms.items():
            if estimates:
                _add_band(figure, name, estimates, styles[name])
        ks = sorted({k for estimates in arms.values() for k in estimates})
        if not ks:
            continue
        figure.update_xaxes(type="log", tickvals=ks, ticktext=[str(k) for k in ks])
        alt = f"Lines of pass@k over k on {level}, one an arm, with 95% bands."
        found.append(Chart("pass_at_k", f"pass_at_k_{level}", level, alt, figure))
    return found


def _add_band(figure: go.Figure, name: str, estimates: Mapping[int, Estimate], style: Style) -> None:
    ks = list(estimates)
    low = [estimates[k].low for k in ks]
    high = [estimates[k].high for k in ks]
    red, green, blue = (int(style.color[start : start + 2], 16) for start in (1, 3, 5))
    figure.add_scatter(
        x=ks + ks[::-1],
        y=high + low[::-1],
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.14)",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
    )
    figure.add_scatter(
        name=name,
        x=ks,
        y=[estimates[k].value for k in ks],
        mode="lines+markers",
        line={"color": style.color, "dash": style.dash, "width": 2},
        marker={"symbol": style.symbol, "size": 7},
        customdata=[[lower, upper] for lower, upper in zip(low, high, strict=True)],
        hovertemplate="pass@%{x}: %{y:.1%} (%{customdata[0]:.1%} to %{customdata[1]:.1%})",
    )


def _training(summary: Summary, styles: Mapping[str, Style]) -> list[Chart]:
    reinforced = [curves for curves in summary.curves if curves.type in ON_POLICY]
    supervised = [curves for curves in summary.curves if curves.type in ("pretrain", "sft")]
    wrong_steps = "right answers with wrong steps"
    wanted = [
        ("reward_mean", "Reinforcement learning: mean reward", "reward", reinforced),
        ("correct_mean", "Reinforcement learning: share right", "completions right", reinforced),
        ("loss", "Supervised training: loss", "loss (nats a token)", supervised),
        ("right_answer_wrong_steps", "Reinforcement learning: right answers with wrong steps", wrong_steps, reinforced),
    ]
    found = []
    for metric, title, y_title, stages in wanted:
        recorded = [curves for curves in stages if curves.before_after(metric)]
        if not recorded:
            continue
        figure = new_figure(y_title, "update", height=280)
        for curves in recorded:
            _add_curve(figure, curves, metric, styles)
        if metric in ("correct_mean", "right_answer_wrong_steps"):
            as_percent(figure)
        alt = f"Lines of {y_title} by update, one a training stage, in the colour of the arm that ends in it."
        section = "audit" if metric == "right_answer_wrong_steps" else "training"
        found.append(Chart(section, f"training_{metric}", title, alt, figure))
    return found


def _add_curve(figure: go.Figure, curves: Curves, metric: str, styles: Mapping[str, Style]) -> None:
    style = styles.get(curves.arm, Style(PALETTE[-1], "circle", "solid"))
    values = curves.metrics[metric].dropna()
    figure.add_scatter(
        name=curves.label,
        x=[int(update) for update in values.index],
        y=[float(value) for value in values],
        mode="lines",
        line={"color": style.color, "dash": style.dash, "width": 1.8},
        hovertemplate="update %{x}: %{y:.3f}",
    )


def _phases(summary: Summary) -> list[Chart]:
    timed = {curves.label: curves.phases() for curves in summary.curves if curves.phases()}
    if not timed:
        return []
    figure = new_figure(x_title="seconds an update (mean)", height=110 + 40 * len(timed))
    for index, phase in enumerate(dict.fromkeys(phase for phases in timed.values() for phase in phases)):
        figure.add_bar(
            name=phase,
            orientation="h",
            y=list(timed),
            x=[phases.get(phase, 0.0) for phases in timed.values()],
            marker={"color": PHASE_PALETTE[index % len(PHASE_PALETTE)]},
            hovertemplate="%{x:.2f} s",
        )
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "traceorder": "normal"}
    figure.update_layout(barmode="stack", showlegend=True, legend=legend, margin={"t": 40})
    figure.update_yaxes(autorange="reversed")
    alt = "Stacked bars of the mean seconds of an update by phase, one a reinforcement-learning stage."
    return [Chart("timings", "phases", "Where an update's time goes", alt, figure)]
