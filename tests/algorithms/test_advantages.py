import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlreason.algorithms.advantages import (
    batch_advantages,
    group_relative_advantages,
    leave_one_out_advantages,
    maximum_likelihood_advantages,
    pass_at_k_advantages,
    rewards_differ,
)

NO = np.nan


def advantages(rewards: list[list[float]], scored: list[list[bool]] | None = None, **options: object) -> np.ndarray:
    values = np.array(rewards)
    return group_relative_advantages(
        values, np.ones(values.shape, bool) if scored is None else np.array(scored), **options
    )


def test_values_worked_by_hand():
    # mean 1/4; population deviation sqrt(1/4 * 3/4) = 0.4330; (3/4) / 0.4330 = sqrt(3), (-1/4) / 0.4330 = -1/sqrt(3)
    result = advantages([[1.0, 0.0, 0.0, 0.0], [2.0, 4.0, 4.0, 6.0]], epsilon=0.0)
    assert result[0] == pytest.approx([3**0.5, -(3**-0.5), -(3**-0.5), -(3**-0.5)])
    # mean 4, variance (4 + 0 + 0 + 4) / 4 = 2
    assert result[1] == pytest.approx([-(2**0.5), 0.0, 0.0, 2**0.5])


def test_epsilon_is_added_to_the_deviation():
    # mean 1/2, deviation 1/2: (1/2) / (1/2 + 1/2)
    assert advantages([[1.0, 0.0]], epsilon=0.5).tolist() == [[0.5, -0.5]]


def test_scale_none_only_subtracts_the_mean():
    assert advantages([[1.0, 0.0, 0.0, 0.0]], scale="none").tolist() == [[0.75, -0.25, -0.25, -0.25]]


def test_an_unscored_rollout_has_no_say_in_the_baseline_and_learns_nothing():
    # the other two: mean 2, deviation 1
    result = advantages([[np.nan, 1.0, 3.0], [99.0, 1.0, 3.0]], [[False, True, True]] * 2, epsilon=0.0)
    assert result.tolist() == [[0.0, -1.0, 1.0]] * 2


@pytest.mark.parametrize("scale", ["std", "none"])
def test_groups_without_a_difference_learn_nothing(scale):
    rewards = [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.5, 7.0, np.nan], [np.nan, np.nan, np.nan]]
    scored = [[True] * 3, [True] * 3, [True, False, False], [False] * 3]
    assert advantages(rewards, scored, scale=scale).tolist() == [[0.0] * 3] * 4
    assert advantages([[0.7]], scale=scale).tolist() == [[0.0]]


@given(st.floats(-1e6, 1e6), st.integers(1, 17), st.sampled_from(["std", "none"]))
def test_equal_rewards_leave_no_rounding_residue(reward, group, scale):
    # the mean of three times 0.1 is 0.10000000000000002: the residue over the deviation of the residues is about 1
    assert not advantages([[reward] * group], scale=scale).any()


rewards_and_scored = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float64, shape, elements=st.floats(-100, 100).map(lambda value: round(value, 3))),
        hnp.arrays(bool, shape),
    )
)


@given(rewards_and_scored)
def test_each_group_sums_to_zero_and_keeps_the_order_of_its_rewards(drawn):
    rewards, scored = drawn
    result = group_relative_advantages(rewards, scored)
    assert np.abs(result.sum(axis=1)).max() < 1e-8
    assert not result[~scored].any()
    for row, valid, values in zip(result, scored, rewards, strict=True):
        order = np.argsort(values[valid], kind="stable")
        assert (np.diff(row[valid][order]) >= -1e-9).all()


@given(rewards_and_scored)
def test_it_is_the_paper_s_formula_group_by_group(drawn):
    rewards, scored = drawn
    expected = np.zeros(rewards.shape)
    for group in range(len(rewards)):
        values = rewards[group][scored[group]]
        if len(set(values.tolist())) > 1:
            expected[group][scored[group]] = (values - np.mean(values)) / (np.std(values) + 1e-6)
    assert group_relative_advantages(rewards, scored) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_leave_one_out_worked_by_hand():
    # others of the first: (0 + 0 + 1) / 3; of the second and third: (1 + 0 + 1) / 3; unscored ones are no others
    rewards = np.array([[1.0, 0.0, 0.0, 1.0], [5.0, NO, 2.0, NO]])
    result = leave_one_out_advantages(rewards, ~np.isnan(rewards))
    assert result == pytest.approx(np.array([[2 / 3, -2 / 3, -2 / 3, 2 / 3], [3.0, 0.0, -3.0, 0.0]]))


