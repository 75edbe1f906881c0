"""Rollouts drawn ahead of the learner, in whole small runs in this process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from rlreason.engines.checkpoints import MANIFEST, promote
from rlreason.engines.torch_generator import TorchGenerator
from rlreason.engines.torch_learner import TorchLearner
from rlreason.errors import CheckpointError, ScoringFailed
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from rlreason.stages import draws
from rlreason.stages.spares import ARRAYS, VALUES
from tests.stages.small import RECIPE, Recorder, results, run, write_recipe

MACHINE = ("sampling_seconds", "spare_batches")
"""How names of metrics that measure the machine begin, beside those of `results`."""


def recipe_text(asynchrony: dict[str, object], **changes: object) -> str:
    """The small recipe's `rl` stage alone, seven updates long, asynchronous."""
    values = yaml.safe_load(RECIPE)
    plain = {**values["stages"]["rl"], "updates": 7, "checkpoint_every": 3, "asynchrony": asynchrony}
    values["stages"] = {"rl": {**plain, **changes}}
    values["arms"] = {"rl": ["rl"]}
    values["evaluation"] |= {"problems": 2}
    return yaml.safe_dump(values, sort_keys=False)


def rl_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Every table of a run that a resumed one must repeat, without what measures the machine."""
    tables = results(folder)
    updates = tables["updates"]
    tables["updates"] = updates[~updates["metric"].str.startswith(MACHINE)].reset_index(drop=True)
    tables["curriculum"] = read_table(RunFolder(folder), "curriculum")
    return tables


def assert_same(one: Path, other: Path) -> None:
    for (name, expected), found in zip(rl_tables(one).items(), rl_tables(other).values(), strict=True):
        assert len(expected) > 0, name
        pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=name)


def metric(folder: Path, name: str) -> list[float]:
    """An update's metric, update by update."""
    rows = read_table(RunFolder(folder), "updates")
    return rows[rows["metric"] == name].sort_values("update")["value"].tolist()


def versions(folder: Path) -> list[list[int]]:
    """The versions that sampled the rollouts of each update, each once."""
    rollouts = read_table(RunFolder(folder), "rollouts")
    return rollouts.groupby("update")["policy_version"].agg(lambda own: sorted(set(own))).tolist()


def sampling_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "sampling"]


# --- lockstep


@pytest.fixture(scope="module", params=[1, 2])
def lockstep(request, tmp_path_factory) -> tuple[Path, Path]:
    """(recipe, a run that was never interrupted), with a curriculum that learns and dynamic sampling."""
    text = recipe_text(
        {"max_staleness": request.param},
        curriculum={"type": "sec"},
        dynamic_sampling={"max_rounds": 2},
        data=[{"cells": ["*"]}],
    )
    recipe = write_recipe(tmp_path_factory.mktemp("recipe"), text)
    folder = tmp_path_factory.mktemp("whole")
    run(recipe, folder)
    return recipe, folder


def staleness_of(recipe: Path) -> int:
    return yaml.safe_load(recipe.read_text())["stages"]["rl"]["asynchrony"]["max_staleness"]


def ledger(folder: Path) -> dict[str, float]:
    """What the stage spent, but for time."""
    (done,) = folder.glob("stages/rl-*/done.json")
    return {name: spent for name, spent in json.loads(done.read_text())["ledger"].items() if name != "device_seconds"}


def test_in_lockstep_every_update_learns_from_the_same_version_whatever_the_speed(lockstep):
    recipe, folder = lockstep
    behind = staleness_of(recipe)
    assert versions(folder) == [[max(0, update - 1 - behind)] for update in range(1, 8)]
    assert metric(folder, "staleness_max") == [min(update - 1, behind) for update in range(1, 8)]
    assert metric(folder, "dropped_stale") == [0.0] * 7
    assert sampling_threads() == []
    rollouts = read_table(RunFolder(folder), "rollouts")
    spent = ledger(folder)
    assert (spent["samples"], spent["sampled_tokens"]) == (len(rollouts), rollouts["tokens"].sum())


@pytest.mark.parametrize(("killed_after", "state_of"), [(5, 3), (7, 6)])
def test_a_killed_run_repeats_the_undisturbed_one_to_the_last_bit(lockstep, tmp_path, killed_after, state_of):
    recipe, whole = lockstep
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", progress=Recorder(stop=("rl", killed_after)))
    assert sampling_threads() == []
    (spare,) = (tmp_path / "run" / "stages").glob(f"rl-*/state/update-{state_of:06d}/spare.json")
    # as many batches as it may be ahead, and none past the last update
    last = min(state_of + staleness_of(recipe), 7)
    assert [int(update) for update in json.loads(spare.read_text())] == list(range(state_of + 1, last + 1))
    progress = Recorder()
    run(recipe, tmp_path / "run", progress=progress)
    assert progress.started[0] == ("rl", state_of)
    assert_same(tmp_path / "run", whole)
    assert ledger(tmp_path / "run") == ledger(whole)


