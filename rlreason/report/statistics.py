"""How sure a figure is: proportions with Wilson intervals, pass@k with a bootstrap, differences of arms paired.

In the figures of one arm problems are the independent units: where it was run under several seeds, a problem counts
once, with its mean over seeds, and the interval covers the choice of problems, never the spread between seeds. The
paired difference of two arms covers both. Which arms are compared, and the verdict, are not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 2000
SMALLEST_P = 1e-12
"""Where a p value comes from inverting an interval and is smaller, it is reported as this."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share in [0, 1], or a difference of two, in [-1, 1], with its 95% interval."""

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


def paired_difference(a: np.ndarray, b: np.ndarray) -> PairedDifference:
    """Compare two arms on the same problems under the same seeds.

    Problems and seeds are crossed random effects, and each brings its own t quantile: the squared half-width of the
    interval is that of the t interval over the means of the seeds, plus what the choice of problems adds. Under one
    seed only the latter is left, and the interval covers other problems, never other training runs. One problem that
    only the first arm solves and one that only the second does are added under every seed, so that arms which agree
    everywhere still have an interval.

    In simulations of three seeds (40 to 384 problems, standard deviation between seeds 0 to 12 points) that interval
    covers the truth in 93 to 98 of 100 cases, and in more where the arms hardly differ. A percentile bootstrap over
    seeds and problems covers it in 79 to 100, because three seeds cannot show their spread; an interval over problems
    alone, which is what a sign-flip test over problems amounts to, in 34 to 95.

    Args:
        a, b: [S, P] float in [0, 1], share right under each seed on each problem; S and P at least 1.
    Returns:
        First minus second. Its p value is McNemar's where there is one seed and every share is 0 or 1.
    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    Source:
        The two problems added: Bonett and Price 2012. A quantile for each of the two variances: Howe 1974.
    """
    if a.ndim != 2 or a.shape != b.shape or a.size == 0:
        raise ValueError(
            f"shares of shapes {a.shape} and {b.shape} cannot be paired; give [seeds, problems], the same and not empty"
        )
    differences = a - b
    by_seeds, by_problems = _variances(_with_one_problem_each_way(differences))
    seeds, problems = differences.shape
    centre = float(differences.mean()) * problems / (problems + 2)

    def half_width(alpha: float) -> float:
        over_seeds = stdtrit(seeds - 1, alpha / 2) ** 2 * by_seeds if seeds > 1 else 0.0
        return float(np.sqrt(over_seeds + stdtrit(problems + 1, alpha / 2) ** 2 * by_problems))

    exact = seeds == 1 and bool(np.isin([a, b], [0.0, 1.0]).all())
    p = _mcnemar(a[0], b[0]) if exact else _p_value(abs(centre), half_width)
    reach = half_width(0.05)
    return PairedDifference(
        difference=Estimate(float(differences.mean()), max(-1.0, centre - reach), min(1.0, centre + reach)),
        p=p,
        p_corrected=p,
        test="McNemar, exact" if exact else "t",
        discordant=float(np.mean(differences != 0)),
        detectable=min(1.0, reach + half_width(0.4)),  # 80% power: the quantile of one tail of 0.2 on top
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


def _with_one_problem_each_way(differences: np.ndarray) -> np.ndarray:
    """[S, P] -> [S, P + 2]: a problem that only the first arm solves, and one that only the second does."""
    each_seed = np.ones(len(differences))
    return np.column_stack([differences, each_seed, -each_seed])


def _variances(differences: np.ndarray) -> tuple[float, float]:
    """What seeds and problems add to the variance of the mean of [S, P] differences; the first is 0 for one seed.

    Noise of single answers is part of what seeds add, and is taken out of what problems add: counted once.
    """
    seeds, problems = differences.shape
    by_problem, by_seed = differences.mean(axis=0), differences.mean(axis=1, keepdims=True)
    over_problems = float(by_problem.var(ddof=1)) / problems
    if seeds == 1:
        return 0.0, over_problems
    residuals = differences - by_problem - by_seed + differences.mean()
    noise = float((residuals**2).sum()) / ((seeds - 1) * (problems - 1)) / differences.size
    return float(by_seed.var(ddof=1)) / seeds, max(over_problems - noise, 0.0)


def _mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact p value of two arms' 0 or 1 on the same problems, [P] each: only the problems they differ on count."""
    first, second = int(np.sum(a > b)), int(np.sum(a < b))
    return float(mcnemar([[0, first], [second, 0]], exact=True).pvalue)


def _p_value(distance: float, half_width: Callable[[float], float]) -> float:
    """The largest level at which the interval of that half-width still reaches 0, `distance` away."""
    if half_width(SMALLEST_P) <= distance:
        return SMALLEST_P
    return float(brentq(lambda alpha: half_width(alpha) - distance, SMALLEST_P, 1.0))
