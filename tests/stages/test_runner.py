import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from safetensors.numpy import load_file

from rlreason.algorithms.seeding import derive_seed
from rlreason.errors import CheckpointError, MachineError, RecipeError, ScoringFailed
from rlreason.recipe import load_recipe
from rlreason.recipe.layout import lay_out
from rlreason.records.run_folder import RunFolder
from rlreason.stages import evaluate, runner
from rlreason.stages.runner import start_engines
from tests.stages.small import RECIPE, Recorder, assert_same_results, results, run, write_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory) -> Path:
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    progress = Recorder()
    outcome = run(recipe, folder, progress=progress)
    assert [stage.split("-")[0] for stage in outcome.ran] == ["sft", "evaluate", "rl", "evaluate"]
    assert progress.finished == ["sft", "evaluate", "rl", "evaluate"]
    return folder


class Pending:
    """Engines that are starting, on so many GPUs."""

    def __init__(self, gpus, resources):
        self.placement = SimpleNamespace(layout=lay_out(resources, gpus), release=lambda: self.released.append(gpus))
        self.released = []


def test_engines_that_came_to_share_a_gpu_are_let_go_where_a_stage_needs_them_apart(recipe, tmp_path, monkeypatch):
    on_ray = ["resources.generator=vllm", "resources.learner=deepspeed", "resources.accelerator=auto"]
    asynchronous = load_recipe(recipe, ["stages.rl.asynchrony={}", *on_ray]).recipe
    started = []

    def pretended(gpus):
        def start(resources, *arguments, **options):
            started.append(Pending(gpus, resources))
            return started[-1]

        return start

    for gpus in (0, 2):
        monkeypatch.setattr(runner, "_on_ray", pretended(gpus))
        assert start_engines(asynchronous, tmp_path, 64, tmp_path) is started[-1]
    monkeypatch.setattr(runner, "_on_ray", pretended(1))
    with pytest.raises(MachineError, match=r"stages\.rl\.asynchrony does not go .* share 1 here; provide 2 GPUs"):
        start_engines(asynchronous, tmp_path, 64, tmp_path)
    assert [each.released for each in started] == [[], [], [1]]


def stage_folder(folder: Path, kind: str) -> Path:
    (found,) = (folder / "stages").glob(f"{kind}-*")
    return found


def model_of(folder: Path, kind: str) -> dict[str, np.ndarray]:
    return load_file(stage_folder(folder, kind) / "model" / "model.safetensors")


# --- a whole run


def test_a_stage_that_arms_share_is_run_once_and_both_arms_have_their_evaluation(whole):
    plan = json.loads((whole / "plan.json").read_text())
    sft, rl = stage_folder(whole, "sft").name, stage_folder(whole, "rl").name
    arms = {name: arm["seeds"]["0"] for name, arm in plan["arms"].items()}
    assert arms["sft"]["stages"] == [sft]
    assert arms["sft_rl"]["stages"] == [sft, rl]
    evaluations = results(whole)["evaluations"]
    assert set(evaluations["stage"]) == {arms["sft"]["evaluation"], arms["sft_rl"]["evaluation"]}
    # 6 problems, one greedy and two sampled completions each
    assert evaluations.groupby("stage").size().tolist() == [18, 18]
    assert evaluations.groupby(["stage", "problem"])["sample"].agg(list).map(sorted).tolist() == [[-1, 0, 1]] * 12


def test_a_run_that_is_done_starts_no_engine_and_changes_no_file(whole, recipe):
    def files() -> dict[str, int]:
        skip = {"plan.json", "recipe.yaml", ".lock"}
        return {
            str(path): path.stat().st_mtime_ns for path in whole.rglob("*") if path.name not in skip and path.is_file()
        }

    before, progress = files(), Recorder()
    outcome = run(recipe, whole, progress=progress)
    assert (outcome.ran, len(outcome.found_done)) == ((), 4)
    assert progress.notes == progress.started == []
    assert files() == before


def test_rollouts_say_which_policy_and_which_seed_made_them(whole):
    rollouts = results(whole)["rollouts"]
    assert len(rollouts) == 5 * 3 * 4
    assert (rollouts["policy_version"] == rollouts["update"] - 1).all()
    stage = stage_folder(whole, "rl").name
    for row in rollouts.itertuples():
        assert row.seed == derive_seed(0, stage, row.update, row.problem, row.sample)
        assert row.tokens == len(row.completion_tokens) == len(row.generator_logprobs)
        assert row.logprob == pytest.approx(sum(row.generator_logprobs.tolist()), abs=1e-4)
    assert rollouts["learner_mismatch"].between(0, 1e-5).all()


