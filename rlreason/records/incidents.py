"""A run's incidents.jsonl: what broke while it ran, a line each, in the order in which it was known.

Appended to as the run goes on, by every start of it; nothing is ever taken out. What is being started again has a
second line when it is back, which readers take in place of the first (`standing`). A failure that one completion's
score records is no incident, unless it cost a process.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rlreason.errors import RecordsError
from rlreason.records.lines import JsonLines
from rlreason.records.run_folder import RunFolder
from rlreason.types import Incident

MOST_TEXT = 2000
"""Characters of a cause that are kept: an error may quote a whole log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRecord(Incident):
    """A line of incidents.jsonl; `time`: when it was recorded."""

    time: datetime


_RECORD = TypeAdapter(IncidentRecord)


class IncidentLog:
    """Appends to a run's incidents. Safe to call from several threads."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._end_last_line()

    def _end_last_line(self) -> None:
        """A killed start may have left half a line; what follows must not be lost with it."""
        path = self._folder.incidents_path
        if path.exists() and (written := path.read_bytes()) and not written.endswith(b"\n"):
            with path.open("a") as stream:
                stream.write("\n")

    def add(self, incident: Incident) -> None:
        """Write it down; on disk when this returns, however the process ends next."""
        said: dict[str, Any] = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **asdict(incident)}
        said["cause"] = said["cause"][:MOST_TEXT]
        line = json.dumps(said, ensure_ascii=False) + "\n"
        with self._lock, self._folder.incidents_path.open("a", encoding="utf-8") as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())


def standing(rows: Sequence[dict[str, Any]]) -> list[int]:
    """Places of the lines that no later one replaces: of the same loss, with the time until it was back.

    >>> died = {"actor": "generator-0", "kind": "died", "cause": "signal 9", "detect_s": 0.4}
    >>> standing([died, {**died, "recover_s": 12.5}, died])
    [1, 2]
    """
    kept: list[int] = []
    for place, row in enumerate(rows):
        if row.get("recover_s") is not None:
            same = (each for each in reversed(kept) if _loss(rows[each]) == _loss(row))
            if (first := next(same, None)) is not None and rows[first].get("recover_s") is None:
                kept.remove(first)
        kept.append(place)
    return kept


def _loss(row: dict[str, Any]) -> list[Any]:
    return [row.get(key) for key in ("actor", "kind", "cause", "detect_s")]


def read_incidents(folder: RunFolder) -> tuple[IncidentRecord, ...]:
    """A run's incidents, one a loss, oldest first; none where nothing broke. Half a line that a killed run left is
    passed over.

    Raises:
        RecordsError: a line is not an incident; names file, line and key.
    """
    rows, _ = JsonLines(folder.incidents_path).read()
    found = []
    for place in standing(rows):
        try:
            found.append(_RECORD.validate_python(rows[place]))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise RecordsError(
                f"{folder.incidents_path}: line {place + 1}: {key}: {first['msg']}; delete the line"
            ) from error
    return tuple(found)


def summarised(incidents: Sequence[IncidentRecord]) -> str:
    """One line for people: how many of which kind, the most frequent first.

    >>> summarised(())
    'no incidents'
    """
    if not incidents:
        return "no incidents"
    counts = Counter(f"{incident.actor} {incident.kind}" for incident in incidents)
    told = ", ".join(f"{name} {count}x" if count > 1 else name for name, count in counts.most_common())
    return f"{len(incidents)} incident{'s' if len(incidents) > 1 else ''}: {told}"
