"""The heat maps of `rlreason bench curriculum --plot`: who drew which arm when, as one page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rlreason.errors import UserError

ROW_HEIGHT, COLUMN_WIDTH = 110, 230


def check_plot_path(path: Path) -> None:
    """Refuse a file that could not be written, before minutes are spent on what it is to show.

    Raises:
        UserError: it does not end in .html, or its folder does not exist.
    """
    if path.suffix != ".html":
        raise UserError(f"--plot {path}: the heat maps are one interactive page; name a file that ends in .html")
    if not path.parent.is_dir():
        raise UserError(f"--plot {path}: there is no folder {path.parent}; make it first")


def write_plot(figures: Mapping[str, Any], path: Path) -> None:
    """Write the page. `figures`: what `bench_curriculum` returns."""
    heat_maps(figures).write_html(path, include_plotlyjs=True)


def heat_maps(figures: Mapping[str, Any]) -> go.Figure:
    """A row a policy, a column a learner: the probability of each arm (hardest at the top) over updates."""
    learners = figures["learners"]
    policies = max((list(shown) for shown in learners.values()), key=len)  # gated ones run on some learners only
    grid = make_subplots(
        rows=len(policies),
        cols=len(learners),
        column_titles=list(learners),
        row_titles=policies,
        vertical_spacing=0.2 / len(policies),
        horizontal_spacing=0.2 / len(learners),
    )
    for column, shown in enumerate(learners.values(), start=1):
        for row, policy in enumerate(policies, start=1):
            if policy not in shown:
                continue
            draws = shown[policy]["draws"]
            grid.add_heatmap(
                z=draws,
                x=list(range(1, len(draws[0]) + 1)),
                y=list(range(1, len(draws) + 1)),
                coloraxis="coloraxis",
                hovertemplate="update %{x}, arm %{y}: %{z:.0%}<extra></extra>",
                row=row,
                col=column,
            )
    grid.update_layout(
        template="none",
        height=150 + ROW_HEIGHT * len(policies),
        width=160 + COLUMN_WIDTH * len(learners),
        margin={"l": 50, "r": 130, "t": 60, "b": 90},
        coloraxis={
            "colorscale": "Viridis",
            "cmin": 0,
            "cmax": 0.6,
            "colorbar": {
                "title": {"text": "probability of an arm", "side": "bottom"},
                "orientation": "h",
                "y": 0,
                "yanchor": "top",
                "ypad": 40,
                "len": 0.6,
                "thickness": 12,
            },
        },
    )
    grid.update_yaxes(tickvals=[1, 8, 15])
    for annotation in grid.layout.annotations[len(learners) :]:
        annotation.textangle = 0
        annotation.xanchor = "left"
    return grid
