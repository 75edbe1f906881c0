"""The states of a stage on disk: how many stay, and what becomes of a run whose states were damaged or not written."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from rlreason.engines import state_writer
from rlreason.engines.checkpoints import verify
from rlreason.errors import CheckpointError
from rlreason.records import RunFolder, read_table
from tests.stages.small import Recorder, assert_same_results, run, write_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory) -> Path:
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run(recipe, folder)
    return folder


def interrupted(recipe: Path, folder: Path, kind: str, update: int, *overrides: str) -> Path:
    """The folder of states of a run that was stopped in that stage after that update; one lies every two updates."""
    with pytest.raises(KeyboardInterrupt):
        run(recipe, folder, *overrides, progress=Recorder(stop=(kind, update)))
    (found,) = folder.glob(f"stages/{kind}-*/state")
    return found


def names(states: Path) -> list[str]:
    return sorted(path.name for path in states.iterdir())


def cut(state: Path, file: str = "learner.safetensors") -> None:
    content = (state / file).read_bytes()
    (state / file).write_bytes(content[: len(content) // 2])


def test_a_state_is_safetensors_and_json_and_says_what_it_is_of(recipe, tmp_path):
    states = interrupted(recipe, tmp_path, "rl", 3)
    assert names(states) == ["update-000002"]
    assert names(states / "update-000002") == ["learner.safetensors", "loop.json", "manifest.json"]
    about = verify(states / "update-000002").about
    assert (about["recipe"], about["stage"], about["update"]) == ("small", states.parent.name, 2)
    assert (about["learner"], about["ranks"]) == ("torch", 1)
    assert set(about["versions"]) == {"rlreason", "torch", "safetensors"}


@pytest.mark.parametrize("kind", ["sft", "rl"])
def test_as_many_states_stay_as_the_recipe_says_and_the_next_older_is_gone_on_from(recipe, whole, tmp_path, kind):
    keep = f"stages.{'atomic' if kind == 'sft' else 'rl'}.keep_last=2"
    states = interrupted(recipe, tmp_path, kind, 5, keep)
    assert names(states) == ["update-000002", "update-000004"]
    cut(states / "update-000004")
    progress = Recorder()
    run(recipe, tmp_path, keep, progress=progress)
    assert next(done for stage, done in progress.advanced if stage == kind) == 3
    (note,) = (note for note in progress.notes if "update-000004" in note)
    assert "update-000004/learner.safetensors has" in note and note.endswith("going on from update 2")
    assert_same_results(whole, tmp_path)


@pytest.mark.parametrize(
    ("kind", "file"), [("sft", "learner.safetensors"), ("rl", "learner.safetensors"), ("rl", "loop.json")]
)
def test_a_damaged_state_with_no_older_one_stops_the_run_and_nothing_begins_from_scratch(recipe, tmp_path, kind, file):
    states = interrupted(recipe, tmp_path, kind, 4)
    cut(states / "update-000002", file)
    progress = Recorder()
    with pytest.raises(
        CheckpointError, match=rf"{file} has \d+ bytes and was written with \d+.*restore the file, or de"
    ):
        run(recipe, tmp_path, progress=progress)
    assert not [done for stage, done in progress.advanced if stage == kind]
    assert names(states) == ["update-000002"]


def test_a_disk_that_fills_up_stops_the_run_which_goes_on_once_there_is_room(recipe, whole, tmp_path, monkeypatch):
    write = state_writer.write_tensors

    def fill_up(folder: Path, tensors) -> None:
        write(folder, tensors)
        if folder.parent.parent.name.startswith("rl-") and "000004" in folder.name:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_writer, "write_tensors", fill_up)
    # with more updates than the failed write can take
    with pytest.raises(
        CheckpointError, match=r"update-000004 could not be .*No space left.*resumes after update-000002"
    ):
        run(recipe, tmp_path, "stages.rl.updates=200")
    (states,) = tmp_path.glob("stages/rl-*/state")
    assert names(states) == ["update-000002"]
    monkeypatch.undo()
    progress = Recorder(stop=("rl", 6))
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, "stages.rl.updates=200", progress=progress)
    assert ("rl", 2) in progress.started and [done for kind, done in progress.advanced if kind == "rl"] == [3, 4, 5, 6]


def test_models_stay_at_the_updates_asked_for_and_stage_identities_do_not_change(recipe, whole, tmp_path):
    run(recipe, tmp_path, "stages.rl.keep_models_every=2", "stages.rl.keep_last=3")
    assert_same_results(whole, tmp_path)
    (kept,) = tmp_path.glob("stages/rl-*/models")
    assert names(kept) == ["update-000002", "update-000004"]
    for model in kept.iterdir():
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in model.iterdir()}
    assert not (kept.parent / "state").exists()


def test_of_the_models_those_of_the_highest_reward_stay_after_a_kill_too(recipe, tmp_path):
    # states lie after updates 2 and 4, models after 3, 6 and 9: the killed run goes on in the middle of a window
    keep = ("stages.rl.keep_models_every=3", "stages.rl.keep_best=1", "stages.rl.updates=9")
    run(recipe, tmp_path / "whole", *keep)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "stopped", *keep, progress=Recorder(stop=("rl", 5)))
    run(recipe, tmp_path / "stopped", *keep)
    folder = RunFolder(tmp_path / "whole")
    updates = read_table(folder, "updates").query("metric == 'reward_mean' and stage.str.startswith('rl-')")
    means = updates.sort_values("update")["value"].to_numpy().reshape(3, 3).mean(axis=1)
    best = max(range(3), key=lambda index: (means[index], index))
    for name in ("whole", "stopped"):
        (kept,) = (tmp_path / name).glob("stages/rl-*/models")
        assert names(kept) == [f"update-{3 * best + 3:06d}"]
        told = json.loads((kept / names(kept)[0] / "kept.json").read_text())
        assert told == {"update": 3 * best + 3, "reward_mean": pytest.approx(means[best])}


def test_a_state_of_another_number_of_ranks_is_gone_on_from_and_it_is_said(recipe, whole, tmp_path):
    states = interrupted(recipe, tmp_path, "rl", 4)
    manifest = states / "update-000002" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "ranks": 2}))
    progress = Recorder()
    run(recipe, tmp_path, progress=progress)
    assert any("was saved by 2 learner rank(s), and 1 go on with it" in note for note in progress.notes)
    assert_same_results(whole, tmp_path)
