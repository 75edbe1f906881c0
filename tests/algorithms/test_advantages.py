import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlreason.algorithms.advantages import group_relative_advantages


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


def test_it_differs_from_trl_only_by_the_sample_deviation():
    # TRL divides by the deviation with Bessel's correction, sqrt(n / (n - 1)) larger, over the rollouts that have one
    from trl.trainer.utils import nanstd

    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.5], [0.2, 0.9, float("nan"), 0.4]], dtype=torch.float64)
    trl = (rewards - rewards.nanmean(dim=1, keepdim=True)) / nanstd(rewards, dim=1, keepdim=True)
    count = (~rewards.isnan()).sum(dim=1, keepdim=True).double()
    expected = (trl * (count / (count - 1)).sqrt()).nan_to_num(0.0)
    ours = group_relative_advantages(rewards.numpy(), ~rewards.isnan().numpy(), epsilon=0.0)
    assert ours == pytest.approx(expected.numpy(), rel=1e-6)  # TRL corrects in float32
