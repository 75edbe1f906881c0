"""Discounted Thompson sampling on what an arm pays and on how fast its success changes."""

from __future__ import annotations

import math

import numpy as np

from rlreason.curriculum.rules import Rule, Seen, mean_a_row, refuse_unless

GRID = 129
"""Points of the quadrature in `best_of`. They cover at most 12 deviations of the widest posterior, and a discount of at
most 0.99 keeps the narrowest within a factor of 10 of it: a step is never wider than the narrowest deviation, where the
trapezoid rule is exact to about eight digits."""
REACH = 6.0
"""Standard deviations on either side that the quadrature covers."""


class Thompson(Rule):
    """Draws an arm as often as it is the best one: probabilities are those of Thompson sampling, without its sampling.

    The worth of an arm is its payoff plus `slope_weight` times the absolute change of its success rate. Both means have
    Normal posteriors of equal form: an update is one look, the mean over the arm's problems; looks are forgotten at
    `discount` an update, drawn or not, so that an arm not looked at for long becomes uncertain again and is tried. With
    N discounted looks of discounted sum X the posterior is Normal((prior + X) / (1 + N), spread^2 / (1 + N)); the
    prior counts as one look. The change of success is measured from the discounted mean of the arm's own earlier looks,
    and its absolute value is taken, so that an arm that is being forgotten attracts draws too.

    Made for: mean |advantage|.
    Source: after PAC (Thompson sampling on advantage and reward slope); the absolute slope is that of Matiisen et al.
    2017 (arXiv 1707.00183), discounting that of Raj and Kalyani 2017 (arXiv 1707.09727).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        discount: float = 0.7,
        spread: float = 0.5,
        prior: float = 0.5,
        slope_weight: float = 1.0,
    ) -> None:
        """
        Args:
            shape: [..., A].
            discount: in [0, 0.99]: what an update leaves of earlier looks; 0.7 remembers about 3.
            spread: standard deviation of one look, in units of payoff, positive.
            prior: mean payoff assumed of an arm that was not looked at, in units of payoff.
            slope_weight: payoff that a change of success by 1 is worth, not negative. 0 follows the payoff alone.
        Raises:
            RecipeError: a parameter out of its range.
        """
        super().__init__(shape)
        remedy = "closer to 1 the past would outlive the policy that earned it; try 0.7"
        refuse_unless(0 <= discount <= 0.99, "discount", discount, "in [0, 0.99]", remedy)
        refuse_unless(math.isfinite(spread) and spread > 0, "spread", spread, "positive and finite", "try 0.5")
        refuse_unless(math.isfinite(prior), "prior", prior, "finite", "try 0.5, or 1 to try every arm first")
        proper = math.isfinite(slope_weight) and slope_weight >= 0
        refuse_unless(proper, "slope_weight", slope_weight, "0 or positive and finite", "try 1")
        self._discount, self._spread, self._prior, self._slope_weight = discount, spread, prior, slope_weight
        self._looks, self._payoffs = np.zeros(shape), np.zeros(shape)
        self._changes, self._slopes = np.zeros(shape), np.zeros(shape)
        self._judged, self._successes = np.zeros(shape), np.zeros(shape)

    def posterior(self) -> tuple[np.ndarray, np.ndarray]:
        """([..., A] mean, [..., A] standard deviation) of what each arm is worth."""
        mean = (self._prior + self._payoffs) / (1 + self._looks)
        mean = mean + self._slope_weight * self._slopes / (1 + self._changes)
        variance = 1 / (1 + self._looks) + self._slope_weight**2 / (1 + self._changes)
        return mean, self._spread * np.sqrt(variance)

    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """The probability that the arm is worth most among the allowed ones."""
        return best_of(*self.posterior(), allowed)

    def learn(self, seen: Seen) -> None:
        """Earlier looks are discounted, the new ones added."""
        paid, success = mean_a_row(seen.payoffs), mean_a_row(seen.successes)
        before = np.where(self._judged > 0, self._successes / np.where(self._judged > 0, self._judged, 1.0), np.nan)
        added = [
            (self._looks, self._payoffs, paid),
            (self._changes, self._slopes, np.abs(success - before)),
            (self._judged, self._successes, success),
        ]
        for count, total, look in added:
            count *= self._discount
            total *= self._discount
            count += ~np.isnan(look)
            total += np.where(np.isnan(look), 0.0, look)

    def memory(self) -> dict[str, np.ndarray]:
        """Discounted number and sum of looks at the payoff, of changes of success, and of success."""
        return {
            "looks": self._looks,
            "payoffs": self._payoffs,
            "changes": self._changes,
            "slopes": self._slopes,
            "judged": self._judged,
            "successes": self._successes,
        }


def best_of(means: np.ndarray, deviations: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """The probability that each of several independent Normal variables is the largest, by the trapezoid rule.

    Args:
        means, deviations: [..., A], deviations positive.
        allowed: [..., A] bool; the others do not take part.
    Returns:
        [..., A] that sum to 1 in each row, 0 where not allowed.
    """
    from scipy.special import ndtr  # a third of a second to import, for this rule alone

    # the largest is above every variable's lower end, so no point below the highest of these counts
    low = np.where(allowed, means - REACH * deviations, -np.inf).max(axis=-1)
    high = np.where(allowed, means + REACH * deviations, -np.inf).max(axis=-1)
    points = np.linspace(low, high, GRID, axis=-1)[..., None, :]
    standard = (points - means[..., None]) / deviations[..., None]
    below = np.where(allowed[..., None], ndtr(standard), 1.0)
    density = np.exp(-0.5 * standard**2) / deviations[..., None]
    others = below.prod(axis=-2, keepdims=True) / below  # every point is above every lower end: `below` is not 0
    mass = np.where(allowed, (density * others).sum(axis=-1), 0.0)
    return mass / mass.sum(axis=-1, keepdims=True)
