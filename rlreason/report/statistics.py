"""How sure a figure is: proportions with Wilson intervals, pass@k with a bootstrap over problems.

Problems are the independent units. Where an arm was run under several seeds, a problem counts once, with its mean over
seeds: intervals then cover the choice of problems, never the spread between seeds, which is shown seed by seed.
Comparisons between arms that deserve the name of a test (paired, corrected) are not here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share in [0, 1] with its 95% interval."""

    value: float
    low: float
    high: float

    def is_above(self, other: Estimate) -> bool:
        """Whether this interval lies wholly above the other's."""
        return self.low > other.high


def wilson(per_problem: np.ndarray) -> Estimate:
    """Mean of per-problem shares with the Wilson score interval for that many problems.

    Args:
        per_problem: [P] float in [0, 1], P at least 1: 0 or 1, or a mean of those over seeds.
    Returns:
        The mean and its 95% interval. For means over seeds the interval is on the wide side of what problems alone
        explain, because their spread is at most that of 0 or 1.
    """
    n = len(per_problem)
    right = float(per_problem.sum())
    low, high = proportion_confint(right, n, alpha=0.05, method="wilson")
    # with none or all right the bound is exact, but rounding may put it a hair on the wrong side of the value
    value = right / n
    return Estimate(value, min(float(low), value), max(float(high), value))


def bootstrap_over_problems(per_problem: np.ndarray, seed: int, resamples: int = RESAMPLES) -> list[Estimate]:
    """Means of several figures over the same problems, each with a percentile bootstrap interval.

    Args:
        per_problem: [P, K] float, K figures of each of P problems (pass@k for K values of k).
        seed: of the resampling, so that a report rebuilt is the same report.
        resamples: draws of P problems with replacement; all K figures share them.
    Returns:
        K means with 95% intervals. The interval has no width where every problem agrees.
    """
    problems = len(per_problem)
    draws = np.random.default_rng(seed).multinomial(problems, np.full(problems, 1 / problems), size=resamples)
    low, high = np.quantile(draws @ per_problem / problems, [0.025, 0.975], axis=0)
    means = per_problem.mean(axis=0)
    return [
        Estimate(float(mean), min(float(lower), float(mean)), max(float(upper), float(mean)))
        for mean, lower, upper in zip(means, low, high, strict=True)
    ]
