"""What an update's groups show of their bandit arms, worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from rlreason.curriculum.outcomes import Payer, arm_of
from rlreason.types import Completion, Group, Problem, Rollout, Score, Step

ARMS = ("t:train:one/1", "t:train:two/1")
DONE = Completion(np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1, np.float32), "", "stop", 0, 0)


def group(cell: str, *scores: Score) -> Group:
    problem = Problem(f"train/{cell}/0", "t", cell, "train", "?", "!", "!")
    return Group(problem, tuple(Rollout(problem, index, DONE, score) for index, score in enumerate(scores)))


def judged(correct: bool, right_steps: int = 0, steps: int = 2) -> Score:
    made = tuple(Step(index, index + 1, "right" if index < right_steps else "wrong") for index in range(steps))
    whole = right_steps == steps
    return Score(
        float(correct), correct, steps=made, derivation_correct=whole, first_error=None if whole else right_steps
    )


FAILED = Score(None, failure="PluginRaised: no")
GROUPS = (
    group("one/1", judged(True, 2), judged(False, 1)),
    group("two/1", judged(False), FAILED),
    group("one/1", judged(True, 2), judged(True, 2)),
)
REWARDS = np.array([[1.0, 0.0], [0.0, np.nan], [1.0, 1.0]])
ADVANTAGES = np.array([[1.0, -1.0], [0.0, 0.0], [0.0, 0.0]])
SCORED = ~np.isnan(REWARDS)


def payoffs(payoff: str, payer: Payer | None = None) -> dict[str, list[float]]:
    payer = payer or Payer(payoff, ARMS)
    found = payer.outcomes(GROUPS, REWARDS, ADVANTAGES, SCORED)
    return {arm: [round(value, 6) for value in outcome.payoffs] for arm, outcome in found.items()}


def test_problems_are_told_apart_by_task_level_and_cell():
    assert [arm_of(each.problem) for each in GROUPS] == [ARMS[0], ARMS[1], ARMS[0]]


def test_successes_are_shares_of_the_judged_rollouts():
    found = Payer("advantage", ARMS).outcomes(GROUPS, REWARDS, ADVANTAGES, SCORED)
    # of two/1 one rollout failed to be scored, and no check judged it either
    assert {arm: outcome.successes for arm, outcome in found.items()} == {ARMS[0]: [0.5, 1.0], ARMS[1]: [0.0]}


@pytest.mark.parametrize(
    ("payoff", "expected"),
    [
        ("advantage", {ARMS[0]: [1.0, 0.0], ARMS[1]: [0.0]}),
        ("half_success", {ARMS[0]: [1.0, 0.0], ARMS[1]: [0.0]}),
        ("variance", {ARMS[0]: [0.5, 0.0]}),  # 1 (2 - 1) / (2 * 1); one scored rollout has no variance
        ("slope", {ARMS[0]: [0.0, 0.0], ARMS[1]: [0.0]}),  # no past yet
        ("step_progress", {ARMS[0]: [0.0, 0.0], ARMS[1]: [0.0]}),
    ],
)
def test_each_payoff_is_what_its_formula_says(payoff, expected):
    found = payoffs(payoff)
    if payoff == "variance":
        assert math.isnan(found.pop(ARMS[1])[0])
    assert found == expected


def test_slope_and_step_progress_compare_with_the_arms_past_which_is_saved():
    for payoff, expected in (("slope", [0.75, 0.75]), ("step_progress", [1.0, 1.0])):
        payer = Payer(payoff, ARMS)
        nothing = [group("one/1", judged(False), judged(False))]
        payer.outcomes(nothing, np.zeros((1, 2)), np.zeros((1, 2)), np.ones((1, 2), bool))
        resumed = Payer(payoff, ARMS)
        resumed.load_state_dict(json.loads(json.dumps(payer.state_dict())))
        # mean reward 0, then 3/4; no right step, then at least one in each derivation
        assert payoffs(payoff, payer)[ARMS[0]] == payoffs(payoff, resumed)[ARMS[0]] == expected
