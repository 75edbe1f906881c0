"""The charts of "Where it goes wrong". Their numbers stand in the tables of `report.errors_tables`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from rlreason.report.breakdowns import Skill
from rlreason.report.errors import WAYS, Errors
from rlreason.report.errors_tables import kind_words
from rlreason.report.figures import (
    PHASE_PALETTE,
    Chart,
    ForestRow,
    Style,
    as_percent,
    forest_plots,
    new_figure,
)

OTHER_KINDS = "other kinds"
WAY_COLORS = dict(zip(WAYS, ("#44BB99", "#BBCC33", "#EE8866", "#FFAABB", "#EEDD88"), strict=True))
"""Of Tol's light scheme too: what rests on right steps is green."""
HEAT = ((0.0, "#F2F1EC"), (1.0, "#5AA5D6"))
"""Pale enough for one dark ink in every cell, so that the numbers stand out on both papers."""
INK = "#1B1B1B"
SPREAD = 0.3
"""How far apart the arms stand at one value, in values."""
MOST_ROWS = 40
"""Operations in a heat map; the tables have all."""


def kind_colors(errors: Errors) -> dict[str, str]:
    """One colour a kind of error, the most frequent first; the rest of many share the last one."""
    names = errors.kind_names
    shown = names if len(names) <= len(PHASE_PALETTE) else [*names[: len(PHASE_PALETTE) - 1], OTHER_KINDS]
    return {kind_words(name): color for name, color in zip(shown, PHASE_PALETTE, strict=False)}


def way_colors(errors: Errors) -> dict[str, str]:
    """The colours of the ways to a right answer that occur."""
    ways = set(errors.ways["way"])
    return {way: color for way, color in WAY_COLORS.items() if way in ways}


def error_charts(errors: Errors, styles: Mapping[str, Style]) -> list[Chart]:
    """All charts of the section, in the order of the page."""
    told = errors.breakdowns
    return [
        *_kinds(errors),
        *_ways(errors),
        *_lines(told.by_difficulty, "by_difficulty", "difficulty of the cell", styles),
        *_lines(told.by_length, "by_length", "steps of the gold derivation", styles),
        *_operations(told.by_operation),
        *_transfer(told.transfer),
        *_forgetting(told.forgetting, styles),
    ]


def _kinds(errors: Errors) -> list[Chart]:
    colors = kind_colors(errors)
    counts = errors.kinds.assign(shown=errors.kinds["kind"].map(kind_words)) if len(errors.kinds) else errors.kinds
    if len(counts):
        counts["shown"] = counts["shown"].where(counts["shown"].isin(colors), OTHER_KINDS)
    alt = "Stacked bars of the share of greedy completions by the kind of their first error on {}, a bar an arm."
    return _stacks(counts, errors.totals, ("shown", "all"), colors, "error_kinds", alt)


def _ways(errors: Errors) -> list[Chart]:
    alt = "Stacked bars of the share of greedy completions that are right on {}, by what they rest on, a bar an arm."
    return _stacks(errors.ways, errors.totals, ("way", "n"), way_colors(errors), "error_ways", alt)


def _stacks(
    counts: pd.DataFrame,
    totals: pd.DataFrame,
    columns: tuple[str, str],
    colors: Mapping[str, str],
    section: str,
    alt: str,
) -> list[Chart]:
    """A chart a level: a bar an arm, cut by category, as shares of the arm's greedy completions."""
    category, number = columns
    found = []
    for level, of in totals[~totals["probe"]].groupby("level", sort=False):
        here = counts[(counts["level"] == level) & ~counts["probe"]] if len(counts) else counts
        if here.empty:
            continue
        completions = of.set_index("arm")["completions"]
        figure = new_figure(x_title="greedy completions", height=70 + 26 * len(completions))
        for name, color in colors.items():
            mine = here[here[category] == name].groupby("arm")[number].sum().reindex(completions.index, fill_value=0)
            figure.add_bar(
                name=name,
                orientation="h",
                y=list(completions.index),
                x=[float(share) for share in mine / completions],
                marker={"color": color},
                hovertemplate="%{y}: %{x:.1%}",
            )
        figure.update_layout(barmode="stack", bargap=0.3, margin={"r": 24})
        figure.update_xaxes(range=[0, 1], tickformat=".0%", tick0=0, dtick=0.25)
        figure.update_yaxes(autorange="reversed")
        found.append(Chart(section, f"{section}_{level}", str(level), alt.format(level), figure))
    return found


