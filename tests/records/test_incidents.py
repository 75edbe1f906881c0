"""What is written of incidents is read again, whatever a killed start left behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rlreason.errors import RecordsError
from rlreason.records.incidents import MOST_TEXT, IncidentLog, read_incidents, summarised
from rlreason.records.run_folder import RunFolder
from rlreason.types import Incident

DIED = Incident("generator-0", "died", "infrastructure", "its process died", "started again", "nothing", 0.4, 12.5)
HUNG = Incident("rewards", "timeout", "plug-in", "slow.py:score took over 2 s", "worker replaced", "nothing")


def test_incidents_are_read_as_they_were_told_with_the_time(tmp_path):
    folder = RunFolder(tmp_path)
    for incident in (DIED, HUNG):
        IncidentLog(folder).add(incident)
    first, second = read_incidents(folder)
    assert (first.actor, first.kind, first.blame, first.detect_s, first.recover_s) == (
        *("generator-0", "died", "infrastructure"),
        *(0.4, 12.5),
    )
    assert second.cause == HUNG.cause and second.recover_s is None
    assert timedelta() <= datetime.now(UTC) - first.time < timedelta(minutes=1)


def test_a_loss_that_was_told_at_once_and_again_when_it_was_over_is_one_incident(tmp_path):
    folder = RunFolder(tmp_path)
    lost = replace(DIED, done="killed, being started again", recover_s=None)
    for incident in (lost, HUNG, lost, replace(lost, detect_s=0.7), DIED, replace(HUNG, actor="other")):
        IncidentLog(folder).add(incident)
    # the first start was killed before its generator was back; the second one lost it twice, and it was back once
    assert [(found.actor, found.detect_s, found.recover_s) for found in read_incidents(folder)] == [
        ("generator-0", 0.4, None),
        ("rewards", None, None),
        ("generator-0", 0.7, None),
        ("generator-0", 0.4, 12.5),
        ("other", None, None),
    ]


def test_a_run_in_which_nothing_broke_has_none(tmp_path):
    assert read_incidents(RunFolder(tmp_path)) == ()


def test_half_a_line_of_a_killed_start_loses_nothing_that_follows(tmp_path):
    folder = RunFolder(tmp_path)
    IncidentLog(folder).add(DIED)
    with folder.incidents_path.open("a") as stream:
        stream.write('{"time": "2026')
    IncidentLog(folder).add(HUNG)
    assert [incident.kind for incident in read_incidents(folder)] == ["died", "timeout"]


def test_a_cause_that_quotes_a_log_is_cut(tmp_path):
    folder = RunFolder(tmp_path)
    IncidentLog(folder).add(Incident("learner", "died", "infrastructure", "x" * 10_000, "", ""))
    assert len(read_incidents(folder)[0].cause) == MOST_TEXT


@pytest.mark.parametrize("line", ['{"actor": "a"}', '{"time": "x"}'])
def test_a_line_that_is_no_incident_is_named(tmp_path, line):
    folder = RunFolder(tmp_path)
    IncidentLog(folder).add(DIED)
    with folder.incidents_path.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(RecordsError, match=r"incidents\.jsonl: line 2: .*; delete the line"):
        read_incidents(folder)


def test_a_summary_counts_by_actor_and_kind(tmp_path: Path):
    folder = RunFolder(tmp_path)
    for incident in (HUNG, DIED, DIED):
        IncidentLog(folder).add(incident)
    found = read_incidents(folder)
    assert summarised(found) == "3 incidents: generator-0 died 2x, rewards timeout"
    assert summarised(found[:1]) == "1 incident: rewards timeout"
    assert summarised(()) == "no incidents"
