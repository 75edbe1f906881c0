"""A stage's schedule: what the recipe says of the curriculum, what is recorded of it, and going on after a resume."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from rlreason.errors import CheckpointError, RecipeError
from rlreason.recipe import load_recipe
from rlreason.recipe.stages import Rl
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from rlreason.stages.schedule import Schedule, gates
from rlreason.tasks.registry import build_task
from rlreason.types import Completion, Group, Problem, Rollout, Score
from tests.stages.small import RECIPE, Recorder, assert_same_results, run, write_recipe

TASKS = {"people": build_task("people", "complementary", {"people": 16, "hops": {1: 1, 2: 1}})}
DONE = Completion(np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1, np.float32), "", "stop", 0, 0)
ATOMIC = ("people:train:parametric/1", "people:train:contextual/1")


def schedule(seed: int = 0, cells: tuple[str, ...] = ("*/1", "complementary/2"), **curriculum: object) -> Schedule:
    config = Rl.model_validate(
        {
            "type": "rl",
            "data": [{"cells": [cell]} for cell in cells],
            "updates": 10,
            "optimizer": {"learning_rate": 1e-3},
            "curriculum": curriculum or {"type": "uniform"},
        }
    )
    return Schedule(TASKS, config, np.random.default_rng(seed))


def answered(problems: list[Problem], right: bool = True) -> tuple:
    """Groups of two rollouts each, both right or both wrong, as `observe` takes them."""
    groups = [
        Group(problem, tuple(Rollout(problem, index, DONE, Score(float(right), right)) for index in range(2)))
        for problem in problems
    ]
    shape = (len(problems), 2)
    return groups, np.full(shape, float(right)), np.zeros(shape), np.ones(shape, bool)


def cells(problems: list[Problem]) -> set[str]:
    return {problem.cell for problem in problems}


def test_a_gate_opens_composites_once_the_atomic_cells_are_mastered():
    gated = schedule(type="uniform", gate={"threshold": 0.5, "window": 8})
    atomic = {"parametric/1", "contextual/1"}
    assert cells(gated.next(100)) == atomic
    shown = gated.observe(*answered([TASKS["people"].problem("train", "parametric/1", i) for i in range(8)]))
    row = dict(zip(shown["arm"], zip(shown["mastered"], shown["unlocked"], strict=True), strict=True))
    assert row[ATOMIC[0]] == (True, True) and row[ATOMIC[1]] == (False, True)
    assert row["people:train:complementary/2"] == (False, False)
    assert cells(gated.next(100)) == atomic
    gated.observe(*answered([TASKS["people"].problem("train", "contextual/1", i) for i in range(8)]))
    assert cells(gated.next(100)) == {*atomic, "complementary/2"}


def test_credit_that_comes_late_goes_to_the_cells_that_earned_it():
    late, prompt = (schedule(type="sec", alpha=0.5, tau=0.4) for _ in range(2))
    first, second = late.next(12), late.next(12)  # the second batch is drawn before the first one's scores are there
    assert first == prompt.next(12)
    for problems in (first, second):
        groups, rewards, advantages, scored = answered(problems)
        advantages = np.array([[1.0, -1.0] if group.problem.cell == "parametric/1" else [0.0, 0.0] for group in groups])
        scored[0] = False  # a group that was lost: counted where it was drawn
        shown = late.observe(groups, rewards, advantages, scored)
        lost = dict(zip(shown["arm"], shown["unscored"], strict=True))
        assert {arm.rpartition(":")[2]: count for arm, count in lost.items() if count} == {problems[0].cell: 2}
        drawn = {arm.rpartition(":")[2]: count for arm, count in zip(shown["arm"], shown["drawn"], strict=True)}
        assert {cell: count for cell, count in drawn.items() if count} == Counter(each.cell for each in problems)
    # mean |advantage| of 1 twice: 0 -> .5 -> .75; nothing for the other two
    learned = late.state_dict()["scheduler"]["curriculum"]
    assert dict(zip(learned["weights"], learned["memory"]["values"], strict=True)) == {
        ATOMIC[0]: 0.75,
        ATOMIC[1]: 0.0,
        "people:train:complementary/2": 0.0,
    }


def test_the_plan_of_a_gate_names_what_unlocks_each_cell(tmp_path):
    text = RECIPE.replace('cells: ["complementary/*"]}\n    updates: 5', 'cells: ["*"]}\n    updates: 5')
    text = text.replace(
        "    group_size: 4", "    group_size: 4\n    curriculum: {type: uniform, gate: {mastered: [contextual/1]}}"
    )
    found = gates(load_recipe(write_recipe(tmp_path, text)).recipe, TASKS)
    assert dict(found["rl"])["parametric/1"] == ""
    assert dict(found["rl"])["complementary/2"] == "parametric/1"  # and contextual/1, which is known


def test_what_an_earlier_stage_taught_need_not_be_trained():
    gated = schedule(cells=("complementary/2",), type="uniform", gate={"mastered": ["*/1"]})
    assert cells(gated.next(10)) == {"complementary/2"}


@pytest.mark.parametrize(
    ("curriculum", "words"),
    [
        ({"type": "uniform", "gate": {}}, "needs 'people:train:parametric/1', which is not trained here"),
        (
            {"type": "uniform", "gate": {"mastered": ["parametrc/*"]}},
            "cell 'parametrc/.' is not one of .*gate.mastered",
        ),
        (
            {"type": "uniform", "gate": {"threshold": 0.99, "window": 4, "mastered": ["*/1"]}},
            "a full window of 4 problems",
        ),
    ],
)
def test_a_gate_that_could_never_open_is_refused(curriculum, words):
    with pytest.raises(RecipeError, match=words):
        schedule(cells=("complementary/2",), **curriculum)


@pytest.mark.parametrize(
    "type",
    ["ordered", "reverse_ordered", "easy_to_hard", "success_target", "sec", "ucb", "thompson", "exp3s", "variance"],
)
def test_every_curriculum_of_a_recipe_draws_learns_and_resumes(type):
    uninterrupted, resumed = schedule(1, type=type), schedule(2, type=type)
    for update in range(4):
        uninterrupted.observe(*answered(uninterrupted.next(6), right=update % 2 == 0))
    resumed.load_state_dict(json.loads(json.dumps(uninterrupted.state_dict())))
    assert resumed.next(20) == uninterrupted.next(20)


def test_a_state_of_another_curriculum_is_refused():
    with pytest.raises(CheckpointError, match="followed the rule Sec, here it is Fixed"):
        schedule().load_state_dict(schedule(type="sec").state_dict())


def test_the_curriculum_is_recorded_and_a_stopped_run_goes_on_with_it(tmp_path):
    text = RECIPE.replace('cells: ["complementary/*"]}\n    updates: 5', 'cells: ["*"]}\n    updates: 5')
    text = text.replace("    group_size: 4", "    group_size: 4\n    curriculum: {type: sec, tau: 0.1, gate: {}}")
    recipe = write_recipe(tmp_path / "recipe", text)
    run(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "stopped", progress=Recorder(stop=("rl", 4)))
    run(recipe, tmp_path / "stopped")
    assert_same_results(tmp_path / "whole", tmp_path / "stopped")
    one, other = (read_table(RunFolder(tmp_path / name), "curriculum") for name in ("whole", "stopped"))
    assert one.equals(other)
    assert one.groupby("update")["drawn"].sum().tolist() == [3] * 5
    assert one.groupby("update")["probability"].sum().tolist() == pytest.approx([1.0] * 5)
    # an untrained policy masters nothing, so that composites stay locked
    assert set(one.loc[one["drawn"] > 0, "arm"]) <= set(ATOMIC)
