"""What broke in a run stands in its report."""

from __future__ import annotations

from datetime import UTC, datetime

from rlreason.records.incidents import IncidentRecord
from rlreason.report.faults import fault_table, told

DIED = IncidentRecord(
    *("generator-0", "died", "infrastructure", "killed by signal 9", "killed and started again", "nothing", 0.4, 75.0),
    time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
FAILED = IncidentRecord(
    *("stage rl", "ScoringFailed", "plug-in", "no reward", "the run stopped", "nothing"),
    time=datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC),
)


def test_a_run_in_which_nothing_broke_has_no_table():
    assert fault_table([]) == [] and told([]) == []


def test_an_incident_is_a_row_with_its_times():
    (table,) = fault_table([DIED, FAILED])
    first, second = ([cell.text for cell in row] for row in table.rows)
    assert first == [
        *("2026-01-02 03:04:05", "generator-0", "died", "infrastructure", "killed by signal 9"),
        *("killed and started again", "nothing", "0.4 s", "1 min 15 s"),
    ]
    assert second[-2:] == ["-", "-"]


def test_report_json_has_all_of_an_incident():
    assert told([FAILED]) == [
        {"time": "2026-01-02T04:00:00+00:00", "actor": "stage rl", "kind": "ScoringFailed", "blame": "plug-in"}
        | {"cause": "no reward", "done": "the run stopped", "lost": "nothing", "detect_s": None, "recover_s": None}
    ]
