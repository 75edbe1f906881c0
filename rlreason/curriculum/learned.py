"""Rules that learn from what arms pay: SEC, sliding-window UCB, EXP3.S, and one that follows the variance.

Each says which payoff it was made for; any payoff of `payoffs` can be used. Thompson sampling is in `thompson`.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from rlreason.curriculum.rules import Rule, Seen, mean_a_row, refuse_unless, softmax
from rlreason.curriculum.window import Window


def refuse_alpha(alpha: float) -> None:
    """Refuse a step size outside (0, 1]."""
    refuse_unless(0 < alpha <= 1, "alpha", alpha, "in (0, 1]", "1 keeps the newest payoff alone, 0.1 about the last 10")


def refuse_tau(tau: float) -> None:
    """Refuse a temperature that is not positive."""
    remedy = "a small one, such as 0.05, draws almost only the arm of the largest value, a large one all alike"
    refuse_unless(math.isfinite(tau) and tau > 0, "temperature tau", tau, "positive and finite", remedy)


class Sec(Rule):
    """Self-Evolving Curriculum: a value an arm by TD(0), Q <- (1 - alpha) Q + alpha payoff, Q = 0 at first, and a
    Boltzmann draw, softmax(Q / tau).

    Made for: mean |advantage|.
    Source: Chen et al. 2025 (arXiv 2505.14970).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        alpha: float = 0.5,
        tau: float = 0.4,
        undrawn: Literal["keep", "decay"] = "keep",
    ) -> None:
        """
        Args:
            shape: [..., A].
            alpha: step size in (0, 1]. The paper's: 0.5.
            tau: temperature, in units of payoff, positive. The paper's: 0.2 to 1.
            undrawn: what becomes of an arm that paid nothing in an update because it was not drawn. "keep": its value
                stays. "decay": it is paid 0, as in the authors' code.
        Raises:
            RecipeError: a parameter out of its range.
        """
        super().__init__(shape)
        refuse_alpha(alpha)
        refuse_tau(tau)
        refuse_unless(undrawn in ("keep", "decay"), "undrawn", undrawn, "keep or decay", "choose one of the two")
        self._alpha, self._tau, self._decay = alpha, tau, undrawn == "decay"
        self._values = np.zeros(shape)

    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """softmax(Q / tau)"""
        return softmax(self._values / self._tau, allowed)

    def learn(self, seen: Seen) -> None:
        """One TD(0) step an arm, towards its mean payoff."""
        paid = mean_a_row(seen.payoffs)
        target = np.where(np.isnan(paid), 0.0 if self._decay else self._values, paid)
        self._values += self._alpha * (target - self._values)

    def memory(self) -> dict[str, np.ndarray]:
        """Q"""
        return {"values": self._values}


class SlidingUcb(Rule):
    """Upper confidence bounds over the last payoffs: U = mean of the last `window` + sqrt(2 ln(n + 1) / (n_d + 1)),
    with n_d the payoffs the arm ever had and n those of all arms; softmax(U / tau).

    Made for: mean |advantage|.
    Source: DUMP, Wang et al. 2025 (arXiv 2504.09710), which counts rollouts where this counts problems.
    """

    def __init__(self, shape: tuple[int, ...], *, window: int = 300, tau: float = 0.1) -> None:
        """
        Args:
            shape: [..., A].
            window: payoffs (one a problem) that the mean looks back on, at least 1. The paper's: 300.
            tau: temperature, in units of payoff, positive. The paper's: 0.1.
        Raises:
            RecipeError: a parameter out of its range.
        """
        super().__init__(shape)
        refuse_tau(tau)
        refuse_unless(window >= 1, "window", window, "at least 1", "it counts payoffs, one a problem")
        self._tau = tau
        self._window = Window(shape, window)

    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """softmax(U / tau)"""
        paid = self._window.pushed
        bonus = np.sqrt(2 * np.log(paid.sum(axis=-1, keepdims=True) + 1) / (paid + 1))
        return softmax((self._window.mean() + bonus) / self._tau, allowed)

    def learn(self, seen: Seen) -> None:
        """The payoffs enter the window."""
        self._window.push(seen.payoffs)

    def memory(self) -> dict[str, np.ndarray]:
        """The window."""
        return self._window.memory()


