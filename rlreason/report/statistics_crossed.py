"""Means over problems that were asked under several seeds, with intervals that cover both: how sure any figure is.

Problems and seeds are crossed random effects. A percentile bootstrap over both is too narrow under few seeds (three
cannot show their spread), so the interval is a t interval whose degrees of freedom say which of the two decides. Every
figure here is a mean of values a seed and problem, or is made one by linearisation; which figures, and what follows,
is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

ENOUGH_VARIED = 4.0
"""Where so many problems differ as much as they can, the two that `crossed_mean` adds count half."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share in [0, 1], or a difference of two, in [-1, 1], with its interval: 95% unless it is said otherwise."""

    value: float
    low: float
    high: float

    def is_above(self, other: Estimate) -> bool:
        """Whether this interval lies wholly above the other's."""
        return self.low > other.high

    def as_json(self) -> dict[str, float]:
        """An estimate's entry in report.json."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class CrossedMean:
    """A mean over seeds and problems, and how sure it is.

    Attributes:
        value: the mean.
        centre: of the intervals: the mean with the two added problems of `crossed_mean`.
        variance: of the mean. Under one seed it is that over problems alone.
        freedom: degrees of freedom of `variance`: two under three seeds that differ much, many where problems decide.
    """

    value: float
    centre: float
    variance: float
    freedom: float

    def half_width(self, alpha: float) -> float:
        """Half the width of the interval at level 1 - alpha."""
        return float(-stdtrit(self.freedom, alpha / 2) * np.sqrt(self.variance))

    def interval(self, alpha: float = 0.05, least: float = -1.0, most: float = 1.0) -> Estimate:
        """The mean with its interval at level 1 - alpha, cut to [least, most]."""
        reach = self.half_width(alpha)
        low, high = max(least, self.centre - reach), min(most, self.centre + reach)
        return Estimate(self.value, min(low, self.value), max(high, self.value))

    def p(self) -> float:
        """Two-sided p value against 0: the largest level at which the interval still reaches 0."""
        if self.variance == 0:
            return 1.0 if self.centre == 0 else 0.0
        return float(2 * stdtr(self.freedom, -abs(self.centre) / np.sqrt(self.variance)))

    def detectable(self, alpha: float = 0.05, power: float = 0.8) -> float:
        """The smallest true mean that an evaluation of this size and spread tells from 0, with that power."""
        return self.half_width(alpha) + self.half_width(2 * (1 - power))  # one tail of 1 - power on top


def crossed_mean(values: np.ndarray, span: float = 1.0) -> CrossedMean:
    """The mean of a figure that every problem has under every seed.

    Two problems are added under every seed, one at +span and one at -span, so that a figure which is the same
    everywhere still has an interval; they count the less, the more the problems themselves vary. How often the
    intervals hold the truth: `rlreason bench verdict`, docs/verdict.md.

    Args:
        values: [S, P] float; S and P at least 1.
        span: the largest size that the figure of one problem can have; 0 adds none.
    Source:
        The two problems added: Bonett and Price 2012. Degrees of freedom of a sum of variances: Satterthwaite 1946.
    """
    seeds, problems = values.shape
    if span == 0:
        weights, padded = np.ones(problems), values
    else:
        varied = float(((values - values.mean()) ** 2).sum()) / seeds / span**2  # in problems that differ by the span
        added = ENOUGH_VARIED / (ENOUGH_VARIED + varied)
        weights = np.append(np.ones(problems), [added, added])
        padded = np.column_stack([values, np.full(seeds, span), np.full(seeds, -span)])
    variance, freedom = _variance(padded, weights)
    return CrossedMean(float(values.mean()), float(padded.mean(axis=0) @ weights / weights.sum()), variance, freedom)


def crossed_share(values: np.ndarray, alpha: float = 0.05) -> Estimate:
    """A share of problems, or a mean of shares, with its interval over problems and seeds.

    Args:
        values: [S, P] float in [0, 1].
    """
    # around one half the two added problems are one right and one wrong, as Agresti and Coull add two of each
    centred = crossed_mean(values - 0.5, span=0.5).interval(alpha, least=-0.5, most=0.5)
    return Estimate(centred.value + 0.5, centred.low + 0.5, centred.high + 0.5)


def crossed_ratio(numerator: np.ndarray, denominator: np.ndarray, least: float, most: float, alpha: float) -> Estimate:
    """A ratio of two sums over seeds and problems, such as a mean over selected problems, with its interval.

    Args:
        numerator, denominator: [S, P] float; the sum of `denominator` is above 0. `numerator` lies within `least` and
            `most` times it.
    Source:
        Linearisation of a ratio estimator, Cochran 1977, chapter 6.
    """
    weight = denominator.mean()
    ratio = float(numerator.mean() / weight)
    residuals = (numerator - ratio * denominator) / weight
    mean = crossed_mean(residuals, span=(most - least) / 2 / weight)
    reach = mean.half_width(alpha)
    centre = ratio + mean.centre
    return Estimate(ratio, max(least, min(centre - reach, ratio)), min(most, max(centre + reach, ratio)))


def _variance(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Variance of the weighted mean of [S, P] values with its degrees of freedom; for one seed, over problems alone.

    What seeds add is at least the noise of single answers, which many answers tell better than a few seeds do; that
    noise is taken out of what problems add, so that it counts once.
    """
    seeds, problems = len(values), float(weights.sum())
    by_problem, by_seed = values.mean(axis=0), (values @ weights / problems)[:, None]
    mean = float(by_seed.mean())
    others = max(1.0, problems - 1)
    of_problems = float(weights @ (by_problem - mean) ** 2) / others / problems
    if seeds == 1:
        return of_problems, others
    residuals = values - by_problem - by_seed + mean
    noise = float((residuals**2 @ weights).sum()) / (seeds - 1) / others / problems / seeds
    of_seeds = float(by_seed.var(ddof=1)) / seeds
    variance = max(of_seeds, noise) + max(of_problems - noise, 0.0)
    spread = of_seeds**2 / (seeds - 1) + of_problems**2 / others
    return variance, variance**2 / spread if spread else others
