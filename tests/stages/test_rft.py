"""Expert iteration: what is kept, what is made of it, and whole stages with the engines of this process."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from rlreason.errors import RunFailed
from rlreason.recipe.own_samples import Rft
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from rlreason.stages import own_samples, rft
from rlreason.stages.rft import kept, round_metrics, sequences
from tests.stages.own import own
from tests.stages.small import Recorder, assert_same_results, run, write_recipe

RECIPE = """
name: small
model: {path: models/tiny-base}
tasks:
  people:
    {type: complementary, people: 32, hops: {1: 1, 2: 1}, wording: triples}
stages:
  experts:
    type: rft
    data: [{cells: ["contextual/*"]}]
    rounds: 2
    prompts: 8
    samples: 4
    sampling: {temperature: 1.5, max_new_tokens: 24}
    updates: 3
    batch_rows: 2
    checkpoint_every: 2
    optimizer: {learning_rate: 1.0e-3}
arms:
  experts: [experts]
evaluation:
  levels: [iid]
  cells: ["complementary/*"]
  problems: 4
  samples: 2
  k: [1, 2]
  sampling: {max_new_tokens: 24}
resources: {generator: torch, learner: torch, threads: 1, accelerator: cpu}
"""


def config(**changes: Any) -> Rft:
    settings = {"type": "rft", "data": [{"cells": ["*"]}], "updates": 1, "optimizer": {"learning_rate": 1e-3}}
    return Rft.model_validate({**settings, **changes})


# --- what is kept


def test_finished_right_samples_of_different_texts_are_kept_in_the_order_they_were_sampled():
    samples = [
        own(0, "a wrong", False),
        own(1, "right b", True),
        own(2, "right c", True, finish_reason="length"),
        own(3, "right b", True),
        own(4, "unknown", None),
        own(5, "right d", True),
        own(0, "right b", True, prompt="another?"),
    ]
    assert [(each.prompt, each.number) for each in kept(samples, config())] == [("p?", 1), ("p?", 5), ("another?", 0)]
    few = kept(samples, config(per_problem=1))
    assert [(each.prompt, each.number) for each in few] == [("p?", 1), ("another?", 0)]


def test_derivations_are_kept_where_every_step_is_right():
    samples = [own(0, "a", True, derived=False), own(1, "b", True, derived=True), own(2, "c", True, derived=None)]
    assert [each.number for each in kept(samples, config(keep="derivation"))] == [1]
    assert len(kept(samples, config(keep="answer"))) == 3


def test_a_round_s_metrics_worked_by_hand():
    samples = [
        own(0, "a", True),
        own(1, "a", True),
        own(2, "b", True, finish_reason="length"),
        own(3, "c", False),
        *(own(number, "d", None, prompt="another?") for number in range(4)),
    ]
    # 3 of 8 are right, they are 2 texts, 1 text is finished, 1 of 2 problems has a right one
    assert round_metrics(samples, config()) == {
        "samples": 8.0,
        "right_share": 3 / 8,
        "kept_share": 1 / 8,
        "distinct_share": 2 / 3,
        "solved_share": 1 / 2,
    }


def test_what_was_sampled_is_trained_token_by_token_and_the_prompt_is_not():
    nothing = SimpleNamespace()  # neither encoded nor scored again
    (tokens,), (labels,) = sequences(nothing, [own(0, "xy", True), own(1, "z", False)], {}, config())
    assert tokens.tolist() == [7, 8, ord("x"), ord("y"), 1]
    assert labels.tolist() == [-100, -100, ord("x"), ord("y"), 1]


# --- whole stages


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"), RECIPE)


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    progress = Recorder()
    run(recipe, folder, progress=progress)
    assert [done for kind, done in progress.advanced if kind == "rft"] == [1, 2, 3, 4, 5, 6]
    return folder


def stage_folder(folder: Path) -> Path:
    (stage,) = folder.glob("stages/rft-*")
    return stage


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(stage_folder(folder) / "model" / "model.safetensors")


def test_every_sample_of_every_round_is_on_record_with_the_version_that_sampled_it(whole):
    rollouts = read_table(RunFolder(whole), "rollouts")
    assert len(rollouts) == 2 * 8 * 4
    assert rollouts.groupby("update")["policy_version"].unique().map(list).to_dict() == {1: [0], 2: [1]}
    # a round asks other problems than the one before
    first, second = (set(own["problem"]) for _, own in rollouts.groupby("update"))
    assert not first & second
    assert (rollouts["advantage"] == 0).all() and rollouts["learner_mismatch"].isna().all()


def test_a_round_s_figures_stand_at_its_last_update(whole):
    updates = read_table(RunFolder(whole), "updates").pivot(index="update", columns="metric", values="value")
    assert updates.index.tolist() == [1, 2, 3, 4, 5, 6]
    assert updates["right_share"].dropna().index.tolist() == [3, 6]
    rollouts = read_table(RunFolder(whole), "rollouts")
    shares = rollouts.groupby("update")["correct"].mean()
    assert updates.loc[[3, 6], "right_share"].tolist() == pytest.approx(shares.tolist())
    assert json.loads((stage_folder(whole) / "done.json").read_text())["right_share"] == pytest.approx(shares[2])
    # each round has a schedule of its own
    assert updates["loss"].notna().all() and (updates["learning_rate"] == 1e-3).all()


def test_only_the_last_round_s_model_is_left(whole):
    left = sorted(path.name for path in stage_folder(whole).iterdir())
    assert left == ["config.json", "done.json", "model"]


@pytest.mark.parametrize("stop", [3, 5])
def test_a_killed_stage_goes_on_to_the_same_weights(recipe, whole, tmp_path, stop):
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, progress=Recorder(stop=("rft", stop)))
    progress = Recorder()
    run(recipe, tmp_path, progress=progress)
    assert_same_results(tmp_path, whole)
    one, other = weights(tmp_path), weights(whole)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    # states are kept every two updates of a round, and a round that is done is not begun again
    assert next(done for kind, done in progress.advanced if kind == "rft") == {3: 3, 5: 4}[stop]


def test_a_round_on_record_is_not_sampled_again(recipe, whole, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, progress=Recorder(stop=("rft", 1)))
    asked: list[int] = []
    sample = own_samples._sample

    def counted(context: Any, stage: Any, number: int, problems: Any) -> Any:
        asked.append(number)
        return sample(context, stage, number, problems)

    monkeypatch.setattr(own_samples, "_sample", counted)
    run(recipe, tmp_path)
    assert asked == [2]
    assert_same_results(tmp_path, whole)


def test_a_restart_trains_from_the_first_model_on_what_all_rounds_kept(recipe, tmp_path, monkeypatch):
    begun: list[tuple[str, int]] = []
    fit = rft.fit

    def watched(context: Any, stage: Any, start: Path, rows: Any, *others: Any) -> Any:
        begun.append((start.name, int(others[-1]["sequences"])))
        return fit(context, stage, start, rows, *others)

    monkeypatch.setattr(rft, "fit", watched)
    run(recipe, tmp_path, "stages.experts.restart=true")
    rollouts = read_table(RunFolder(tmp_path), "rollouts")
    right = rollouts[rollouts["correct"].fillna(False) & (rollouts["finish_reason"] == "stop")]
    counts = right.groupby("update").apply(lambda own: len(own[["prompt", "text"]].drop_duplicates()))
    assert begun == [("tiny-base", counts[1]), ("tiny-base", counts[1] + counts[2])]


def test_a_stage_that_gets_nothing_right_says_what_to_change(recipe, tmp_path):
    with pytest.raises(RunFailed) as error:
        run(recipe, tmp_path, "stages.experts.sampling.max_new_tokens=1")
    told = str(error.value)
    assert told.startswith(
        "stage 'experts', round 1: of 32 completions 0 have the right answer, 0 of these cut off at "
    )
    assert "max_new_tokens 1, so there is nothing to train; start from an arm that solves some" in told


def test_traces_are_trained_where_they_are_read_as_right(recipe, tmp_path):
    run(recipe, tmp_path, "stages.experts.traces={type: skills, attempts: 3}", "stages.experts.rounds=1")
    (figures,) = [json.loads(path.read_text()) for path in tmp_path.glob("stages/rft-*/done.json")]
    assert figures["trained_tokens"] > 0
    with pytest.raises(RunFailed, match=r"none of the traces made of the others is read as right.*`traces.verdict`"):
        run(recipe, tmp_path / "other", "stages.experts.traces={type: skills, verdict: 'I say {answer}'}")