def _lines(rows: pd.DataFrame, section: str, x_title: str, styles: Mapping[str, Style]) -> list[Chart]:
    """A chart a level: a line an arm over the values, with intervals."""
    found = []
    for level, here in rows.groupby("level", sort=False):
        figure = new_figure("greedy answers right", x_title, height=260)
        as_percent(figure)
        values = list(dict.fromkeys(here["value"]))
        arms = list(dict.fromkeys(here["arm"]))
        for index, arm in enumerate(arms):
            beside = SPREAD * ((index + 0.5) / len(arms) - 0.5)  # so that the intervals do not hide one another
            mine = here[here["arm"] == arm]
            _add_line(figure, arm, mine, [values.index(value) + beside for value in mine["value"]], styles[arm])
        figure.update_xaxes(tickvals=list(range(len(values))), ticktext=[str(value) for value in values])
        alt = (
            f"Lines of the share of greedy answers right on {level} over the {x_title}, one an arm, with 95% intervals."
        )
        found.append(Chart(section, f"{section}_{level}", str(level), alt, figure))
    return found


def _add_line(figure: go.Figure, arm: str, rows: pd.DataFrame, places: list[float], style: Style) -> None:
    figure.add_scatter(
        name=arm,
        x=places,
        y=list(rows["right"]),
        mode="lines+markers",
        error_y={
            "type": "data",
            "symmetric": False,
            "array": list(rows["high"] - rows["right"]),
            "arrayminus": list(rows["right"] - rows["low"]),
            "thickness": 1,
            "width": 0,
        },
        line={"color": style.color, "dash": style.dash, "width": 2},
        marker={"symbol": style.symbol, "size": 7},
        customdata=[[str(value), low, high] for value, low, high in rows[["value", "low", "high"]].to_numpy().tolist()],
        hovertemplate="%{customdata[0]}: %{y:.1%} (%{customdata[1]:.1%} to %{customdata[2]:.1%})",
    )


def _operations(rows: pd.DataFrame) -> list[Chart]:
    """A heat map a level: a row an operation, those asked most where there are very many."""
    found = []
    for level, here in rows.groupby("level", sort=False):
        asked = here.groupby("value")["problems"].max().sort_values(ascending=False, kind="stable")
        kept = here[here["value"].isin(asked.index[:MOST_ROWS])]
        alt = f"Heat map of the share of greedy answers right on {level}, an operation a row and an arm a column."
        figure = _heat(kept.assign(row=kept["value"], difference=float("nan")))
        found.append(Chart("by_operation", f"by_operation_{level}", f"{level}, in percent", alt, figure))
    return found


def _transfer(rows: pd.DataFrame) -> list[Chart]:
    if rows.empty:
        return []
    alt = "Heat map of the share of greedy answers right, a cell of a level or probe a row and an arm a column."
    figure = _heat(rows.assign(row=rows["level"] + " · " + rows["value"]))
    return [Chart("transfer", "transfer", "Greedy answers right, in percent", alt, figure)]


def _heat(rows: pd.DataFrame) -> go.Figure:
    """Shares right by row and arm; hovering tells the difference to the base arm where there is one."""
    arms, names = list(dict.fromkeys(rows["arm"])), list(dict.fromkeys(rows["row"]))
    wide = {
        column: rows.pivot_table(index="row", columns="arm", values=column, aggfunc="first", dropna=False)
        .reindex(index=names, columns=arms)
        .astype(float)
        for column in ("right", "difference")
    }
    shares = [[None if pd.isna(share) else float(share) for share in line] for line in wide["right"].to_numpy()]
    more = [
        ["" if pd.isna(each) else f"<br>{100 * each:+.1f} to its base" for each in line]
        for line in wide["difference"].to_numpy()
    ]
    figure = new_figure(height=100 + 22 * len(names))
    figure.update_layout(margin={"b": 8})
    figure.add_heatmap(
        z=shares,
        x=arms,
        y=names,
        customdata=more,
        zmin=0,
        zmax=1,
        colorscale=[list(stop) for stop in HEAT],
        showscale=False,
        xgap=1,
        ygap=1,
        text=[["" if share is None else f"{100 * share:.0f}" for share in line] for line in shares],
        texttemplate="%{text}",
        textfont={"color": INK},
        hovertemplate="%{y}, %{x}: %{z:.1%}%{customdata}<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(side="top", tickangle=-35, showgrid=False, type="category")
    return figure


def _forgetting(skills: Sequence[Skill], styles: Mapping[str, Style]) -> list[Chart]:
    """A forest plot a probe: a row an arm."""
    rows = [
        ForestRow(
            panel=skill.probe,
            name=skill.arm,
            arm=skill.arm,
            against=skill.against,
            measured=skill.difference,
            told=(100 * skill.before, 100 * skill.after),
            hover="%{customdata[2]:.1f}% → %{customdata[3]:.1f}%: %{x:+.1f} "
            "(%{customdata[0]:+.1f} to %{customdata[1]:+.1f})",
        )
        for skill in skills
    ]
    found = []
    for probe, figure in forest_plots(rows, styles, x_title="difference to the base (points)", heights=(80, 32)):
        alt = f"Dots of the paired difference to the base arm on the probe {probe}, a row an arm, with 95% intervals."
        found.append(Chart("forgetting", f"forgetting_{probe}", probe, alt, figure))
    return found
