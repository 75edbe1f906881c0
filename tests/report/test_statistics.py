import numpy as np
import pytest
from scipy.stats import binomtest

from rlreason.report.statistics import Estimate, bootstrap_over_problems, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (77, 256)])
def test_wilson_agrees_with_scipy(right, n):
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    estimate = wilson(np.array([1.0] * right + [0.0] * (n - right)))
    assert estimate.value == pytest.approx(right / n)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_worked_by_hand():
    # n=256 at 30%: z=1.96, centre (77/256 + z²/512)/(1 + z²/256) = .30372, half width .05572
    estimate = wilson(np.array([1.0] * 77 + [0.0] * 179))
    assert (round(estimate.low, 3), round(estimate.high, 3)) == (0.248, 0.360)


def test_means_over_seeds_keep_the_number_of_problems():
    # two seeds that disagree on every one of 10 problems: 10 halves are no surer than 5 of 10
    assert wilson(np.full(10, 0.5)) == wilson(np.array([1.0] * 5 + [0.0] * 5))


def test_the_bootstrap_finds_the_standard_error_of_a_mean():
    values = np.random.default_rng(1).random((400, 1))
    [estimate] = bootstrap_over_problems(values, seed=0)
    half_width = 1.96 * values.std() / np.sqrt(400)
    assert estimate.value == pytest.approx(values.mean())
    assert (estimate.high - estimate.low) / 2 == pytest.approx(half_width, rel=0.1)


def test_the_bootstrap_repeats_itself_and_has_no_width_where_all_agree():
    values = np.column_stack([np.linspace(0, 1, 20), np.ones(20)])
    assert bootstrap_over_problems(values, seed=3) == bootstrap_over_problems(values, seed=3)
    assert bootstrap_over_problems(values, seed=3)[1] == Estimate(1.0, 1.0, 1.0)


def test_touching_intervals_are_not_above_one_another():
    low, high = Estimate(0.2, 0.1, 0.3), Estimate(0.4, 0.3, 0.5)
    assert not high.is_above(low)
    assert Estimate(0.4, 0.31, 0.5).is_above(low)
