"""Who did what when: the phases of every update as spans of time, one lane an actor.

The metrics of an update say how long each phase took and when the update was written down; its phases are laid out
before that, in the order they happen. Where rounds of a phase alternated within an update (dynamic sampling), their
sum is drawn as one span. A run that did not write down when has its updates laid end to end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rlreason.records.schema import ACTORS as PHASE_ACTORS
from rlreason.watch.series import Series

if TYPE_CHECKING:
    import pandas as pd

ACTORS = {**PHASE_ACTORS, "other": "driver"}
"""Phase of an update -> whose time it is, in the order they happen; a phase not named here has a lane of its own."""


@dataclass(frozen=True, slots=True)
class Span:
    """A phase of an update: `start` and `end` in seconds, of the epoch where `dated`, else of the stage."""

    stage: str
    update: int
    actor: str
    phase: str
    start: float
    end: float
    dated: bool


def spans(stage: str, series: Series, newest: int | None = None) -> list[Span]:
    """The spans of a stage's updates, or of the newest of them.

    An update without phases, as of supervised training, is all the learners'.
    """
    rows = range(len(series) if newest is None else min(newest, len(series)))
    first = len(series) - len(rows)
    phases = _phases(series)
    seconds = series.columns.get("seconds")
    found: list[Span] = []
    clock = 0.0
    for row in (first + row for row in rows):
        taken = [(phase, column[row]) for phase, column in phases if math.isfinite(column[row])]
        if not taken and seconds is not None and math.isfinite(seconds[row]):
            taken = [("learn", seconds[row])]
        dated = math.isfinite(series.ends[row])
        at = series.ends[row] - sum(length for _, length in taken) if dated else clock
        for phase, length in taken:
            found.append(Span(stage, series.updates[row], ACTORS.get(phase, phase), phase, at, at + length, dated))
            at += length
        clock = at
    return found


def recorded_spans(rows: pd.DataFrame) -> list[Span]:
    """The spans of an asynchronous stage, whose actors wrote down when they worked; `rows` of the table `timeline`."""
    return [
        Span(row.stage, row.update, row.actor, row.phase, row.start, row.end, dated=True) for row in rows.itertuples()
    ]


def _phases(series: Series) -> list[tuple[str, Sequence[float]]]:
    recorded = [name.removeprefix("seconds_") for name in series.columns if name.startswith("seconds_")]
    ordered = [phase for phase in ACTORS if phase in recorded] + sorted(set(recorded) - set(ACTORS))
    return [(phase, series.columns[f"seconds_{phase}"]) for phase in ordered]


def busy_shares(found: Iterable[Span]) -> dict[str, float]:
    """Actor -> the share of the time from the first start to the last end in which it was busy."""
    shown = list(found)
    if not shown:
        return {}
    whole = max(span.end for span in shown) - min(span.start for span in shown)
    actors = dict.fromkeys([*ACTORS.values(), *(span.actor for span in shown)])
    busy = {actor: sum(span.end - span.start for span in shown if span.actor == actor) for actor in actors}
    return {actor: taken / whole for actor, taken in busy.items() if taken and whole > 0}


def moment_of(incident: Mapping[str, Any]) -> float | None:
    """When an incident happened, seconds since the epoch, by its "time": a number or ISO 8601; None: not said."""
    said = incident.get("time")
    if isinstance(said, int | float):
        return float(said)
    try:
        return datetime.fromisoformat(said).timestamp() if isinstance(said, str) else None
    except ValueError:
        return None