@given(rewards_and_scored)
def test_leave_one_out_is_the_paper_s_formula_rollout_by_rollout(drawn):
    rewards, scored = drawn
    expected = np.zeros(rewards.shape)
    for group, rollout in zip(*np.nonzero(scored), strict=True):
        others = [r for i, r in enumerate(rewards[group]) if scored[group, i] and i != rollout]
        expected[group, rollout] = rewards[group, rollout] - np.mean(others) if others else 0.0
    assert leave_one_out_advantages(rewards, scored) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_batch_advantages_worked_by_hand():
    rewards = np.array([[1.0, 0.0], [4.0, NO], [NO, 3.0]])
    scored = ~np.isnan(rewards)
    # mean (1 + 0 + 4 + 3) / 4 = 2, variance (1 + 4 + 4 + 1) / 4
    expected = np.array([[-1.0, -2.0], [2.0, 0.0], [0.0, 1.0]]) / 2.5**0.5
    assert batch_advantages(rewards, scored, "batch") == pytest.approx(expected)
    # against the groups' own means: 1/2, -1/2, 0, 0; variance (1/4 + 1/4) / 4 = 1/8
    expected = np.array([[1.0, -1.0], [0.0, 0.0], [0.0, 0.0]]) * 2**0.5
    assert batch_advantages(rewards, scored, "group") == pytest.approx(expected)


def test_a_group_of_equals_learns_from_the_batch_but_not_from_itself():
    rewards, scored = np.array([[1.0, 1.0], [0.0, 0.0]]), np.ones((2, 2), bool)
    assert batch_advantages(rewards, scored, "batch").tolist() == [[1.0, 1.0], [-1.0, -1.0]]
    assert batch_advantages(rewards, scored, "group").tolist() == [[0.0, 0.0], [0.0, 0.0]]


@given(rewards_and_scored, st.sampled_from(["batch", "group"]))
def test_batch_advantages_have_deviation_one_or_are_all_zero(drawn, baseline):
    rewards, scored = drawn
    kept = batch_advantages(rewards, scored, baseline)[scored]
    assert not kept.any() or (kept.std() == pytest.approx(1.0) and abs(kept.mean()) < 1e-9)


def test_maximum_likelihood_worked_by_hand():
    # one right of four, mean 1/4: (3/4) / (1/4) = 3, (-1/4) / (1/4) = -1; no right one: nothing to be likelier
    rewards = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [NO, 0.5, 1.0, NO]])
    result = maximum_likelihood_advantages(rewards, ~np.isnan(rewards))
    assert result == pytest.approx(np.array([[3.0, -1.0, -1.0, -1.0], [0.0] * 4, [0.0] * 4, [0.0, -1 / 3, 1 / 3, 0.0]]))


@pytest.mark.parametrize("group", [2, 3, 5])
@pytest.mark.parametrize("chance", [0.1, 0.7])
def test_maximum_likelihood_is_on_average_the_gradient_of_the_first_terms_of_the_log_likelihood(group, chance):
    # a policy of one coin, right with probability p: every outcome of a group, weighted by its probability
    outcomes = np.array(list(itertools.product([0.0, 1.0], repeat=group)))
    probability = (np.where(outcomes == 1, chance, 1 - chance)).prod(axis=1)
    slope_of_log = np.where(outcomes == 1, 1 / chance, -1 / (1 - chance))  # d log P(outcome) / dp
    advantages = maximum_likelihood_advantages(outcomes, np.ones(outcomes.shape, bool))
    found = (probability * (advantages * slope_of_log).mean(axis=1)).sum()
    # log p = - sum over k of (1 - p)^k / k, of which the slope is sum over k of (1 - p)^(k - 1)
    assert found == pytest.approx(sum((1 - chance) ** (k - 1) for k in range(1, group)))


def test_negative_rewards_have_no_likelihood():
    rewards = np.array([[1.0, -0.5], [NO, -7.0]])
    with pytest.raises(ValueError, match=r"reward -0\.5 is negative"):
        maximum_likelihood_advantages(rewards, np.array([[True, True], [False, False]]))


def test_pass_at_k_worked_by_hand():
    # one right of four, teams of two: 3 of the 6 have it, so mean 1/2, deviation 1/2. Every team of the right one is
    # rewarded: (1 - 1/2) / (1/2) = 1. Of a wrong one's three teams one is: (1/3 - 1/2) / (1/2) = -1/3
    rewards = np.array([[1.0, 0.0, 0.0, 0.0]])
    result = pass_at_k_advantages(rewards, np.ones((1, 4), bool), 2)
    assert result == pytest.approx(np.array([[1.0, -1 / 3, -1 / 3, -1 / 3]]))


def test_three_right_of_four_leave_no_team_of_two_without_one():
    # exploitation has nothing to gain here, while GRPO would still push
    assert not pass_at_k_advantages(np.array([[1.0, 1.0, 1.0, 0.0]]), np.ones((1, 4), bool), 2).any()


