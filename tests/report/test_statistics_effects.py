import numpy as np
import pytest
from scipy.stats import t
from statsmodels.stats.contingency_tables import Table2x2
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_effectsize

from rlreason.report.statistics_crossed import crossed_mean, crossed_ratio, crossed_share
from rlreason.report.statistics_effects import effect_sizes, mixed_model


def zeros_and_ones(*counts: tuple[int, int]) -> np.ndarray:
    """[1, P]: so many of the second value, in turn."""
    return np.repeat([value for _, value in counts], [count for count, _ in counts])[None, :].astype(float)


def test_effect_sizes_are_those_of_statsmodels():
    # of 30 problems the first solves 20, the second 9
    sizes = effect_sizes(zeros_and_ones((20, 1), (10, 0)), zeros_and_ones((9, 1), (21, 0)))
    odds = Table2x2([[20.5, 10.5], [9.5, 21.5]]).oddsratio  # half a problem added each way
    assert sizes.odds_ratio.value == pytest.approx(odds)
    assert sizes.cohens_h.value == pytest.approx(proportion_effectsize(20.5 / 31, 9.5 / 31))
    assert sizes.risk_difference.value == pytest.approx(11 / 30)
    assert sizes.odds_ratio.low < sizes.odds_ratio.value < sizes.odds_ratio.high


def test_the_interval_of_the_odds_of_unpaired_problems_is_near_that_of_statsmodels():
    # independent arms: pairing changes nothing, and the delta method is Woolf's
    rng = np.random.default_rng(0)
    a, b = ((rng.random((1, 4000)) < share).astype(float) for share in (0.6, 0.4))
    table = Table2x2([[a.sum(), 4000 - a.sum()], [b.sum(), 4000 - b.sum()]])
    found = effect_sizes(a, b).odds_ratio
    assert (found.low, found.high) == pytest.approx(table.oddsratio_confint(0.05), rel=0.02)


def test_all_against_nothing_still_has_odds():
    sizes = effect_sizes(np.ones((1, 10)), np.zeros((1, 10)))
    assert sizes.odds_ratio.value == pytest.approx((10.5 / 0.5) ** 2)
    assert np.isfinite([sizes.odds_ratio.high, sizes.cohens_h.high]).all()


def test_the_detectable_size_is_the_power_calculation_of_statsmodels():
    values = np.random.default_rng(1).normal(0, 0.3, (1, 200))
    mean = crossed_mean(values, span=0)
    size = TTestPower().solve_power(nobs=200, alpha=0.05, power=0.8) * values.std(ddof=1)
    assert mean.detectable() == pytest.approx(size, rel=0.01)


def test_a_mixed_model_finds_the_spreads_it_was_made_with():
    rng = np.random.default_rng(2)
    values = 0.1 + rng.normal(0, 0.2, (4, 1)) + rng.normal(0, 0.3, (1, 40)) + rng.normal(0, 0.1, (4, 40))
    found = mixed_model(values)
    assert found is not None and found.method == "REML"
    assert found.mean == pytest.approx(values.mean())
    assert (found.between_problems, found.noise) == pytest.approx((0.3, 0.1), rel=0.25)
    # for balanced differences mean squares give the same
    seeds, problems = values.shape
    noise = found.noise**2
    assert found.between_seeds**2 + noise / problems == pytest.approx(values.mean(axis=1).var(ddof=1), rel=1e-3)
    assert found.between_problems**2 + noise / seeds == pytest.approx(values.mean(axis=0).var(ddof=1), rel=1e-3)


def test_the_mixed_model_says_when_it_is_not_fitted_by_likelihood():
    rng = np.random.default_rng(3)
    assert mixed_model(rng.random((1, 50))) is None
    same = mixed_model(np.full((3, 10), 0.5))
    assert same is not None and same.method.startswith("mean squares: a variance comes out as 0")
    many = mixed_model(rng.normal(0, 1, (3, 400)))
    assert many is not None and many.method.startswith("mean squares: 1,200 differences")
    assert (many.noise, many.mean) == pytest.approx((1.0, 0.0), abs=0.1)


def test_a_share_over_one_seed_is_worked_by_hand():
    # 9 of 12 right; the spread, in problems half the span off their mean, is 12 x .1875 / .25 = 9, so that one right
    # and one wrong are added that count w = 4 / 13: 9 + w right of 12 + 2 w
    n = 12 + 8 / 13
    right = 9 + 4 / 13
    found = crossed_share(zeros_and_ones((9, 1), (3, 0)))
    error = np.sqrt(right / n * (1 - right / n) / (n - 1))
    assert found.value == pytest.approx(0.75)
    assert found.low == pytest.approx(right / n - t.ppf(0.975, n - 1) * error)


def test_a_mean_over_chosen_problems_has_the_interval_of_these_alone():
    rng = np.random.default_rng(4)
    chosen = (rng.random((1, 3000)) < 0.3).astype(float)
    values = rng.random((1, 3000))
    found = crossed_ratio(chosen * values, chosen, 0.0, 1.0, 0.05)
    alone = values[chosen == 1]
    assert found.value == pytest.approx(alone.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * alone.std() / np.sqrt(len(alone)), rel=0.03)
