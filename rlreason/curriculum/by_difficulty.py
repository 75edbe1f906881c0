"""Rules that go by how hard an arm is: a success-rate target, a moving Gaussian, and the fixed orders.

A difficulty is what the task declares of a cell; larger is harder. Arms of one difficulty share its draws. The rules
that go by a plan need its length in updates, and stay where it ended after that.
"""

from __future__ import annotations

import math

import numpy as np

from rlreason.curriculum.rules import Rule, Seen, refuse_unless


class ByDifficulty(Rule):
    """A rule that is told the difficulties."""

    def __init__(self, shape: tuple[int, ...], difficulties: np.ndarray) -> None:
        """
        Args:
            shape: [..., A].
            difficulties: [A] int, larger is harder.
        """
        super().__init__(shape)
        self.difficulties = np.asarray(difficulties, dtype=np.float64)


class SuccessTarget(ByDifficulty):
    """Follows the difficulty at which half of the rollouts succeed: T <- clip(T + eta tanh(alpha (R - 1/2))) between
    the least and the largest difficulty, with R the mean success of an update's problems; draws what is nearest to T.

    Made for: success itself; it does not look at the payoffs.
    Source: AdaRFT, Shi et al. 2025 (arXiv 2504.05520), where difficulties go from 0 to 100 and eta is 50.
    """

    def __init__(
        self, shape: tuple[int, ...], difficulties: np.ndarray, *, eta: float = 0.5, alpha: float = 2.0
    ) -> None:
        """
        Args:
            shape: [..., A].
            difficulties: [A] int. T starts at the least.
            eta: largest move of T an update, in units of difficulty, positive.
            alpha: how sharply it answers to success, positive. The paper's: 2.
        Raises:
            RecipeError: a parameter out of its range.
        """
        super().__init__(shape, difficulties)
        refuse_unless(math.isfinite(eta) and eta > 0, "eta", eta, "positive and finite", "try half a difficulty")
        refuse_unless(math.isfinite(alpha) and alpha > 0, "alpha", alpha, "positive and finite", "try 2")
        self._eta, self._alpha = eta, alpha
        self._target = np.full((*shape[:-1], 1), self.difficulties.min())

    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """1 for the allowed arms nearest to T."""
        return nearest(self.difficulties, self._target, allowed)

    def learn(self, seen: Seen) -> None:
        """T moves up where more than half succeeded, down where less; it stays where nothing was judged."""
        judged = ~np.isnan(seen.successes)
        count = judged.sum(axis=(-2, -1))
        right = np.where(judged, seen.successes, 0.0).sum(axis=(-2, -1))
        excess = np.where(count > 0, right / np.maximum(count, 1) - 0.5, 0.0)[..., None]
        moved = self._target + self._eta * np.tanh(self._alpha * excess)
        self._target[...] = np.clip(moved, self.difficulties.min(), self.difficulties.max())

    def memory(self) -> dict[str, np.ndarray]:
        """T"""
        return {"target": self._target}


class Planned(ByDifficulty):
    """A rule whose draws follow from the number of updates alone. Made for: no payoff; it looks at none."""

    def __init__(self, shape: tuple[int, ...], difficulties: np.ndarray, *, updates: int) -> None:
        """
        Args:
            shape: [..., A].
            difficulties: [A] int.
            updates: length of the plan, at least 1.
        Raises:
            RecipeError: a parameter out of its range.
        """
        super().__init__(shape, difficulties)
        refuse_unless(updates >= 1, "updates", updates, "at least 1", "give the number of updates of the stage")
        self._updates = updates
        self._done = np.zeros((), dtype=np.int64)

    def learn(self, seen: Seen) -> None:
        """One more update is done."""
        self._done += 1

    def memory(self) -> dict[str, np.ndarray]:
        """Updates done."""
        return {"done": self._done}


class EasyToHard(Planned):
    """A Gaussian over difficulty whose centre goes from the least to the largest: weight exp(-(d - c)^2 / (2 width^2))
    at c = least + (largest - least) (t / updates)^power.

    Source: E2H with its Gaussian schedule, Parashar et al. 2025 (arXiv 2506.06632).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        difficulties: np.ndarray,
        *,
        updates: int,
        width: float = 0.75,
        power: float = 0.5,
    ) -> None:
        """
        Args:
            shape: [..., A].
            difficulties: [A] int.
            updates: after how many the centre stands at the largest difficulty, at least 1.
            width: standard deviation in units of difficulty, positive.
            power: positive; below 1 leaves the easy arms sooner.
        Raises:
            RecipeError: a parameter out of its range.
        """
        super().__init__(shape, difficulties, updates=updates)
        refuse_unless(math.isfinite(width) and width > 0, "width", width, "positive and finite", "try 0.75")
        refuse_unless(math.isfinite(power) and power > 0, "power", power, "positive and finite", "1 is a steady pace")
        self._width, self._power = width, power

    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """The Gaussian over the allowed arms, highest 1."""
        least, largest = self.difficulties.min(), self.difficulties.max()
        centre = least + (largest - least) * min(int(self._done) / self._updates, 1.0) ** self._power
        exponent = np.where(allowed, -((self.difficulties - centre) ** 2) / (2 * self._width**2), -np.inf)
        return np.exp(exponent - exponent.max(axis=-1, keepdims=True))


class Ordered(Planned):
    """One difficulty after the other, from the least to the largest, each for an equal part of the plan."""

    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """1 for the arms of the difficulty whose turn it is; where none is allowed, for those nearest to it."""
        turns = self._turns()
        turn = min(int(self._done) * len(turns) // self._updates, len(turns) - 1)
        return nearest(self.difficulties, turns[turn], allowed)

    def _turns(self) -> np.ndarray:
        return np.unique(self.difficulties)


class ReverseOrdered(Ordered):
    """One difficulty after the other, from the largest to the least, each for an equal part of the plan."""

    def _turns(self) -> np.ndarray:
        return super()._turns()[::-1]


def nearest(difficulties: np.ndarray, target: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """1 for the allowed arms whose difficulty is nearest to the target, else 0. Arms equally near share."""
    distance = np.where(allowed, np.abs(difficulties - target), np.inf)
    return (distance == distance.min(axis=-1, keepdims=True)).astype(np.float64)
