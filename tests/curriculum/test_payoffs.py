"""What problems pay, worked by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.advantages import group_relative_advantages
from rlreason.curriculum.payoffs import (
    RunningMeans,
    mean_absolute_advantage,
    nearness_to_half,
    reward_slope,
    reward_variance,
    step_progress,
    success_rate,
)
from rlreason.errors import CheckpointError, RecipeError

NONE = np.nan
SCORED = np.array([[True, True, False], [False, False, False]])


def test_the_mean_absolute_advantage_leaves_unscored_rollouts_out():
    # (0.5 + 1.5) / 2; nothing was scored in the second
    found = mean_absolute_advantage(np.array([[0.5, -1.5, 9.0], [1.0, 1.0, 1.0]]), SCORED)
    assert found == pytest.approx([1.0, NONE], nan_ok=True)


@given(right=st.integers(0, 8))
def test_with_verdicts_the_advantage_pays_most_where_half_are_right(right):
    rewards = (np.arange(8) < right).astype(float)[None]
    scored = np.ones((1, 8), dtype=bool)
    p = right / 8
    advantages = group_relative_advantages(rewards, scored, epsilon=1e-12)
    assert mean_absolute_advantage(advantages, scored) == pytest.approx([2 * math.sqrt(p * (1 - p))])
    assert nearness_to_half(rewards) == pytest.approx([min(2 * p, 2 - 2 * p)])
    assert reward_variance(rewards, scored) == pytest.approx([right * (8 - right) / (8 * 7)])


def test_rates_are_of_what_was_judged():
    correct = np.array([[1.0, 0.0, NONE, 1.0], [NONE, NONE, NONE, NONE], [1.0, 1.0, 1.0, 1.0]])
    assert success_rate(correct) == pytest.approx([2 / 3, NONE, 1.0], nan_ok=True)
    assert nearness_to_half(correct) == pytest.approx([2 / 3, NONE, 0.0], nan_ok=True)


def test_the_variance_needs_two_scored_rollouts():
    rewards = np.array([[0.2, 0.8, 5.0], [1.0, NONE, NONE]])
    scored = np.array([[True, True, False], [True, False, False]])
    # mean 0.5: (0.09 + 0.09) / 1
    assert reward_variance(rewards, scored) == pytest.approx([0.18, NONE], nan_ok=True)


def test_the_slope_is_how_far_the_arms_mean_reward_moved_either_way():
    rewards, scored = np.array([[1.0, 0.0], [0.0, NONE]]), np.array([[True, True], [True, False]])
    # mean of 1, 0 and 0 is 1/3
    assert reward_slope(rewards, scored, 0.5) == pytest.approx([1 / 6, 1 / 6])
    assert reward_slope(rewards, scored, 0.2) == pytest.approx([1 / 3 - 0.2] * 2)
    assert reward_slope(rewards, scored, math.nan).tolist() == [0.0, 0.0]
    assert np.isnan(reward_slope(rewards, np.zeros((2, 2), dtype=bool), 0.5)).all()


def test_progress_is_the_share_of_derivations_that_went_wrong_later_than_usual():
    right_steps = np.array([[0.0, 2.0, 3.0, 3.0], [1.0, NONE, NONE, 2.0], [NONE] * 4])
    assert step_progress(right_steps, 1.5) == pytest.approx([0.75, 0.5, NONE], nan_ok=True)
    assert step_progress(right_steps, math.nan) == pytest.approx([0.0, 0.0, NONE], nan_ok=True)
    assert step_progress(np.full((1, 4), 3.0), 3.0).tolist() == [0.0]


def test_running_means_go_on_after_a_resume():
    means = RunningMeans(("one", "two"), alpha=0.25)
    assert math.isnan(means.before("one"))
    means.absorb("one", np.array([[1.0, NONE], [0.0, NONE]]))
    means.absorb("one", np.array([0.9]))
    means.absorb("one", np.array([NONE]))
    resumed = RunningMeans(("two", "one"), alpha=0.25)
    resumed.load_state_dict(json.loads(json.dumps(means.state_dict())))
    assert resumed.before("one") == pytest.approx(0.5 + 0.25 * 0.4)
    assert math.isnan(resumed.before("two"))


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ({"one": 0.5}, r"lacks \['two'\]"),
        ({"one": 0.5, "two": math.nan}, "'two' hold"),
        ({"one": 1, "two": "x"}, "two"),
    ],
)
def test_running_means_of_other_arms_are_refused(means, words):
    asked = RunningMeans(("one", "two"))
    with pytest.raises(CheckpointError, match=words):
        asked.load_state_dict({"means": means})
    assert asked.state_dict() == RunningMeans(("one", "two")).state_dict()


def test_a_step_size_out_of_range_is_refused():
    with pytest.raises(RecipeError, match="alpha 0 is not in"):
        RunningMeans(("one",), alpha=0)
