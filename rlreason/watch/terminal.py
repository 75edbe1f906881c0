"""A run on the terminal: stages, figures with their course, the curriculum as coloured blocks, the newest derivations.

Draws a `View`; what is in it is decided in `watch.view`. Where the window is low, what comes last is cut.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rlreason.report.browser import visible
from rlreason.watch.feed import Feed
from rlreason.watch.parts import Derivation, Heat
from rlreason.watch.series import Series
from rlreason.watch.timeline import busy_shares
from rlreason.watch.view import CHARTS, StageState, View

LOOK_EVERY_S = 2.0
MOST_STAGES = 9
WIDE = 120
"""Characters from which the curriculum stands beside the figures."""
MOST_INCIDENTS = 5
MOST_DERIVATIONS = 4
BLOCKS = "▁▂▃▄▅▆▇█"
STATE_STYLE = {"done": "green", "begun": "bold yellow", "waiting": "dim"}
VERDICT_STYLE = {
    **{"right": "green", "wrong": "red", "unsupported": "yellow", "repeated": "dim"},
    **{"right answer, wrong steps": "yellow", "unscored": "magenta"},
}
"""Of a step, and of a completion."""
HEAT = ((165, 42, 30), (222, 184, 90), (34, 139, 90))
"""Red, sand, green at 0, one half and 1; what each says is also read from the figure at the row's end."""


def keep_drawing(feed: Feed, console: Console, focus: str | None) -> None:
    """Draw the run anew every `LOOK_EVERY_S`, until Ctrl-C."""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(draw(feed.view(focus), console.width), refresh=True)
            time.sleep(LOOK_EVERY_S)
            feed.look()


def draw(view: View, width: int) -> RenderableType:
    """The view, `width` characters wide."""
    parts: list[RenderableType] = [_head(view)]
    parts += [Text(f"cannot be read: {problem}", style="red") for problem in view.problems]
    if not view.begun:
        parts.append(Text("The run has not begun: there is no plan.json in its folder yet."))
    if view.stages:
        parts += [Text(), _stages(view)]
    if view.focus:
        parts.append(Rule(Text(view.focus.label), align="left"))
        parts.append(_close(view, width))
    if view.incidents:
        parts.append(Rule(Text(f"incidents: {len(view.incidents)}"), align="left"))
        parts += [_incident(each) for each in view.incidents[-MOST_INCIDENTS:]]
    if view.derivations:
        parts.append(Rule(Text("newest derivations"), align="left"))
        parts += [derivation(each) for each in view.derivations[:MOST_DERIVATIONS]]
    return Group(*parts)


def _close(view: View, width: int) -> RenderableType:
    """The stage looked at: its figures and, in a wide window beside them, its curriculum."""
    half = width // 2 - 1 if view.heat and width >= WIDE else width
    figures: list[RenderableType] = [_figures(view.series, half)]
    if view.spans:
        figures.append(_busy(view))
    if view.heat is None:
        return Group(*figures)
    heat = Group(Text("rollouts right, by cell and update", style="dim"), heat_map(view.heat, half))
    if half == width:
        return Group(*figures, heat)
    both = Table.grid(padding=(0, 2), expand=True)
    both.add_row(Group(*figures), heat)
    return both


def _head(view: View) -> Text:
    text = Text.assemble((visible(view.recipe), "bold"), "  ", view.state)
    if view.written:
        text.append(f", last written {ago(time.time() - view.written)} ago")
    return text.append(f"  {view.folder}", style="dim")


