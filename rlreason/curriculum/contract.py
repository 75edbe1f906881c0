"""What a curriculum is: a sampler of bandit arms that may learn from what each arm paid.

A bandit arm is a cell of a task at a level, under the name `bandit_arm` gives it. A curriculum knows names and weights
only; turning a drawn arm into a problem is the scheduler's part, and computing payoffs the training loop's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


def bandit_arm(task: str, level: str, cell: str) -> str:
    """Name of the bandit arm of a cell: "people:train:complementary/2"."""
    return f"{task}:{level}:{cell}"


class Curriculum(Protocol):
    """Draws bandit arms. Everything random comes from the generator it was made with."""

    def draw(self, n: int) -> list[str]:
        """The next n bandit arms, with repetition."""

    def observe(self, arm: str, payoffs: Sequence[float]) -> None:
        """Learn what an arm paid: one payoff a problem that was drawn from it."""

    def probabilities(self) -> dict[str, float]:
        """How likely each arm is to be the next one drawn; they sum to 1."""

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state, the random generator's included."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state is of other arms or of another kind; names the difference.
        """


class MakeCurriculum(Protocol):
    """Builds a curriculum over weighted arms."""

    def __call__(self, weights: Mapping[str, float], rng: np.random.Generator) -> Curriculum:
        """`weights`: an arm's name -> its share of the draws, where nothing is learned; positive."""
