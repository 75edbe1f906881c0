"""How sure a figure is: proportions with Wilson intervals, pass@k with a bootstrap, differences of arms paired.

In the figures of one arm problems are the independent units: where it was run under several seeds, a problem counts
once, with its mean over seeds, and the interval covers the choice of problems, never the spread between seeds. The
paired difference of two arms covers both. Which arms are compared, and the verdict, are not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from rlreason.algorithms.intervals import wilson_interval
from rlreason.report.statistics_crossed import Estimate, crossed_mean

__all__ = ["Estimate", "PairedDifference", "bootstrap_over_problems", "corrected", "paired_difference", "wilson"]

RESAMPLES = 2000


def wilson(per_problem: np.ndarray, answers: int = 1) -> Estimate:
    """See `algorithms.intervals.wilson_interval`: the mean and its 95% interval."""
    return Estimate(*wilson_interval(per_problem, answers))


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


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much more of the same problems one arm solves than another.

    Attributes:
        difference: mean of first minus second, with its 95% interval.
        p: two-sided, against no difference, for this comparison alone.
        p_corrected: the same for the comparisons it was made among; `p` where it was made alone.
        test: what `p` is from: "McNemar, exact", or "t" (the inverse of the interval).
        discordant: share of problems, over all seeds, on which the two differ.
        detectable: the smallest true difference that such an evaluation finds in four cases of five, at 5% and for
            this comparison alone.
    """

    difference: Estimate
    p: float
    p_corrected: float
    test: str
    discordant: float
    detectable: float

    @property
    def is_clear(self) -> bool:
        """Whether the corrected p value is below 5%."""
        return self.p_corrected < 0.05

    def as_json(self) -> dict[str, Any]:
        """The measure's entry in report.json: shares, not percent."""
        return {
            "difference": self.difference.value,
            "ci95": [self.difference.low, self.difference.high],
            "p": self.p,
            "p_corrected": self.p_corrected,
            "test": self.test,
            "discordant": self.discordant,
            "detectable": self.detectable,
        }


def paired_difference(a: np.ndarray, b: np.ndarray, alpha: float = 0.05) -> PairedDifference:
    """Compare two arms on the same problems under the same seeds.

    Problems and seeds are crossed random effects: the interval is that of `statistics_crossed.crossed_mean`. Under one
    seed it covers other problems, never other training runs. One problem that only the first arm solves and one that
    only the second does are added under every seed, so that arms which agree everywhere still have an interval.

    Args:
        a, b: [S, P] float in [0, 1], share right under each seed on each problem; S and P at least 1.
        alpha: one minus the level of the interval, and of `detectable`.
    Returns:
        First minus second. Its p value is McNemar's where there is one seed and every share is 0 or 1.
    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    if a.ndim != 2 or a.shape != b.shape or a.size == 0:
        raise ValueError(
            f"shares of shapes {a.shape} and {b.shape} cannot be paired; give [seeds, problems], the same and not empty"
        )
    mean = crossed_mean(a - b)
    exact = len(a) == 1 and bool(np.isin([a, b], [0.0, 1.0]).all())
    p = _mcnemar(a[0], b[0]) if exact else mean.p()
    return PairedDifference(
        difference=mean.interval(alpha),
        p=p,
        p_corrected=p,
        test="McNemar, exact" if exact else "t",
        discordant=float(np.mean(a != b)),
        detectable=min(1.0, mean.detectable(alpha)),
    )


def corrected(differences: Sequence[PairedDifference]) -> list[PairedDifference]:
    """The same differences with p values corrected for their number.

    Where none of the true differences is other than 0, some corrected p value falls below 0.05 in at most 5 of 100
    cases.

    Source:
        Holm 1979.
    """
    if not differences:
        return []
    p_values = multipletests([each.p for each in differences], method="holm")[1]
    return [replace(each, p_corrected=float(p)) for each, p in zip(differences, p_values, strict=True)]


def _mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact p value of two arms' 0 or 1 on the same problems, [P] each: only the problems they differ on count."""
    first, second = int(np.sum(a > b)), int(np.sum(a < b))
    return float(mcnemar([[0, first], [second, 0]], exact=True).pvalue)