def ago(seconds: float) -> str:
    """Such as "4 s", "12 min", "3 h"."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _stages(view: View) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for _ in range(7):
        table.add_column(no_wrap=True, overflow="ellipsis")
    shown = around(view.stages, view.focus)
    hidden = len(view.stages) - len(shown)
    for stage in shown:
        figures = "  ".join(f"{name} {value:.3g}" for name, value in stage.figures.items())
        took = str(timedelta(seconds=round(stage.seconds))) if stage.seconds is not None else ""
        mark = {"done": "✓", "begun": "▶", "waiting": "·"}[stage.state]
        done = f"{stage.done:,}" + (f"/{stage.total:,}" if stage.total else "")
        style = STATE_STYLE[stage.state]
        table.add_row(
            *(Text(cell, style=style) for cell in (mark, stage.label, stage.type)),
            progress_bar(stage),
            *(Text(cell) for cell in (f"{done} {stage.unit}", took, figures)),
        )
    if not hidden:
        return table
    counts = {state: sum(stage.state == state for stage in view.stages) for state in STATE_STYLE}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return Group(table, Text(f"…  {hidden} more; in all {told}", style="dim"))


def around(stages: Sequence[StageState], focus: StageState | None) -> Sequence[StageState]:
    """At most `MOST_STAGES` of the plan, with the one looked at among them."""
    at = next((index for index, stage in enumerate(stages) if focus and stage.id == focus.id), 0)
    start = max(0, min(at - MOST_STAGES // 2, len(stages) - MOST_STAGES))
    return stages[start : start + MOST_STAGES]


def progress_bar(stage: StageState, width: int = 12) -> Text:
    """How much of a stage is done; full where it is, though it may have stopped before its total."""
    share = 1.0 if stage.state == "done" else min(1.0, stage.done / stage.total) if stage.total else 0.0
    filled = round(share * width)
    return Text.assemble(("━" * filled, "green"), ("━" * (width - filled), "bright_black"))


def _figures(series: Series, width: int) -> Table:
    table = Table.grid(padding=(0, 2))
    room = max(10, min(60, width - 40))
    for chart in CHARTS:
        for metric, name in chart.metrics.items():
            value = series.newest(metric)
            if math.isfinite(value):
                course = sparkline(series.thinned(metric, room)[1])
                table.add_row(Text(name, style="dim"), Text(f"{value:,.4g}", justify="right"), Text(course))
    if not len(series):
        table.add_row(Text("no update has been recorded of this stage", style="dim"))
    return table


def sparkline(values: Sequence[float | None]) -> str:
    """One block a value, the lowest value the lowest block; a blank where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    places = [None if value is None else (value - low) / span if span else 0.5 for value in values]
    return "".join(" " if place is None else BLOCKS[round(place * (len(BLOCKS) - 1))] for place in places)


def _busy(view: View) -> Text:
    updates = len({span.update for span in view.spans})
    text = Text(f"busy in the last {updates} updates: ", style="dim")
    return text.append(", ".join(f"{actor} {share:.0%}" for actor, share in busy_shares(view.spans).items()))


def heat_map(heat: Heat, width: int) -> Table:
    """A row a cell, a block a stretch of updates; a dot where the cell was not drawn."""
    table = Table.grid(padding=(0, 1))
    room = max(10, width - max(len(cell) for cell in heat.cells) - 24)
    step = -(-len(heat.updates) // room)
    for cell, row in zip(heat.cells, heat.success, strict=True):
        blocks = Text()
        newest = next((value for value in reversed(row) if value is not None), None)
        for start in range(0, len(row), step):
            known = [value for value in row[start : start + step] if value is not None]
            blocks.append(*(("█", colour(sum(known) / len(known))) if known else ("·", "dim")))
        state = "locked" if cell in heat.locked else "" if newest is None else f"{newest:.0%}"
        table.add_row(Text(cell), blocks, Text(state, style="dim"))
    table.add_row(Text(), Text(f"updates {heat.updates[0]} to {heat.updates[-1]}", style="dim"))
    return table


def colour(share: float) -> str:
    """Of a share between 0 and 1, as rich names it."""
    place = min(1.0, max(0.0, share)) * (len(HEAT) - 1)
    left = min(int(place), len(HEAT) - 2)
    mixed = [round(a + (b - a) * (place - left)) for a, b in zip(HEAT[left], HEAT[left + 1], strict=True)]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"


def _incident(incident: dict[str, object]) -> Text:
    return Text(visible("  ".join(f"{key} {value}" for key, value in incident.items())), style="yellow")


def derivation(each: Derivation) -> Text:
    """A completion with its steps coloured by the task's check."""
    where = f"update {each.update}, " if each.update is not None else ""
    text = Text.assemble((each.verdict, VERDICT_STYLE[each.verdict]), (f"  {where}{each.cell}, ", "dim"))
    text.append(each.problem, style="dim")
    if each.gold:
        text.append(f"  gold {visible(each.gold)}", style="dim")
    if each.failure:
        text.append(f"  {visible(each.failure)}", style="magenta")
    text.append("\n")
    for piece in each.pieces:
        text.append(visible(piece.text), style=VERDICT_STYLE.get(piece.verdict, ""))
        if piece.kind:
            text.append(f"⟨{visible(piece.kind)}⟩", style="dim")
    return text
