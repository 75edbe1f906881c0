"""A step scorer from derivations to its use in an RL stage, with the engines of this process and the shipped model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rlreason.errors import RunFailed
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from tests.stages.small import Recorder, assert_same_results, run, write_recipe

RECIPE = """
name: small
model: {path: models/tiny-base}
tasks:
  people:
    {type: complementary, people: 32, hops: {1: 1, 2: 1}, wording: triples}
stages:
  rl: &rl
    type: rl
    data: [{cells: ["complementary/*"]}]
    updates: 2
    prompts_per_update: 4
    group_size: 4
    sampling: {max_new_tokens: 24}
    optimizer: {learning_rate: 1.0e-4}
    credit: {type: process_return, steps: judge}
  rl_implicit: {<<: *rl, credit: {type: process_return, steps: ratio}}
scorers:
  judge:
    type: prm
    data: [{cells: ["complementary/*"]}]
    problems: 32
    samples: 4
    sampling: {max_new_tokens: 24}
    updates: 20
    batch_rows: 4
    held_out_problems: 16
    checkpoint_every: 8
    optimizer: {learning_rate: 2.0e-3}
  ratio: {type: implicit, policy: with_steps, beta: 0.5}
arms:
  base: []
  with_steps: [rl]
  with_ratio: [rl_implicit]
evaluation:
  levels: [iid]
  cells: ["complementary/*"]
  problems: 8
  samples: 2
  k: [1, 2]
  sampling: {max_new_tokens: 24}
resources: {generator: torch, learner: torch, threads: 1, accelerator: cpu}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"), RECIPE)


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    progress = Recorder()
    run(recipe, folder, progress=progress)
    # the implicit scorer waits for the arm whose policy it is made of
    assert progress.finished == ["evaluate", "prm", "rl", "evaluate", "rl", "evaluate"]
    return folder


def done(folder: Path, kind: str) -> list[dict[str, float]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"stages/{kind}-*/done.json"))]


def test_a_scorer_learns_to_tell_steps_apart(whole):
    steps = read_table(RunFolder(whole), "steps")
    right = steps["verdict"] == "right"
    assert 0.1 < right.mean() < 0.6
    # always saying "wrong" would be right on 1 - right.mean() of them; a scorer that read nothing could do no better
    agreed = ((steps["score"] >= 0.5) == right).mean()
    assert agreed > 1 - right.mean() + 0.05
    (figures,) = done(whole, "prm")
    assert figures["step_accuracy"] == pytest.approx(agreed) and figures["held_out_steps"] == len(steps)
    (classifier,) = whole.glob("stages/prm-*/model/config.json")
    assert json.loads(classifier.read_text())["architectures"] == ["LlamaForTokenClassification"]


def test_rollouts_record_what_the_scorer_said_of_each_step(whole):
    rollouts = read_table(RunFolder(whole), "rollouts")
    plan = json.loads((whole / "plan.json").read_text())["stages"]
    for stage, mine in rollouts.groupby("stage"):
        scorer = plan[stage]["scorer"]
        for text, steps, said in zip(mine["text"], mine["steps"], mine["step_scores"], strict=True):
            spans = [(step["start"], step["end"]) for step in json.loads(steps)]
            scored = json.loads(said)[scorer]
            assert [(start, end) for start, end, _ in scored] == spans
            assert all(0 <= end <= len(text) for _, end, _ in scored)
            if scorer == "judge":
                assert all(0 <= score <= 1 for _, _, score in scored)
    assert set(rollouts["stage"].map(lambda stage: plan[stage]["scorer"])) == {"judge", "ratio"}


def test_credit_by_steps_makes_groups_informative_whose_rewards_are_all_equal(whole):
    rollouts = read_table(RunFolder(whole), "rollouts")
    equal = (rollouts.groupby(["stage", "update", "problem"])["reward"].nunique() == 1).groupby(level=[0, 1]).mean()
    updates = read_table(RunFolder(whole), "updates").pivot(index=["stage", "update"], columns="metric", values="value")
    informative = updates.loc[equal.index, "informative_groups"]
    assert (equal > 0).any() and (informative[equal > 0] > 1 - equal[equal > 0]).all()


@pytest.mark.parametrize("stop", [("prm", 3), ("prm", 17), ("rl", 1)])
def test_a_killed_run_goes_on_to_the_same_scorer_and_the_same_rollouts(recipe, whole, tmp_path, stop):
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, progress=Recorder(stop=stop))
    run(recipe, tmp_path)
    assert_same_results(tmp_path, whole)
    one, other = (read_table(RunFolder(folder), "steps") for folder in (tmp_path, whole))
    np.testing.assert_array_equal(one["score"], other["score"])


def test_monte_carlo_labels_are_what_going_on_after_a_step_can_reach(recipe, tmp_path):
    unused = ["arms.with_ratio=null", "arms.with_steps=null", "stages.rl_implicit=null", "scorers.ratio=null"]
    run(recipe, tmp_path, "scorers.judge.labels={type: monte_carlo, rollouts: 2}", *unused)
    (figures,) = done(tmp_path, "prm")
    # with the answer within reach of a guess more steps are called right than are
    assert figures["right_steps"] > (read_table(RunFolder(tmp_path), "steps")["verdict"] == "right").mean()


def test_derivations_whose_steps_are_all_wrong_are_an_error_that_says_what_to_change(recipe, tmp_path):
    changes = ["scorers.judge.sampling.max_new_tokens=1", "scorers.judge.problems=2"]
    with pytest.raises(RunFailed, match=r"scorer 'judge': of 8 steps in 8 derivations 0 are right.*`after`"):
        run(recipe, tmp_path, *changes)