def later(function, seconds):
    def slowly(*arguments, **named):
        time.sleep(seconds)
        return function(*arguments, **named)

    return slowly


@pytest.mark.parametrize("lockstep", [1], indirect=True)
@pytest.mark.parametrize("side", ["sampling", "learning"])
def test_a_slow_side_changes_nothing(lockstep, tmp_path, monkeypatch, side):
    recipe, whole = lockstep
    for each, where, name in (("sampling", draws, "complete"), ("learning", TorchLearner, "update")):
        monkeypatch.setattr(where, name, later(getattr(where, name), seconds=0.4 if each == side else 0.2))
    run(recipe, tmp_path / "run")
    assert_same(tmp_path / "run", whole)
    timeline = read_table(RunFolder(tmp_path / "run"), "timeline")
    assert set(timeline["actor"]) == {"generators", "rewards", "learners"}
    assert (timeline["end"] >= timeline["start"]).all()
    starts, ends = (timeline[timeline["phase"] == phase].groupby("update") for phase in ("generate", "learn"))
    # the batch of update 4 is being sampled while update 3 is learned: with turns it would begin afterwards
    assert starts["start"].min()[4] < ends["end"].max()[3]


def sealed_again(state: Path) -> None:
    """Have the state's manifest say of its files what they are now."""
    about = json.loads((state / MANIFEST).read_text())
    (state / MANIFEST).unlink()
    promote(state.rename(state.with_name(state.name + ".partial")), {**about, "files": {}})


def cut_off(state: Path) -> None:
    (state / ARRAYS).write_bytes((state / ARRAYS).read_bytes()[:-9])


def of_another_form(state: Path) -> None:
    (state / VALUES).write_text('{"4": {}}')
    sealed_again(state)


def left_out(state: Path) -> None:
    for name in (VALUES, ARRAYS):
        (state / name).unlink()
    sealed_again(state)


@pytest.mark.parametrize("lockstep", [1], indirect=True)
@pytest.mark.parametrize("damage", [cut_off, of_another_form, left_out])
def test_damaged_spare_rollouts_are_refused_with_a_remedy_that_is_one(lockstep, tmp_path, damage):
    recipe, whole = lockstep
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", progress=Recorder(stop=("rl", 5)))
    (state,) = (tmp_path / "run").glob("stages/rl-*/state/update-*")
    damage(state)
    with pytest.raises(CheckpointError) as error:
        run(recipe, tmp_path / "run")
    named = re.search(r"or delete (\S+) to begin the stage again", str(error.value))
    assert named is not None, error.value
    assert Path(named[1]).resolve() == state.parent.resolve()
    shutil.rmtree(named[1])
    progress = Recorder()
    run(recipe, tmp_path / "run", progress=progress)
    assert progress.started[0] == ("rl", 0)
    assert_same(tmp_path / "run", whole)


# --- newest, with the options that it has


@pytest.mark.parametrize(
    "asynchrony",
    [
        {"mode": "newest"},
        {"mode": "newest", "ahead": 3},
        {"mode": "newest", "partial_rollouts": True, "chunk_tokens": 3},
    ],
)
def test_no_update_learns_from_what_is_too_old(tmp_path, asynchrony):
    run(write_recipe(tmp_path / "recipe", recipe_text(asynchrony)), tmp_path / "run")
    rollouts = read_table(RunFolder(tmp_path / "run"), "rollouts")
    assert rollouts.groupby("update").size().tolist() == [12] * 7
    age = rollouts["update"] - 1 - rollouts["policy_version"]
    assert age.between(0, 1).all()
    assert metric(tmp_path / "run", "staleness_max") == age.groupby(rollouts["update"]).max().tolist()


