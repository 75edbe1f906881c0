import json
import math
from itertools import pairwise
from pathlib import Path

import pytest

from rlreason.errors import RecordsError, UserError
from rlreason.records import write_part
from rlreason.records.schema import ACTORS
from rlreason.stages.pipeline import timeline_columns
from rlreason.watch.feed import Feed
from rlreason.watch.series import Series
from rlreason.watch.timeline import busy_shares, moment_of, spans
from rlreason.watch.trace import write_trace
from tests.watch.small_run import begin, planned_run, tell

PHASES = {"seconds": 10.0, "seconds_generate": 6.0, "seconds_learn": 3.0, "seconds_other": 1.0}


def series_of(*lines: dict) -> Series:
    series = Series()
    for line in lines:
        series.add(line)
    return series


def test_the_phases_of_an_update_end_when_it_was_written_down():
    found = spans("rl-0", series_of({"update": 1, "at": 110.0, **PHASES}))
    assert [(span.actor, span.phase, span.start, span.end) for span in found] == [
        ("generators", "generate", 100.0, 106.0),
        ("learners", "learn", 106.0, 109.0),
        ("driver", "other", 109.0, 110.0),
    ]
    # generators 6 s of 10, learners 3, driver 1
    assert busy_shares(found) == pytest.approx({"generators": 0.6, "learners": 0.3, "driver": 0.1})


def test_without_dates_updates_are_laid_end_to_end():
    found = spans("sft-0", series_of({"update": 1, "seconds": 2.0}, {"update": 2, "seconds": 3.0}))
    assert [(span.phase, span.start, span.end, span.dated) for span in found] == [
        ("learn", 0.0, 2.0, False),
        ("learn", 2.0, 5.0, False),
    ]


def test_a_phase_that_is_not_known_has_a_lane_of_its_own_after_the_others():
    found = spans("rl-0", series_of({"update": 1, "at": 9.0, "seconds_judge": 1.0, "seconds_learn": 1.0}))
    assert [(span.actor, span.phase) for span in found] == [("learners", "learn"), ("judge", "judge")]


def test_only_the_newest_updates_are_drawn():
    series = series_of(*({"update": update, "seconds": 1.0} for update in range(1, 6)))
    assert [span.update for span in spans("sft-0", series, newest=2)] == [4, 5]


def test_an_update_without_times_has_no_spans():
    assert spans("sft-0", series_of({"update": 1, "loss": 1.0})) == []
    assert busy_shares([]) == {}


def test_incidents_say_when_they_happened_in_either_form():
    assert moment_of({"time": 12.5}) == 12.5
    assert moment_of({"time": "1970-01-01T00:01:00+00:00"}) == 60.0
    assert moment_of({"time": "yesterday"}) is None
    assert moment_of({}) is None


def test_a_trace_is_in_the_format_that_chrome_and_perfetto_read(tmp_path: Path):
    """The rules of the Trace Event Format's JSON object form, for the event types that are used."""
    folder = planned_run(tmp_path / "run")
    for stage in ("sft-0", "rl-0"):
        begin(folder, stage)
    tell(folder, "sft-0", [1, 2], seconds=2.0)  # of a run that did not say when
    for update in (1, 2):
        tell(folder, "rl-0", [update], at=1000.0 + 10 * update, **PHASES)
    (folder.path / "incidents.jsonl").write_text('{"time": 1012.0, "kind": "died", "actor": "generator 1"}\n')
    output = tmp_path / "trace.json"
    assert write_trace(Feed(folder), output) == 4

    trace = json.loads(output.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    events = trace["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X", "i"}
    for event in events:
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        assert isinstance(event["name"], str) and math.isfinite(event["ts"]) and event["ts"] >= 0
        assert event["ph"] != "X" or event["dur"] >= 0
        assert event["ph"] != "i" or event["s"] in "gpt"
        assert event["ph"] != "M" or event["name"] in ("process_name", "thread_name")
    assert [event["ts"] for event in events] == sorted(event["ts"] for event in events)
    threads = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {event["tid"] for event in events} <= set(threads)
    for thread in threads:  # complete events of a thread must nest; here none overlap
        mine = [event for event in events if event["ph"] == "X" and event["tid"] == thread]
        assert all(one["ts"] + one["dur"] <= other["ts"] + 1e-3 for one, other in pairwise(mine))

    found = {(threads[e["tid"]], e["args"]["update"], e["ts"], e["dur"]) for e in events if e["name"] == "generate"}
    assert found == {("generators", 1, 0.0, 6e6), ("generators", 2, 10e6, 6e6)}  # microseconds since the first start
    (incident,) = (event for event in events if event["ph"] == "i")
    assert (incident["name"], incident["ts"]) == ("died", 12e6)
    stages = {e["name"]: (e["ts"], e["dur"]) for e in events if e["ph"] == "X" and threads[e["tid"]] == "stages"}
    assert stages == {"rl of sft_rl, seed 0": (0.0, 20e6), "atomic of sft and 1 more, seed 0": (20e6, 4e6)}


def test_a_run_without_updates_has_no_trace_and_a_bad_path_is_named(tmp_path: Path):
    folder = planned_run(tmp_path / "run")
    with pytest.raises(RecordsError, match="no updates with times yet"):
        write_trace(Feed(folder), tmp_path / "trace.json")
    tell(folder, "sft-0", [1], seconds=2.0)
    with pytest.raises(UserError, match=r"none/trace.json cannot be written: No such file or directory; give another"):
        write_trace(Feed(folder), tmp_path / "none" / "trace.json")


def test_an_asynchronous_stage_is_traced_as_its_actors_wrote_down(tmp_path: Path):
    folder = planned_run(tmp_path / "run")
    begin(folder, "rl-0")
    tell(folder, "rl-0", [1], at=1010.0, seconds=5.0, seconds_wait=2.0, seconds_learn=3.0)
    rows = {
        "stage": ["rl-0", "rl-0"],
        "update": [2, 1],
        "actor": ["generators", "learners"],
        "phase": ["generate", "learn"],
        "start": [1004.0, 1005.0],
        "end": [1009.0, 1008.0],
    }
    write_part(folder, "timeline", "rl-0", 1, rows)
    write_trace(Feed(folder), tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    work = {event["name"]: (event["ts"] / 1e6, event["dur"] / 1e6) for event in events if event["ph"] == "X"}
    # both at once, the learner a second into the generators' five; waits are what is left
    assert (work["generate"], work["learn"]) == ((0.0, 5.0), (1.0, 3.0))
    assert "wait" not in work


def test_by_turns_and_ahead_the_same_phase_is_the_same_actor_s():
    phases = {f"seconds_{phase}": 1.0 for phase in ACTORS}
    found = spans("rl-0", series_of({"update": 1, "at": 9.0, **phases}))
    recorded = timeline_columns("rl-0", 1, [(phase, 0.0, 1.0) for phase in ACTORS])
    assert {span.phase: span.actor for span in found} == dict(zip(recorded["phase"], recorded["actor"], strict=True))
    assert ACTORS["sync"] == "learners"
