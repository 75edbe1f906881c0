from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, t
from statsmodels.stats.anova import anova_lm

from rlreason.report.statistics import Estimate, bootstrap_over_problems, corrected, paired_difference, wilson
from rlreason.report.statistics_crossed import crossed_mean


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


def test_several_answers_of_a_problem_count_as_what_they_show():
    # shares of 0.5 and 1 by turns: a mean of 0.75 whose spread 20 problems of 0 or 1 would show as 60 do
    shares = np.array([0.5, 1.0] * 10)
    expected = binomtest(45, 60).proportion_ci(0.95, method="wilson")
    estimate = wilson(shares, answers=3)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert wilson(shares, answers=2) == wilson(np.array([1.0] * 30 + [0.0] * 10))


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


def test_one_seed_is_worked_by_hand():
    # of 20 problems the first arm alone solves 8, the second alone 1, both 6, neither 5
    a = np.array([[1.0] * 8 + [0.0] * 1 + [1.0] * 6 + [0.0] * 5])
    b = np.array([[0.0] * 8 + [1.0] * 1 + [1.0] * 6 + [0.0] * 5])
    found = paired_difference(a, b)
    # McNemar: of 9 fair coins at most 1 on one side, twice: 2 (1 + 9) / 2^9
    assert (found.test, found.p, found.p_corrected) == ("McNemar, exact", 20 / 512, 20 / 512)
    assert (found.difference.value, found.discordant) == (pytest.approx(0.35), 9 / 20)
    # with a problem each way that count w, as 9 - 7²/20 vary: 20 + 2 w differences, sum 7, sum of squares 9 + 2 w
    w = 4 / (4 + 9 - 7**2 / 20)
    n, total, squares = 20 + 2 * w, 7, 9 + 2 * w
    error = ((squares - total**2 / n) / (n - 1) / n) ** 0.5
    assert found.difference.low == pytest.approx(total / n - t.ppf(0.975, n - 1) * error)
    assert found.difference.high == pytest.approx(total / n + t.ppf(0.975, n - 1) * error)
    assert found.detectable == pytest.approx((t.ppf(0.975, n - 1) + t.ppf(0.8, n - 1)) * error)


def test_arms_that_agree_everywhere_still_have_an_interval():
    # the two problems added are all that differs: 0 of 130, squares that sum to 2
    found = paired_difference(np.ones((1, 128)), np.ones((1, 128)))
    assert found.difference.high == pytest.approx(t.ppf(0.975, 129) * (2 / 129 / 130) ** 0.5)
    assert (found.difference.value, found.p, found.discordant) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("between_seeds", [0.0, 0.3])
def test_several_seeds_agree_with_the_mean_squares_of_statsmodels(between_seeds):
    rng = np.random.default_rng(4)
    a, b = (rng.random((3, 12)) < shares for shares in (np.repeat([0, 1], 6), 0.3))
    d = a.astype(float) - b + np.array([[-between_seeds], [0.0], [between_seeds]])
    seed, problem = np.indices(d.shape)
    long = pd.DataFrame({"d": d.ravel(), "seed": seed.ravel(), "problem": problem.ravel()})
    squares = anova_lm(smf.ols("d ~ C(seed) + C(problem)", long).fit())
    over_seeds, over_problems, noise = squares["mean_sq"] / d.size
    assert over_problems > noise
    assert (over_seeds > noise) == (between_seeds > 0)
    variance = max(over_seeds, noise) + over_problems - noise
    # Satterthwaite, with 2 degrees of freedom of the seeds and 11 of the problems
    half = t.ppf(0.975, variance**2 / (over_seeds**2 / 2 + over_problems**2 / 11)) * np.sqrt(variance)
    found = crossed_mean(d, span=0).interval()
    assert (found.low, found.high) == pytest.approx((d.mean() - half, d.mean() + half))
    assert paired_difference(a.astype(float), b.astype(float)).test == "t"


SHARES = st.sampled_from([0.0, 0.25, 1.0])