def by_all_teams(rewards: np.ndarray, k: int) -> np.ndarray:
    """Pass@k training's advantages by its definition, for the rewards of one group."""
    teams = list(itertools.combinations(range(len(rewards)), k))
    paid = np.array([rewards[list(team)].max() for team in teams])
    if not teams or paid.std() == 0:
        return np.zeros(len(rewards))
    normalised = (paid - paid.mean()) / paid.std()
    return np.array(
        [
            np.mean([pay for team, pay in zip(teams, normalised, strict=True) if rollout in team])
            for rollout in range(len(rewards))
        ]
    )


@given(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=7).flatmap(
        lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
    ),
    st.integers(1, 4),
)
def test_pass_at_k_is_the_mean_over_all_teams(drawn, k):
    right, scored = drawn
    rewards = np.where(scored, right.astype(float), NO)
    expected = np.zeros(rewards.shape)
    for group in range(len(rewards)):
        expected[group, scored[group]] = by_all_teams(rewards[group, scored[group]], k)
    assert pass_at_k_advantages(rewards, scored, k) == pytest.approx(expected, abs=1e-9)


def test_pass_at_one_is_group_relative():
    rewards, scored = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, NO]]), np.array([[True] * 3, [True, True, False]])
    expected = group_relative_advantages(rewards, scored, epsilon=0.0)
    assert pass_at_k_advantages(rewards, scored, 1) == pytest.approx(expected)


def test_a_reward_between_right_and_wrong_is_not_rounded():
    with pytest.raises(ValueError, match=r"reward 0\.9 is neither 0"):
        pass_at_k_advantages(np.array([[1.0, 0.9]]), np.ones((1, 2), bool), 2)
    with pytest.raises(ValueError, match="k 0 must be at least 1"):
        pass_at_k_advantages(np.array([[1.0, 0.0]]), np.ones((1, 2), bool), 0)


METHODS = {
    "group_relative": lambda rewards, scored: group_relative_advantages(rewards, scored, epsilon=0.0),
    "leave_one_out": leave_one_out_advantages,
    "batch": lambda rewards, scored: batch_advantages(rewards, scored, "batch"),
    "batch, group baseline": lambda rewards, scored: batch_advantages(rewards, scored, "group"),
    "maximum_likelihood": maximum_likelihood_advantages,
    "pass_at_k": lambda rewards, scored: pass_at_k_advantages(rewards, scored, 2),
}

right_and_scored = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape).map(lambda right: right.astype(float)), hnp.arrays(bool, shape))
)


@pytest.mark.parametrize("method", METHODS)
@given(right_and_scored, st.randoms(use_true_random=False))
def test_neither_order_nor_what_an_unscored_rollout_holds_changes_anything(method, drawn, random):
    rewards, scored = drawn
    expected = METHODS[method](rewards, scored)
    assert not expected[~scored].any()
    assert METHODS[method](np.where(scored, rewards, NO), scored) == pytest.approx(expected, abs=1e-12)
    rows, columns = list(range(len(rewards))), list(range(rewards.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    shuffled = METHODS[method](rewards[rows][:, columns], scored[rows][:, columns])
    assert shuffled == pytest.approx(expected[rows][:, columns], abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_equal_groups_and_lone_rollouts_learn_nothing_unless_the_batch_is_the_baseline(method):
    rewards = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [NO, 1.0, NO], [NO, NO, NO]])
    result = METHODS[method](rewards, ~np.isnan(rewards))
    assert result[:3].any() == (method == "batch")
    assert not result[3].any()


@pytest.mark.parametrize("method", ["group_relative", "leave_one_out", "batch", "batch, group baseline"])
@given(rewards_and_scored, st.integers(-5, 5))
def test_a_constant_added_to_all_rewards_changes_nothing(method, drawn, shift):
    rewards, scored = drawn
    expected = METHODS[method](rewards, scored)
    assert METHODS[method](rewards + shift, scored) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("method", "power"),
    [
        ("group_relative", 0),
        ("leave_one_out", 1),
        ("batch", 0),
        ("batch, group baseline", 0),
        ("maximum_likelihood", 0),
    ],
)
@given(rewards_and_scored, st.sampled_from([0.25, 2.0, 8.0]))
def test_what_a_factor_on_all_rewards_does(method, power, drawn, factor):
    rewards, scored = np.abs(drawn[0]), drawn[1]
    expected = METHODS[method](rewards, scored) * factor**power
    assert METHODS[method](rewards * factor, scored) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_groups_whose_scored_rewards_are_all_equal_have_nothing_to_teach():
    rewards = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, np.nan], [0.0, np.nan, np.nan], [np.nan] * 3])
    assert rewards_differ(rewards, ~np.isnan(rewards)).tolist() == [True, False, False, False]