class Exp3S(Rule):
    """Exponential weights for payoffs that an adversary may choose and change: p = (1 - gamma) w + gamma / K over K
    arms. An update of n problems is n of the published steps taken together: an arm's importance-weighted payoffs are
    X = (sum of its payoffs) / p, and w <- w exp(gamma X / K) + n e alpha / K, normalised.

    X is unbiased where payoffs come back before the next update; credit that comes late is weighed with the
    probabilities of the update in which it arrives.

    Made for: payoffs in [0, 1], such as mean |advantage| of 0/1 rewards.
    Source: Auer, Cesa-Bianchi, Freund, Schapire 2002, "The nonstochastic multiarmed bandit problem", section 8.
    """

    def __init__(self, shape: tuple[int, ...], *, gamma: float = 0.3, alpha: float = 0.01) -> None:
        """
        Args:
            shape: [..., A].
            gamma: in (0, 1]: share of the draws spread evenly, and step size.
            alpha: in [0, 1]: weight that a problem gives back to all arms, so that one that was poor for long can come
                back. 0 is EXP3.
        Raises:
            RecipeError: a parameter out of its range.
        """
        super().__init__(shape)
        refuse_unless(0 < gamma <= 1, "gamma", gamma, "in (0, 1]", "it is the share of draws that explore; try 0.3")
        refuse_unless(0 <= alpha <= 1, "alpha", alpha, "in [0, 1]", "it is the weight shared out a problem; try 0.01")
        self._gamma, self._alpha = gamma, alpha
        self._weights = np.full(shape, 1 / shape[-1])

    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """(1 - gamma) w + gamma / K over the allowed arms."""
        weights = np.where(allowed, self._weights, 0.0)
        even = allowed / allowed.sum(axis=-1, keepdims=True)
        return (1 - self._gamma) * weights / weights.sum(axis=-1, keepdims=True) + self._gamma * even

    def learn(self, seen: Seen) -> None:
        """The steps of one update. An arm that could not be drawn is not credited."""
        present = ~np.isnan(seen.payoffs)
        problems = present.sum(axis=(-2, -1))[..., None]
        drawable = seen.probabilities > 0
        total = np.where(present, seen.payoffs, 0.0).sum(axis=-1)
        weighted = np.where(drawable, total / np.where(drawable, seen.probabilities, 1.0), 0.0)
        exponent = self._gamma * weighted / drawable.sum(axis=-1, keepdims=True)
        # relative to the largest, which a large update would carry past what a float holds
        largest = exponent.max(axis=-1, keepdims=True)
        shared = problems * math.e * self._alpha / self.shape[-1] * np.exp(-largest)
        grown = self._weights * np.exp(exponent - largest) + shared
        self._weights[...] = grown / grown.sum(axis=-1, keepdims=True)

    def memory(self) -> dict[str, np.ndarray]:
        """w, which sums to 1."""
        return {"weights": self._weights}


class Variance(Rule):
    """Draws in proportion to an exponential mean of the payoff, V <- (1 - alpha) V + alpha payoff.

    Made for: the variance of a problem's rewards, k (G - k) / (G (G - 1)) where k of G are right.
    Source: VCRL, Jiang et al. 2025, which picks single problems by that variance; here it is the mean of an arm.
    """

    def __init__(self, shape: tuple[int, ...], *, alpha: float = 0.3, initial: float = 0.25) -> None:
        """
        Args:
            shape: [..., A].
            alpha: step size in (0, 1].
            initial: V before the first payoff, in its units, positive: 0.25 is the largest variance of a 0/1 reward, so
                that every arm is tried.
        Raises:
            RecipeError: a parameter out of its range.
        """
        super().__init__(shape)
        refuse_alpha(alpha)
        refuse_unless(math.isfinite(initial) and initial > 0, "initial", initial, "positive and finite", "try 0.25")
        self._alpha = alpha
        self._means = np.full(shape, float(initial))

    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """V over its sum; what fell below 0, under a payoff that can, counts as 0."""
        return np.where(allowed, np.maximum(self._means, 0.0), 0.0)

    def learn(self, seen: Seen) -> None:
        """The mean moves towards what the arm paid; an arm that was not drawn keeps it."""
        paid = mean_a_row(seen.payoffs)
        self._means += self._alpha * np.where(np.isnan(paid), 0.0, paid - self._means)

    def memory(self) -> dict[str, np.ndarray]:
        """V"""
        return {"means": self._means}