@given(st.integers(1, 4), st.integers(1, 12), st.data())
def test_the_interval_leaves_out_zero_exactly_where_p_is_below_five_per_cent(seeds, problems, draw):
    a, b = (draw.draw(arrays(float, (seeds, problems), elements=SHARES)) for _ in range(2))
    found, mirrored = paired_difference(a, b), paired_difference(b, a)
    mean, low, high = (getattr(found.difference, name) for name in ("value", "low", "high"))
    assert low <= mean <= high
    assert (mirrored.difference.low, mirrored.difference.high) == pytest.approx((-high, -low))
    assert mirrored.p == pytest.approx(found.p)
    if found.test == "t":
        assert (low > 0 or high < 0) == (found.p < 0.05)


def answers(rng, seeds, problems, difference, between_seeds, between_problems=0.2):
    """[2, 2000, S, P] of 0 or 1: two arms whose difference varies evenly by seed and by problem, up to so much."""
    cases = 2000
    base = 0.4 + rng.uniform(-0.2, 0.2, (cases, 1, problems))
    of_problem = rng.uniform(-between_problems, between_problems, (cases, 1, problems))
    of_seed = rng.uniform(-between_seeds, between_seeds, (cases, seeds, 1))
    coin = rng.random((cases, seeds, problems))
    other = np.where(rng.random(coin.shape) < 0.5, coin, rng.random(coin.shape))  # the arms often agree
    return np.stack([other < base + difference + of_problem + of_seed, coin < base]).astype(float)


@pytest.mark.parametrize(
    ("seeds", "problems", "between_seeds"),
    [(1, 128, 0.0), (3, 128, 0.0), (3, 128, 0.05), (3, 128, 0.15), (3, 384, 0.1), (5, 64, 0.1)],
)
def test_intervals_cover_other_problems_and_other_seeds(seeds, problems, between_seeds):
    # 2000 cases: the standard error of a coverage of 95% is half a point. Up to 98% where single answers vary most,
    # which three seeds cannot tell from seeds that differ
    a, b = answers(np.random.default_rng(5), seeds, problems, 0.1, between_seeds)
    found = [paired_difference(*pair).difference for pair in zip(a, b, strict=True)]
    assert 0.92 <= np.mean([each.low <= 0.1 <= each.high for each in found]) <= 0.985


def test_arms_that_do_not_differ_but_by_their_seeds_are_seldom_told_apart():
    a, b = answers(np.random.default_rng(6), 3, 128, 0.0, 0.1)
    assert 0.02 <= np.mean([paired_difference(*pair).p < 0.05 for pair in zip(a, b, strict=True)]) <= 0.08


@pytest.mark.parametrize(("seeds", "between_seeds"), [(1, 0.0), (5, 0.05)])
def test_a_difference_of_the_detectable_size_is_found_in_four_cases_of_five(seeds, between_seeds):
    rng = np.random.default_rng(7)
    pairs = zip(*answers(rng, seeds, 256, 0.1, between_seeds), strict=True)
    size = float(np.median([paired_difference(*pair).detectable for pair in pairs]))
    pairs = zip(*answers(rng, seeds, 256, size, between_seeds), strict=True)
    assert 0.7 <= np.mean([paired_difference(*pair).p < 0.05 for pair in pairs]) <= 0.9


def test_p_values_are_corrected_for_their_number():
    found = paired_difference(np.ones((1, 4)), np.zeros((1, 4)))
    family = corrected([replace(found, p=p) for p in (0.01, 0.04, 0.03)])
    # Holm: 3 x .01, then 2 x .03, and no smaller after it
    assert [each.p_corrected for each in family] == pytest.approx([0.03, 0.06, 0.06])
    assert [each.is_clear for each in family] == [True, False, False]
    assert corrected([]) == []


@pytest.mark.parametrize(("a", "b"), [((1, 3), (1, 4)), ((3,), (3,)), ((2, 0), (2, 0))])
def test_what_cannot_be_paired_is_an_error(a, b):
    with pytest.raises(ValueError, match=r"cannot be paired; give \[seeds, problems\]"):
        paired_difference(np.zeros(a), np.zeros(b))