def test_advantages_are_those_of_the_rewards_of_each_group(whole):
    rollouts = results(whole)["rollouts"]
    assert rollouts["advantage"].abs().max() > 0.5, "some groups must have something to learn"
    for _, group in rollouts.groupby(["update", "problem"]):
        rewards = group["reward"].to_numpy()
        expected = (rewards - rewards.mean()) / (rewards.std() + 1e-6) if len(set(rewards)) > 1 else 0 * rewards
        assert group["advantage"].to_numpy() == pytest.approx(expected, abs=1e-9)


def test_every_update_is_recorded_once_with_its_time_accounted_for(whole):
    from rlreason.records.tables import read_table

    updates = read_table(RunFolder(whole), "updates")
    wide = updates.pivot(index=["stage", "update"], columns="metric", values="value").loc[
        stage_folder(whole, "rl").name
    ]
    assert wide.index.tolist() == [1, 2, 3, 4, 5]
    phases = ["generate", "score", "learn", "sync", "other"]
    assert wide[[f"seconds_{phase}" for phase in phases]].sum(axis=1).to_numpy() == pytest.approx(wide["seconds"])
    # 2 updates of warm-up, then linear to zero one update after the last
    assert wide["learning_rate"].tolist() == pytest.approx([1e-3, 2e-3, 2e-3, 2e-3 * 2 / 3, 2e-3 / 3])
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 10


def test_training_changed_the_model_and_left_nothing_to_resume_from(whole):
    base = load_file(whole / "base" / "seed-0" / "model.safetensors")
    sft, rl = model_of(whole, "sft"), model_of(whole, "rl")
    for before, after in ((base, sft), (sft, rl)):
        assert any(not np.array_equal(before[name], after[name]) for name in before)
    for kind in ("sft", "rl"):
        assert sorted(path.name for path in stage_folder(whole, kind).iterdir()) == [
            "config.json",
            "done.json",
            "model",
        ]


def test_the_manifest_says_what_ran(whole):
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["recipe"] == "small"
    assert {"torch", "numpy", "python"} <= set(manifest["versions"])
    assert manifest["seeds"] == [0]
    assert manifest["hardware"]["generator"] == "torch"
    assert manifest["started"] <= manifest["finished"]


# --- interruptions


@pytest.mark.parametrize("stop", [("sft", 3), ("rl", 1), ("rl", 4), ("rl", 5), ("evaluate", 6)])
def test_an_interrupted_run_ends_like_one_that_was_not(recipe, whole, tmp_path, stop):
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, progress=Recorder(stop=stop))
    progress = Recorder()
    run(recipe, tmp_path, progress=progress)
    assert_same_results(whole, tmp_path)
    for kind in ("sft", "rl"):
        one, other = model_of(whole, kind), model_of(tmp_path, kind)
        assert all(np.array_equal(one[name], other[name]) for name in one)
    # states are kept every two updates: what came after is done again, what came before is not
    if stop[0] != "evaluate":
        first = next(done for kind, done in progress.advanced if kind == stop[0])
        assert first == (stop[1] - 1) // 2 * 2 + 1


def test_what_a_resumed_stage_does_again_is_not_on_record_in_the_meantime(recipe, tmp_path):
    for stop in (("rl", 4), ("rl", 3)):
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path, progress=Recorder(stop=stop))
    # the second time it went on after update 2 and came as far as 3; the first time's 4 is gone
    assert sorted(set(results(tmp_path)["rollouts"]["update"])) == [1, 2, 3]


def test_the_interval_of_checkpoints_may_change_between_the_parts_of_a_run(recipe, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, progress=Recorder(stop=("rl", 4)))
    run(recipe, tmp_path, "stages.rl.checkpoint_every=3", allow_change=True)
    assert_same_results(whole, tmp_path)


def test_an_evaluation_goes_on_at_its_next_block(recipe, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "block_completions", lambda resources: 6)  # all greedy ones; three problems' samples
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, progress=Recorder(stop=("evaluate", 4)))
    progress = Recorder()
    run(recipe, tmp_path, progress=progress)
    assert progress.started[0] == ("evaluate", 4)
    assert progress.advanced[0] == ("evaluate", 6)
    found, expected = results(tmp_path)["evaluations"], results(whole)["evaluations"]
    order = ["stage", "problem", "sample"]
    left, right = (frame.sort_values(order, ignore_index=True) for frame in (found, expected))
    # other blocks are other batches, in which a logprob may differ in its last bits
    pd.testing.assert_frame_equal(left, right, check_exact=False, rtol=1e-4)


MORE_UPDATES = "stages.rl.updates=25"


def driver(recipe: Path, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "rlreason", "run", str(recipe), "--folder", str(folder), "--set", MORE_UPDATES],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=(folder.parent / "driver.log").open("w"),
        start_new_session=True,
    )


