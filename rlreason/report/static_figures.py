"""The report's charts as files to print and publish: the same plotly figures, drawn once more by matplotlib.

Plotly itself writes such files through a browser that it starts (kaleido), which a machine with Python and pip alone
lacks; matplotlib needs nothing else. What is drawn here is what the report's figures use: bars, lines, markers, bands,
areas, heat maps, with their intervals; another kind of trace is refused by name, and a test draws every chart.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rlreason.records.run_folder import replacing
from rlreason.report.figures import Chart

WIDTH = 6.5
"""Inches: the text width of a page."""
PIXELS_AN_INCH = 96
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P", "star": "*", "x": "X"}
DASHES = {"solid": "-", "dash": "--", "dot": ":"}
STYLE: Any = {  # matplotlib's own type is every name of its settings
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "svg.hashsalt": "rlreason",  # the same chart is the same file
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


def draw(chart: Chart, paths: Iterable[Path]) -> None:
    """Draw a chart into each of these files, in the format of its ending (svg, pdf, png).

    Raises:
        ValueError: the chart has a kind of trace that is not drawn here.
    """
    with matplotlib.rc_context(STYLE):
        figure = _figure(chart)
        for path in paths:
            form = path.suffix.removeprefix(".")
            with replacing(path) as temporary:
                figure.savefig(temporary, format=form, dpi=200, metadata=METADATA[form])


def _figure(chart: Chart) -> Figure:
    height = (chart.figure.layout.height or 300) / PIXELS_AN_INCH
    figure = Figure(figsize=(WIDTH, height + 0.3), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(chart.title, fontsize=10)
    _Drawing(axes, chart.figure.layout).draw(chart.figure.data)
    return figure


class _Drawing:
    """One plotly figure on one pair of axes. Categories get the places 0, 1, 2 ... in the order of their coming."""

    def __init__(self, axes: Axes, layout: Any) -> None:
        self._axes = axes
        self._layout = layout
        self._places: dict[str, dict[str, int]] = {
            which: {str(name): at for at, name in enumerate(self._axis(which).categoryarray or ())} for which in "xy"
        }
        self._stacked: dict[Any, float] = defaultdict(float)
        self._bars = 0
        self._grouped = 1

    def draw(self, traces: Sequence[Any]) -> None:
        """All traces, then what belongs to the axes."""
        painters: dict[str, Callable[[Any], None]] = {
            "bar": self._bar,
            "scatter": self._scatter,
            "heatmap": self._heatmap,
        }
        self._grouped = sum(trace.type == "bar" for trace in traces) if self._layout.barmode != "stack" else 1
        for trace in traces:
            if trace.type not in painters:
                raise ValueError(
                    f"a trace of the type {trace.type!r} cannot be drawn as a file; of {', '.join(painters)} it can"
                )
            painters[trace.type](trace)
        self._shapes()
        self._finish("x")
        self._finish("y")
        if any(trace.type != "scatter" or len(trace.x) > 1 for trace in traces):
            self._legend()

    def _axis(self, which: str) -> Any:
        return self._layout.xaxis if which == "x" else self._layout.yaxis

    def _at(self, which: str, values: Any) -> np.ndarray:
        """Places on an axis: numbers as they are (None: NaN), categories by their order."""
        values = list(values)
        if not any(isinstance(value, str) for value in values):
            return np.array([math.nan if value is None else float(value) for value in values])
        places = self._places[which]
        return np.array([places.setdefault(value, len(places)) for value in values], dtype=float)

    def _bar(self, trace: Any) -> None:
        flat = trace.orientation == "h"
        place = self._at("y", trace.y) if flat else self._at("x", trace.x)
        length = self._at("x", trace.x) if flat else self._at("y", trace.y)
        breadth = np.asarray(trace.width, dtype=float) if trace.width is not None else 0.8 / self._grouped
        if self._layout.barmode == "stack":
            start = np.array([self._stacked[each] for each in place])
            for each, long in zip(place, length, strict=True):
                self._stacked[each] += 0.0 if math.isnan(long) else long
        else:
            start = np.zeros(len(place))
            place = place + (self._bars - (self._grouped - 1) / 2) * breadth if self._grouped > 1 else place
            self._bars += 1
        style: dict[str, Any] = {"color": _color(trace.marker.color), "label": trace.name or "_"}
        if trace.marker.pattern.shape:
            style |= {"hatch": "///", "edgecolor": "white", "linewidth": 0}
        if flat:
            self._axes.barh(place, length, breadth, left=start, **style)
        else:
            self._axes.bar(place, length, breadth, bottom=start, **style)
            if trace.error_y.array is not None:
                reach = np.array([trace.error_y.arrayminus, trace.error_y.array], dtype=float)
                self._axes.errorbar(place, length, yerr=reach, fmt="none", ecolor="#222", elinewidth=0.8, capsize=1.5)

    def _scatter(self, trace: Any) -> None:
        x, y = self._at("x", trace.x), self._at("y", trace.y)
        if trace.fill == "toself":
            self._axes.fill(x, y, color=_color(trace.fillcolor), linewidth=0)
            return
        color = _color(trace.line.color or trace.marker.color)
        if trace.stackgroup:
            start = np.array([self._stacked[each] for each in x])
            for each, high in zip(x, np.nan_to_num(y), strict=True):
                self._stacked[each] += high
            self._axes.fill_between(x, start, start + np.nan_to_num(y), color=color, linewidth=0, label=trace.name)
            return
        symbol = str(trace.marker.symbol or "circle")
        hollow = symbol.endswith("-open")
        shown = "markers" in (trace.mode or "")
        self._axes.plot(
            x,
            y,
            linestyle=DASHES.get(trace.line.dash or "solid", "-") if "lines" in (trace.mode or "lines") else "none",
            linewidth=0.75 * (trace.line.width or 2),
            marker=MARKERS.get(symbol.removesuffix("-open"), "o") if shown else None,
            markersize=0.6 * (trace.marker.size or 7),
            markerfacecolor="white" if hollow else color,
            color=color,
            label=trace.name or "_",
            zorder=3,
        )
        for errors, name in ((trace.error_x, "xerr"), (trace.error_y, "yerr")):
            if errors.array is not None:
                reach: dict[str, Any] = {name: np.array([errors.arrayminus, errors.array], dtype=float)}
                self._axes.errorbar(x, y, fmt="none", ecolor=_color(errors.color) or color, elinewidth=1, **reach)

    def _heatmap(self, trace: Any) -> None:
        shares = np.array([[math.nan if z is None else float(z) for z in line] for line in trace.z])
        x, y = self._at("x", trace.x), self._at("y", trace.y)
        scale = [(float(at), _color(color)) for at, color in trace.colorscale]
        low = float(np.nanmin(shares)) if trace.zmin is None else trace.zmin
        high = float(np.nanmax(shares)) if trace.zmax is None else trace.zmax
        colors = LinearSegmentedColormap.from_list("scale", scale)
        self._axes.pcolormesh(x, y, shares, cmap=colors, vmin=low, vmax=high, edgecolors="white", linewidth=1)
        template = trace.texttemplate or "%{z:.3g}"
        for row, column in zip(*np.where(~np.isnan(shares)), strict=True):
            share = shares[row, column]
            red, green, blue, _ = colors((share - low) / (high - low or 1))
            ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
            if "%{text}" in template:
                text = str(trace.text[row][column])
            else:
                text = f"{share:.0%}" if ":.0%" in template else f"{share:.3g}"
            self._axes.text(x[column], y[row], text, ha="center", va="center", fontsize=7, color=ink)

    def _shapes(self) -> None:
        """Lines straight across, and their words."""
        for shape in self._layout.shapes:
            style = {"color": _color(shape.line.color), "linestyle": DASHES.get(shape.line.dash or "solid", "-")}
            if shape.y0 == shape.y1:
                self._axes.axhline(float(shape.y0), linewidth=0.8, **style)
            else:
                self._axes.axvline(float(shape.x0), linewidth=0.8, **style)
        for note in self._layout.annotations:
            at = (float(note.x), 1.0) if isinstance(note.x, int | float) else (0.5, 1.0)
            self._axes.annotate(_plain(note.text), at, xycoords=("data", "axes fraction"), fontsize=7, va="bottom")

    def _finish(self, which: Literal["x", "y"]) -> None:
        """Ticks, limits, scale, title and grid of one axis."""
        axis, axes = self._axis(which), self._axes
        set_ticks, set_label, set_limits, scale = (
            (axes.set_xticks, axes.set_xlabel, axes.set_xlim, axes.set_xscale)
            if which == "x"
            else (axes.set_yticks, axes.set_ylabel, axes.set_ylim, axes.set_yscale)
        )
        if axis.type == "log":
            scale("log")
            axes.minorticks_off()
        if axis.tickvals is not None:
            set_ticks(list(axis.tickvals), [_plain(text) for text in axis.ticktext or axis.tickvals])
        elif self._places[which]:
            places = self._places[which]
            set_ticks(list(places.values()), [_plain(name) for name in places])
        if axis.range is not None and axis.type != "log":
            set_limits(*map(float, axis.range))
        elif axis.autorange == "reversed":
            (axes.invert_xaxis if which == "x" else axes.invert_yaxis)()
        if "%" in (axis.tickformat or ""):
            (axes.xaxis if which == "x" else axes.yaxis).set_major_formatter(PercentFormatter(1.0, decimals=0))
        if axis.title.text:
            set_label(_plain(axis.title.text))
        if axis.side == "top":
            axes.xaxis.tick_top()
        if axis.tickangle:
            axes.tick_params(axis=which, rotation=-axis.tickangle)
        if axis.showgrid is not False:
            axes.grid(axis=which, color="#ddd", linewidth=0.6)

    def _legend(self) -> None:
        """The traces' names, where there are several. Rows of one point each, as in a forest plot, go without."""
        handles, names = self._axes.get_legend_handles_labels()
        unique = dict(zip(names, handles, strict=True))
        if len(unique) > 1:
            self._axes.legend(
                unique.values(), unique.keys(), fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5)
            )


def _plain(text: object) -> str:
    """Plotly's text without its markup."""
    return re.sub(r"<[^>]*>", "", str(text).replace("<br>", "\n"))


def _color(color: str | None) -> Any:
    """A colour as matplotlib takes it: "rgb(1,2,3)" and "rgba(1,2,3,0.5)" become shares."""
    found = re.fullmatch(r"rgba?\(([^)]*)\)", color or "")
    if not found:
        return color
    red, green, blue, *alpha = (float(part) for part in found[1].split(","))
    return (red / 255, green / 255, blue / 255, *alpha)
