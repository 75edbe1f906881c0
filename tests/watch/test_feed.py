from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlreason.errors import UserError
from rlreason.records import RunFolder
from rlreason.watch.feed import Feed
from rlreason.watch.view import StageState, View
from tests.report.synthetic import Counts, write_evaluation
from tests.watch.small_run import begin, draw_problems, planned_run, roll_out, tell


def looked(feed: Feed, focus: str | None = None) -> View:
    feed.look()
    return feed.view(focus)


def states(view: View) -> dict[str, tuple[str, int]]:
    return {stage.id: (stage.state, stage.done) for stage in view.stages}


def test_a_run_is_followed_from_before_it_begins_to_its_end(tmp_path: Path):
    path = tmp_path / "run"
    feed = Feed(RunFolder(path))
    view = looked(feed)
    assert (view.begun, view.state, view.stages, view.written) == (False, "has not begun", (), None)

    folder = planned_run(path)
    view = looked(feed)
    assert (view.begun, view.recipe, view.focus) == (True, "tiny", None)
    assert set(states(view).values()) == {("waiting", 0)}

    begin(folder, "sft-0")
    tell(folder, "sft-0", [1, 2], loss=0.5)
    view = looked(feed)
    assert states(view)["sft-0"] == ("begun", 2)
    assert view.focus is not None and (view.focus.id, view.focus.total) == ("sft-0", 20)

    folder.mark_done("sft-0", {"seconds": 4.0})
    begin(folder, "rl-0")
    view = looked(feed)
    assert states(view) == {
        **dict.fromkeys(states(view), ("waiting", 0)),
        "sft-0": ("done", 2),
        "rl-0": ("begun", 0),
    }
    assert view.focus is not None and view.focus.id == "rl-0"
    assert (view.finished, view.state) == (False, "1 stages done")
    for stage in ("evaluate-sft-0", "rl-0", "evaluate-rl-0"):
        folder.mark_done(stage, {"seconds": 1.0})
    assert looked(feed).state == "finished"


def test_only_a_change_makes_a_new_version(tmp_path: Path):
    folder = planned_run(tmp_path)
    feed = Feed(folder)
    assert feed.look() and not feed.look()
    draw_problems(folder, 1, [0.5, None])
    assert feed.look() and not feed.look()
    tell(folder, "rl-0", [1], loss=0.5)
    assert feed.look() and not feed.look()
    (folder.path / "incidents.jsonl").write_text('{"kind": "died"}\n')
    assert feed.look() and not feed.look()
    assert feed.version == 4


def test_another_stage_can_be_looked_at_closely(tmp_path: Path):
    folder = planned_run(tmp_path)
    for stage in ("sft-0", "rl-0"):
        begin(folder, stage)
    tell(folder, "sft-0", [1], loss=0.5)
    tell(folder, "rl-0", [1], reward_mean=0.25, at=9.0, seconds_generate=1.0)
    draw_problems(folder, 1, [0.5, None])
    roll_out(folder, 1, [(True, True)])
    feed = Feed(folder)
    view = looked(feed, "rl-0")
    assert view.heat is not None and len(view.derivations) == len(view.spans) == 1
    view = looked(feed, "sft-0")
    assert (view.heat, view.derivations, list(view.series.columns)) == (None, (), ["loss"])
    assert looked(feed, "no such stage").focus == looked(feed).focus


def test_an_evaluation_counts_its_problems_and_shows_its_greedy_completions(tmp_path: Path):
    folder = planned_run(tmp_path)
    write_evaluation(folder, "evaluate-sft-0", {"iid": Counts(2, [1, 0, 0])})
    plan = json.loads(folder.plan_path.read_text())
    plan["stages"]["evaluate-sft-0"]["config"] = {"levels": ["iid"], "problems": 3, "samples": 4, "probes": {}}
    folder.plan_path.write_text(json.dumps(plan))
    view = looked(Feed(folder), "evaluate-sft-0")
    focus = view.focus
    assert isinstance(focus, StageState) and (focus.done, focus.total, focus.unit) == (3, 3, "problems")
    assert [(each.problem, each.verdict, each.update) for each in view.derivations] == [
        ("iid/0", "right", None),
        ("iid/2", "wrong", None),
        ("iid/1", "right", None),
    ]


@pytest.mark.parametrize("name", ["plan.json", "manifest.json", "records/curriculum/rl-0/part-000001.parquet"])
def test_what_cannot_be_read_is_named_and_the_rest_is_shown(tmp_path: Path, name: str):
    folder = planned_run(tmp_path)
    begin(folder, "rl-0")
    draw_problems(folder, 1, [0.5, None])
    tell(folder, "rl-0", [1], reward_mean=0.25)
    with folder.metrics_path.open("a") as stream:
        stream.write('{"stage": "rl-0", "upd')  # a line that is being written is no problem
    whole = folder.path / name
    whole.write_bytes(whole.read_bytes()[:20])
    view = looked(Feed(folder))
    (problem,) = view.problems
    assert name in problem
    assert json.dumps(view.as_json(), allow_nan=False)
    assert (name == "plan.json") == (view.focus is None)


def test_a_file_that_is_being_written_or_was_dropped_meanwhile_is_no_problem(tmp_path: Path):
    folder = planned_run(tmp_path)
    begin(folder, "rl-0")
    roll_out(folder, 1, [(True, True)])
    roll_out(folder, 2, [(False, False)])
    parts = folder.records / "rollouts" / "rl-0"
    (parts / ".part-000003.parquet.0a1b2c3d.tmp").write_bytes(b"PAR1")
    feed = Feed(folder)
    assert [each.update for each in looked(feed).derivations] == [2]
    (parts / "part-000002.parquet").unlink()
    view = looked(feed)
    assert ([each.update for each in view.derivations], view.problems) == ([1], ())


def test_the_newest_incidents_are_kept(tmp_path: Path):
    folder = planned_run(tmp_path)
    (folder.path / "incidents.jsonl").write_text("".join(f'{{"kind": "died", "n": {n}}}\n' for n in range(60)))
    assert [incident["n"] for incident in looked(Feed(folder)).incidents] == list(range(10, 60))


def test_an_incident_that_is_over_takes_the_place_of_its_beginning(tmp_path: Path):
    folder, feed = planned_run(tmp_path), Feed(planned_run(tmp_path))
    died = {"actor": "generator-0", "kind": "died", "cause": "signal 9", "detect_s": 0.5}
    for recover_s in (None, 12.5):
        with (folder.path / "incidents.jsonl").open("a") as stream:
            stream.write(json.dumps({**died, "recover_s": recover_s}) + "\n")
        assert [incident["recover_s"] for incident in looked(feed).incidents] == [recover_s]


def test_a_path_that_is_no_run_is_refused(tmp_path: Path):
    planned_run(tmp_path / "runs" / "one")
    (tmp_path / "file").write_text("")
    for path, message in (
        (tmp_path / "runs", "holds no plan.json; give one of the runs in it: one"),
        (tmp_path / "file", "is a file; give the folder of a run, such as runs/quickstart"),
        (tmp_path / "none" / "run", "does not exist, nor does the folder it would be in"),
        (tmp_path, "holds no plan.json; give the folder of a run"),
    ):
        with pytest.raises(UserError, match=message):
            Feed(RunFolder(path))
    (tmp_path / "empty").mkdir()
    Feed(RunFolder(tmp_path / "empty"))
