"""A run's timeline as a Chrome trace: a JSON file for chrome://tracing and Perfetto.

    {"traceEvents": [{"ph": "X", "name": "generate", "ts": us, "dur": us, "pid": 1, "tid": 2, ...}, ...]}

The run is the process and every actor a thread of it; an update's phases are complete events ("X"), incidents instant
ones ("i"). Which phases there are is decided in `watch.timeline`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlreason.errors import RecordsError, UserError
from rlreason.watch.feed import Feed
from rlreason.watch.timeline import ACTORS, Span, moment_of

PROCESS = 1
STAGES = 0
"""The thread on which each stage is one event."""


def write_trace(feed: Feed, output: Path) -> int:
    """Write the trace of a run as far as it has gone; returns how many updates' phases are in it.

    Raises:
        RecordsError: no update has been recorded.
        UserError: the file cannot be written.
    """
    feed.look()
    spans, names, incidents = feed.timeline()
    if not spans:
        raise RecordsError(f"{feed.folder.path} has no updates with times yet; let a training stage make its first one")
    first = min((span.start for span in spans if span.dated), default=None)
    told = [*events(in_line(spans, first or 0.0), names), *([] if first is None else instants(incidents, first))]
    trace = {"traceEvents": sorted(told, key=_place), "displayTimeUnit": "ms"}
    try:
        output.write_text(json.dumps(trace, allow_nan=False), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}; give another file with --output") from None
    return len({(span.stage, span.update) for span in spans})


def in_line(spans: Sequence[Span], first: float) -> list[Span]:
    """The spans with one clock, seconds since `first`: those without dates follow all others, stage by stage."""
    placed = [_moved(span, -first) for span in spans if span.dated]
    clock = max((span.end for span in placed), default=0.0)
    undated = [span for span in spans if not span.dated]
    for stage in dict.fromkeys(span.stage for span in undated):
        mine = [span for span in undated if span.stage == stage]
        placed += [_moved(span, clock - mine[0].start) for span in mine]
        clock = placed[-1].end
    return placed


def events(spans: Sequence[Span], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The trace's events of spans in seconds since its beginning; `names`: stage -> what it is called."""
    lanes = list(dict.fromkeys([*ACTORS.values(), *(span.actor for span in spans)]))
    threads = {actor: number for number, actor in enumerate(lanes, start=STAGES + 1)}
    named = [_named("process_name", STAGES, "rlreason"), _named("thread_name", STAGES, "stages")]
    named += [_named("thread_name", thread, actor) for actor, thread in threads.items()]
    phases = [
        _complete(span.phase, threads[span.actor], span.start, span.end, {"stage": span.stage, "update": span.update})
        for span in spans
    ]
    stages = []
    for stage in dict.fromkeys(span.stage for span in spans):
        mine = [span for span in spans if span.stage == stage]
        whole = min(span.start for span in mine), max(span.end for span in mine)
        stages.append(_complete(names.get(stage, stage), STAGES, *whole, {"stage": stage}))
    return [*named, *stages, *phases]


def instants(incidents: Sequence[Mapping[str, Any]], first: float) -> list[dict[str, Any]]:
    """The trace's events of the incidents that say when they happened; `first`: its beginning, seconds of the epoch."""
    dated = [(moment, incident) for incident in incidents if (moment := moment_of(incident)) is not None]
    return [
        {
            **{"name": str(incident.get("kind", "incident")), "cat": "incident", "ph": "i", "s": "g"},
            **{"ts": (moment - first) * 1e6, "pid": PROCESS, "tid": STAGES},
            "args": {str(key): str(value) for key, value in incident.items()},
        }
        for moment, incident in dated
    ]


def _place(event: Mapping[str, Any]) -> tuple[float, float]:
    """By time; of events that begin together the longest first, so that one that holds others comes before them."""
    return event["ts"], -event.get("dur", 0.0)


def _moved(span: Span, by: float) -> Span:
    return Span(span.stage, span.update, span.actor, span.phase, span.start + by, span.end + by, span.dated)


def _complete(name: str, thread: int, start: float, end: float, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"name": name, "cat": "rlreason", "ph": "X", "pid": PROCESS, "tid": thread},
        **{"ts": start * 1e6, "dur": (end - start) * 1e6, "args": arguments},
    }


def _named(what: str, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": PROCESS, "tid": thread, "ts": 0, "args": {"name": name}}
