"""What every rule shares, and the rule that learns nothing. A rule says how likely each arm should be drawn.

A rule works on arrays whose last axis is the arms: [A] in training, [S, A] in the simulator, where S curricula that
never meet run side by side. It knows no names, draws nothing and is told which arms may be drawn. Names, weights, the
floor, draws and saved state are in `bandit`; the rules that learn from payoffs in `learned`, those that go by
difficulty in `by_difficulty`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from rlreason.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Seen:
    """What one update showed, as arrays.

    Attributes:
        payoffs: [..., A, M] float, the problems' payoffs; NaN where there is none. M is as large as it has to be.
        successes: [..., A, M] float in [0, 1], share of a problem's judged rollouts that were right; NaN where none.
        probabilities: [..., A], how likely each arm was to be drawn.
    """

    payoffs: np.ndarray
    successes: np.ndarray
    probabilities: np.ndarray


class Rule(ABC):
    """How likely each arm should be drawn, and what is remembered for it. All memory is arrays, changed in place."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape`: [..., A], one entry an arm; what stands before A are curricula that never meet."""
        self.shape = shape

    @abstractmethod
    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """How likely each arm should be drawn, relative to the others.

        Args:
            allowed: [..., A] bool, at least one True in each row.
        Returns:
            [..., A] float, not negative, 0 where not allowed. A row of zeros prefers none.
        """

    @abstractmethod
    def learn(self, seen: Seen) -> None:
        """Take in one update."""

    def memory(self) -> dict[str, np.ndarray]:
        """The live arrays that `learn` changes; who writes into them restores a state."""
        return {}


class Fixed(Rule):
    """Every arm alike, whatever it pays: what is drawn follows the weights alone. The baseline of every other."""

    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """1 where allowed."""
        return allowed.astype(np.float64)

    def learn(self, seen: Seen) -> None:
        """Changes nothing."""


def draw_probabilities(shares: np.ndarray, weights: np.ndarray, allowed: np.ndarray, floor: float) -> np.ndarray:
    """From a rule's shares to the probabilities that arms are drawn with: the one place of weights, mask and floor.

    Args:
        shares: [..., A], a rule's.
        weights: [A] positive. They multiply the shares; with equal ones the rule is the published one.
        allowed: [..., A] bool.
        floor: share of the draws, in [0, 1], spread evenly over the allowed arms.
    Returns:
        [..., A] that sum to 1 in each row: 0 where not allowed, elsewhere at least floor / (number of allowed arms).
        A row whose shares are all 0 follows the weights.
    """
    preferred = np.where(shares.sum(axis=-1, keepdims=True) > 0, shares, allowed) * weights
    even = allowed / allowed.sum(axis=-1, keepdims=True)
    return (1 - floor) * preferred / preferred.sum(axis=-1, keepdims=True) + floor * even


def softmax(values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Boltzmann shares over the allowed arms; [..., A] that sum to 1 in each row."""
    masked = np.where(allowed, values, -np.inf)
    exponentials = np.exp(masked - masked.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def mean_a_row(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    present = ~np.isnan(values)
    count = present.sum(axis=-1)
    total = np.where(present, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def refuse_unless(holds: bool, name: str, value: object, allowed: str, remedy: str) -> None:
    """Refuse a parameter.

    Raises:
        RecipeError: names the parameter, its value, what is allowed and the remedy.
    """
    if not holds:
        raise RecipeError(f"{name} {value!r} is not {allowed}; {remedy}")
