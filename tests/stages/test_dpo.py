"""Preference pairs from a policy's own samples, and whole stages with the engines of this process."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from rlreason.errors import RunFailed
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from rlreason.stages.dpo import pairs_of, preference_pairs
from tests.stages.own import own
from tests.stages.small import Recorder, assert_same_results, run, write_recipe

RECIPE = """
name: small
model: {path: models/tiny-base}
tasks:
  people:
    {type: complementary, people: 32, hops: {1: 1, 2: 1}, wording: triples}
stages:
  dpo:
    type: dpo
    data: [{cells: ["contextual/*"]}]
    prompts: 8
    samples: 4
    sampling: {temperature: 1.5, max_new_tokens: 24}
    updates: 4
    batch_pairs: 4
    checkpoint_every: 2
    optimizer: {learning_rate: 1.0e-3}
arms:
  preferring: [dpo]
evaluation:
  levels: [iid]
  cells: ["complementary/*"]
  problems: 4
  samples: 2
  k: [1, 2]
  sampling: {max_new_tokens: 24}
resources: {generator: torch, learner: torch, threads: 1, accelerator: cpu}
"""


def numbers(pairs) -> list[tuple[int, int]]:
    return [(right.number, wrong.number) for right, wrong in pairs]


# --- pairs


def test_every_right_text_meets_another_wrong_one_before_any_does_twice():
    samples = [
        own(0, "r0", True),
        own(1, "w1", False),
        own(2, "r2", True),
        own(3, "w3", False),
        own(4, "r4", True),
    ]
    every = [(0, 1), (2, 3), (4, 1), (0, 3), (2, 1), (4, 3)]
    assert numbers(pairs_of(samples, 100)) == every
    assert numbers(pairs_of(samples, 4)) == every[:4]


def test_the_same_text_counts_once_and_what_was_cut_off_is_no_example():
    samples = [
        own(0, "r", True, finish_reason="length"),
        own(1, "r", True),
        own(2, "r", True),
        own(3, "w", False),
        own(4, "w", False),
        own(5, "cut", False, finish_reason="length"),
        own(6, "unknown", None),
    ]
    assert numbers(pairs_of(samples, 100)) == [(1, 3), (1, 5)]


def test_pairs_are_of_one_problem():
    samples = [own(0, "r", True), own(0, "w", False, prompt="another?")]
    assert pairs_of(samples, 100) == []


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans()), max_size=12), st.integers(1, 5)
)
def test_pairs_are_right_and_wrong_differ_and_never_repeat(drawn, most):
    samples = [own(index, text, correct, prompt=prompt) for index, (prompt, text, correct) in enumerate(drawn)]
    pairs = pairs_of(samples, most)
    assert all(right.correct is True and wrong.correct is False for right, wrong in pairs)
    assert all(right.prompt == wrong.prompt and right.text != wrong.text for right, wrong in pairs)
    assert len(set(numbers(pairs))) == len(pairs)
    for prompt in "ab":
        assert sum(right.prompt == prompt for right, _ in pairs) <= most


def test_a_learner_gets_every_pair_once_a_pass():
    found = [(own(0, "ab", True), own(1, "c", False)), (own(0, "d", True), own(1, "e", False))]
    pairs = preference_pairs(found, 5, np.random.default_rng(0))
    assert pairs.prompt_lengths.tolist() == [2, 2, 2, 2]
    assert pairs.lengths.tolist() == [3, 2, 2, 2]
    assert pairs.tokens.tolist()[:9] == [7, 8, ord("a"), ord("b"), 1, 7, 8, ord("c"), 1]
    assert [completion.tolist() for _, completion in pairs.split()][2:] == [[ord("d"), 1], [ord("e"), 1]]
    assert sorted(pairs.order[:2]) == sorted(pairs.order[2:4]) == [0, 1] and len(pairs.order) == 5


# --- whole stages


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"), RECIPE)


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run(recipe, folder)
    return folder


def stage_folder(folder: Path) -> Path:
    (stage,) = folder.glob("stages/dpo-*")
    return stage


def test_the_first_update_has_the_loss_of_no_preference_and_later_ones_prefer_what_is_right(whole):
    updates = read_table(RunFolder(whole), "updates").pivot(index="update", columns="metric", values="value")
    assert updates.index.tolist() == [1, 2, 3, 4]
    assert updates.loc[1, "loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert updates.loc[1, "preference_margin"] == pytest.approx(0, abs=1e-6)
    assert updates.loc[4, "preference_margin"] > 0.01
    figures = json.loads((stage_folder(whole) / "done.json").read_text())
    assert figures["pairs"] >= 4 and 0 < figures["paired_share"] <= 1
    assert figures["trained_tokens"] == updates["trained_tokens"].sum()


def test_the_samples_are_on_record(whole):
    rollouts = read_table(RunFolder(whole), "rollouts")
    assert len(rollouts) == 8 * 4 and set(rollouts["update"]) == {1}
    figures = json.loads((stage_folder(whole) / "done.json").read_text())
    assert figures["right_share"] == pytest.approx(rollouts["correct"].mean())


def test_a_killed_stage_goes_on_to_the_same_weights(recipe, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, progress=Recorder(stop=("dpo", 3)))
    progress = Recorder()
    run(recipe, tmp_path, progress=progress)
    assert_same_results(tmp_path, whole)
    one, other = (load_file(stage_folder(folder) / "model" / "model.safetensors") for folder in (tmp_path, whole))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert next(done for kind, done in progress.advanced if kind == "dpo") == 3


def test_samples_without_a_pair_say_what_to_change(recipe, tmp_path):
    with pytest.raises(RunFailed) as error:
        run(recipe, tmp_path, "stages.dpo.sampling.max_new_tokens=1")
    assert str(error.value).startswith("stage 'dpo': of 32 completions 0 are right and 32 wrong, but no problem has")