def test_a_killed_driver_leaves_no_process_and_a_run_that_ends_like_any_other(recipe, tmp_path):
    folder = tmp_path / "killed"
    process = driver(recipe, folder)
    deadline = time.monotonic() + 240
    while not list(folder.glob("stages/rl-*/state/update-000002")):
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "driver.log").read_text()
        time.sleep(0.005)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert children, "the scoring worker"
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    assert not (stage_folder(folder, "rl") / "done.json").exists()
    progress = Recorder()
    run(recipe, folder, MORE_UPDATES, progress=progress)
    kind, done = progress.started[0]
    assert kind == "rl" and 2 <= done < 25 and done % 2 == 0
    run(recipe, tmp_path / "whole", MORE_UPDATES)
    assert_same_results(tmp_path / "whole", folder)


@pytest.mark.parametrize("kind", ["sft", "rl"])
def test_a_kill_between_the_model_and_its_done_mark_is_survived(recipe, whole, tmp_path, kind):
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, progress=Recorder(stop=(kind, 2)))
    half = stage_folder(tmp_path, kind) / "model"
    half.mkdir()
    (half / "left_over.txt").write_text("of a run that was killed before it could say done")
    run(recipe, tmp_path)
    assert not (half / "left_over.txt").exists()
    assert_same_results(whole, tmp_path)


def test_a_state_of_another_stage_is_refused(recipe, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, progress=Recorder(stop=("rl", 3)))
    manifest = next(tmp_path.glob("stages/rl-*/state/update-000002/manifest.json"))
    manifest.write_text(manifest.read_text().replace(stage_folder(tmp_path, "rl").name, "rl-0000000000"))
    with pytest.raises(CheckpointError, match=r"is the state of stage rl-0000000000, not of rl-.*; move it away"):
        run(recipe, tmp_path)


# --- another recipe, another process


def test_a_folder_begun_with_another_recipe_is_refused_with_the_difference(recipe, whole):
    before = (whole / "recipe.yaml").read_text()
    with pytest.raises(RecipeError) as refused:
        run(recipe, whole, "stages.rl.updates=7", "evaluation.samples=4")
    message = str(refused.value)
    assert f"{whole} was begun with another recipe" in message
    assert "stages.rl.updates: 5 -> 7" in message
    assert "evaluation.samples: 2 -> 4" in message
    assert "--allow-change" in message
    assert (whole / "recipe.yaml").read_text() == before


def test_the_manifest_follows_a_change_for_which_nothing_has_to_run(recipe, tmp_path):
    run(recipe, tmp_path, "seeds=[0, 1]")
    assert run(recipe, tmp_path, "seeds=[1]", allow_change=True).ran == ()
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["seeds"] == [1] and manifest["finished"] is not None


def test_with_allow_change_what_is_unchanged_is_kept(recipe, tmp_path):
    run(recipe, tmp_path, "stages.rl.updates=1")
    outcome = run(recipe, tmp_path, "stages.rl.updates=2", allow_change=True)
    assert [stage.split("-")[0] for stage in outcome.ran] == ["rl", "evaluate"]
    assert [stage.split("-")[0] for stage in outcome.found_done] == ["sft", "evaluate"]
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text())["stages"]["rl"]["updates"] == 2
    assert len(list(tmp_path.glob("stages/rl-*"))) == 2


def test_a_folder_that_another_process_runs_is_refused(recipe, tmp_path):
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MachineError, match=r"is being run by another process; wait for it, or give .* --folder"):
            run(recipe, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


# --- rewards that fail


def test_a_reward_that_always_fails_stops_the_run_without_a_step_and_the_run_resumes(tmp_path, whole):
    broken = "def score(problem, completion, derivation):\n    raise KeyError('no such table')\n"
    recipe = write_recipe(tmp_path, variety=broken)
    folder = tmp_path / "run"
    with pytest.raises(
        ScoringFailed, match=r"none of 12 rollouts could be scored; 12 times: .*KeyError.*no such table"
    ):
        run(recipe, folder)
    tables = results(folder)
    assert len(tables["rollouts"]) == 0
    assert set(tables["updates"]["stage"]) == {stage_folder(folder, "sft").name}
    assert not list(folder.glob("stages/rl-*/model")) and not list(folder.glob("stages/rl-*/state"))


def test_rollouts_that_could_not_be_scored_are_recorded_and_learn_nothing(tmp_path):
    fussy = (
        "def score(problem, completion, derivation):\n"
        "    if len(completion) % 2:\n        raise ValueError('odd')\n"
        "    return len(set(completion)) / 10\n"
    )
    folder = tmp_path / "run"
    run(write_recipe(tmp_path, RECIPE, variety=fussy), folder)
    rollouts = results(folder)["rollouts"]
    failed = rollouts["failure"] != ""
    assert 0 < failed.sum() < len(rollouts)
    assert rollouts.loc[failed, "reward"].isna().all() and not rollouts.loc[failed, "advantage"].any()
    assert rollouts.loc[failed, "failure"].str.contains("ValueError: odd").all()
    assert (rollouts.loc[failed, "text"].str.len() % 2 == 1).all()
    assert rollouts.loc[~failed, "reward"].notna().all()
