"""What a problem pays its bandit arm: what training on it seems to be worth. Pure numpy, from the rollouts of one arm.

In all of them P problems of one arm have G rollouts each, and the result is [P], one payoff a problem; NaN where there
was nothing to compute it from, which a curriculum counts and leaves out. Two of them compare an arm with its own past,
which `RunningMeans` keeps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlreason.curriculum.learned import refuse_alpha
from rlreason.curriculum.rules import mean_a_row
from rlreason.curriculum.state import read_array, same_names


def mean_absolute_advantage(advantages: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Mean |advantage| of a problem's scored rollouts: the size of the gradient signal.

    Args:
        advantages: [P, G] float.
        scored: [P, G] bool; rollouts without a verdict have no say.
    Returns:
        [P]. With 0/1 rewards and advantages over the standard deviation, 2 sqrt(p (1 - p)) at a success rate of p.
    Source:
        SEC, Chen et al. 2025.
    """
    return mean_a_row(np.where(scored, np.abs(advantages), np.nan))


def success_rate(correct: np.ndarray) -> np.ndarray:
    """Share of a problem's judged rollouts that are right: what the gate and the success target go by.

    Args:
        correct: [P, G] float, 1 right, 0 wrong, NaN not judged.
    Returns:
        [P] in [0, 1].
    """
    return mean_a_row(correct)


def nearness_to_half(correct: np.ndarray) -> np.ndarray:
    """1 - 2 |p - 1/2| at a success rate of p: 1 where half of the rollouts are right, 0 where all or none are.

    Args:
        correct: [P, G] float, 1 right, 0 wrong, NaN not judged.
    Returns:
        [P] in [0, 1].
    """
    return 1 - 2 * np.abs(success_rate(correct) - 0.5)


def reward_variance(rewards: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Unbiased variance of a problem's rewards; with 0/1 rewards k (G - k) / (G (G - 1)) where k of G are right.

    Args:
        rewards: [P, G] float; ignored (NaN allowed) where not scored.
        scored: [P, G] bool.
    Returns:
        [P], at most G / (4 (G - 1)) with 0/1 rewards. NaN for fewer than two scored rollouts.
    Source:
        VCRL, Jiang et al. 2025.
    """
    kept = np.where(scored, rewards, np.nan)
    squares = mean_a_row((kept - mean_a_row(kept)[:, None]) ** 2)
    count = scored.sum(axis=-1)
    return np.where(count > 1, squares * count / np.maximum(count - 1, 1), np.nan)


def reward_slope(rewards: np.ndarray, scored: np.ndarray, before: float) -> np.ndarray:
    """How far the arm's mean reward moved, up or down: one payoff, the same for each of its problems.

    The absolute value is taken of the arm's mean and not of each problem's, where it would measure how different the
    problems are. A falling reward pays too: an arm that is being forgotten is worth training on.

    Args:
        rewards: [P, G] float; ignored (NaN allowed) where not scored.
        scored: [P, G] bool.
        before: the arm's running mean reward before this update; NaN where it has no past, which pays 0.
    Returns:
        [P]; all NaN where nothing was scored.
    Source:
        Matiisen et al. 2017 (arXiv 1707.00183).
    """
    now = float(mean_a_row(np.where(scored, rewards, np.nan).reshape(-1)))
    return np.full(len(rewards), 0.0 if math.isnan(before) and not math.isnan(now) else abs(now - before))


def step_progress(right_steps: np.ndarray, before: float) -> np.ndarray:
    """Share of a problem's derivations whose first error came later than is usual for the arm.

    Args:
        right_steps: [P, G] float, steps before the first error (all of them where there is none); NaN not checked.
        before: the arm's running mean of that before this update; NaN where it has no past, which pays 0.
    Returns:
        [P] in [0, 1]. An arm whose derivations are all right is paid 0: nothing can come later.
    """
    later = np.where(np.isnan(right_steps), np.nan, right_steps > before)  # nothing is greater than NaN
    return mean_a_row(later)


class RunningMeans:
    """An exponential mean an arm: the past that `reward_slope` and `step_progress` compare with."""

    def __init__(self, arms: Sequence[str], alpha: float = 0.3) -> None:
        """
        Args:
            arms: names of the bandit arms.
            alpha: weight of the newest update, in (0, 1].
        Raises:
            RecipeError: alpha out of its range.
        """
        refuse_alpha(alpha)
        self._alpha = alpha
        self._means: dict[str, float | None] = dict.fromkeys(arms)

    def before(self, arm: str) -> float:
        """The mean of the arm's earlier updates; NaN where it has none."""
        mean = self._means[arm]
        return math.nan if mean is None else mean

    def absorb(self, arm: str, values: np.ndarray) -> None:
        """Take in an update of an arm: the mean of `values` (any shape) that are not NaN; none changes nothing."""
        newest = float(mean_a_row(values.reshape(-1)))
        if not math.isnan(newest):
            mean = self._means[arm]
            self._means[arm] = newest if mean is None else mean + self._alpha * (newest - mean)

    def state_dict(self) -> dict[str, Any]:
        """{"means": arm -> mean, None where it has no past}"""
        return {"means": dict(self._means)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state is of other arms, or damaged. Nothing is changed then.
        """
        same_names("entries", state, ("means",))
        same_names("arms", state["means"], self._means)
        for arm, mean in state["means"].items():
            if mean is not None:
                read_array(arm, mean, np.zeros(()))
        self._means = dict(state["means"])