def test_every_token_has_the_logprob_of_the_weights_that_sampled_it(tmp_path, monkeypatch):
    served: dict[int, dict[str, torch.Tensor]] = {}
    load, generate = TorchGenerator.load_weights, TorchGenerator.generate

    def keeping(self, weights, policy_version):
        served[policy_version] = {name: tensor.clone() for name, tensor in weights}
        load(self, weights, policy_version)

    def slowly(self, *arguments):
        time.sleep(0.05)  # so that the learner is done in mid-completion
        return generate(self, *arguments)

    monkeypatch.setattr(TorchGenerator, "load_weights", keeping)
    monkeypatch.setattr(TorchGenerator, "generate", slowly)
    asynchrony = {"mode": "newest", "max_staleness": 2, "partial_rollouts": True, "chunk_tokens": 2}
    run(write_recipe(tmp_path / "recipe", recipe_text(asynchrony, correction={})), tmp_path / "run")
    rows = read_table(RunFolder(tmp_path / "run"), "rollouts")
    told = rows[rows["policy_versions"].notna()]
    several = told[told["policy_versions"].map(lambda own: len(set(own.tolist())) > 1)]
    assert len(several) > 0, "new weights came in mid-completion"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "base" / "seed-0")
    for row in several.head(20).itertuples():
        assert row.policy_version == min(row.policy_versions)
        assert (np.diff(row.policy_versions) >= 0).all()
        ids = torch.tensor([[*row.prompt_tokens, *row.completion_tokens]])
        for version in set(row.policy_versions):
            model.load_state_dict(served[version], strict=False)
            with torch.no_grad():
                logprobs = torch.log_softmax(model(input_ids=ids).logits[0, :-1], dim=-1)
            own = logprobs[range(ids.shape[1] - 1), ids[0, 1:]][-len(row.completion_tokens) :].numpy()
            here = np.array(row.policy_versions) == version
            np.testing.assert_allclose(np.array(row.generator_logprobs)[here], own[here], atol=1e-4)


def test_a_run_that_samples_newest_resumes_with_the_rollouts_it_had(tmp_path):
    recipe = write_recipe(tmp_path / "recipe", recipe_text({"mode": "newest", "ahead": 2, "max_staleness": 2}))
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", progress=Recorder(stop=("rl", 5)))
    run(recipe, tmp_path / "run")
    rollouts = read_table(RunFolder(tmp_path / "run"), "rollouts")
    assert rollouts.groupby("update").size().tolist() == [12] * 7
    # each problem of a cell is used once: none was drawn anew, and none was lost
    assert rollouts.groupby("problem")["update"].nunique().max() == 1


@pytest.mark.parametrize(
    ("asynchrony", "changes"),
    [
        ({}, {"advantage": {"type": "gae"}, "critic": {}, "correction": {}, "minibatches": 3}),
        ({"mode": "newest", "ahead": 3, "when_stale": "reweight"}, {"correction": {}}),
    ],
)
def test_other_algorithms_learn_from_stale_rollouts_too(tmp_path, asynchrony, changes):
    run(write_recipe(tmp_path / "recipe", recipe_text(asynchrony, **changes)), tmp_path / "run")
    assert metric(tmp_path / "run", "loss")
    assert metric(tmp_path / "run", "skipped") == [0.0] * 7


# --- what goes wrong


def test_a_failure_while_drawing_reaches_the_stage_as_it_is(tmp_path):
    broken = """
def score(problem, completion, derivation):
    raise KeyError("broken")
"""
    recipe = write_recipe(tmp_path / "recipe", recipe_text({}), variety=broken)
    with pytest.raises(ScoringFailed, match="PluginRaised"):
        run(recipe, tmp_path / "run")
    assert sampling_threads() == []


def test_a_failure_of_the_learner_stops_the_drawing(tmp_path, monkeypatch):
    whole = TorchLearner.update

    def failing(self, batch, update, on_policy):
        if update == 3:
            raise MemoryError("no room")
        return whole(self, batch, update, on_policy)

    monkeypatch.setattr(TorchLearner, "update", failing)
    with pytest.raises(MemoryError, match="no room"):
        run(write_recipe(tmp_path / "recipe", recipe_text({})), tmp_path / "run")
    assert sampling_threads() == []


def test_ctrl_c_while_both_sides_are_busy_ends_both(tmp_path, monkeypatch):
    whole, calls = draws.complete, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)  # still at work when the stage is told to end
        return whole(*arguments)

    monkeypatch.setattr(draws, "complete", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(write_recipe(tmp_path / "recipe", recipe_text({})), tmp_path / "run")
    finally:
        torch.set_grad_enabled(True)  # the signal may fall into the exit of a `torch.no_grad()`, and other tests follow
    assert sampling_threads() == []
    assert len(calls) <= 4


# --- what synchronous runs are


def test_without_asynchrony_nothing_is_written_of_it(tmp_path):
    values = yaml.safe_load(recipe_text({}))
    del values["stages"]["rl"]["asynchrony"]
    run(write_recipe(tmp_path / "recipe", yaml.safe_dump(values)), tmp_path / "run")
    assert len(read_table(RunFolder(tmp_path / "run"), "timeline")) == 0
    rollouts = read_table(RunFolder(tmp_path / "run"), "rollouts")
    assert rollouts["policy_versions"].isna().all()
    assert np.array_equal(rollouts["policy_version"], rollouts["update"] - 1)
