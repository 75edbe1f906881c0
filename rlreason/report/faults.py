"""What broke in the machines, the data and the plug-ins while the run went on: a row an incident, oldest first.

What single completions failed with is counted in `report.provenance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlreason.records import IncidentRecord
from rlreason.report.tables import NOTHING, Cell, Table, duration_cell

HEADINGS = ("when", "what broke", "how", "whose", "cause", "what was done", "lost", "known after", "back after")


def fault_table(incidents: Sequence[IncidentRecord]) -> list[Table]:
    """One table; none where nothing broke."""
    rows = tuple(
        (
            Cell(f"{incident.time:%Y-%m-%d %H:%M:%S}"),
            *map(Cell, (incident.actor, incident.kind, incident.blame, incident.cause, incident.done, incident.lost)),
            *(
                NOTHING if seconds is None else duration_cell(seconds)
                for seconds in (incident.detect_s, incident.recover_s)
            ),
        )
        for incident in incidents
    )
    return [Table(HEADINGS, rows)] if rows else []


def told(incidents: Sequence[IncidentRecord]) -> list[dict[str, Any]]:
    """The incidents as report.json has them."""
    return [
        {"time": incident.time.isoformat(), "actor": incident.actor, "kind": incident.kind, "blame": incident.blame}
        | {"cause": incident.cause, "done": incident.done, "lost": incident.lost}
        | {"detect_s": incident.detect_s, "recover_s": incident.recover_s}
        for incident in incidents
    ]
