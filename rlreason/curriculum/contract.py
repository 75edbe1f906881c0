"""What a curriculum is: a sampler of bandit arms that may learn from what each arm showed.

A bandit arm is a cell of a task at a level, under the name `bandit_arm` gives it. A curriculum knows names and numbers
only; turning a drawn arm into a problem is the scheduler's part, and computing payoffs the training loop's, with
`payoffs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


def bandit_arm(task: str, level: str, cell: str) -> str:
    """Name of the bandit arm of a cell: "people:train:complementary/2"."""
    return f"{task}:{level}:{cell}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the problems of one bandit arm showed: one entry a problem, in the order in which they were drawn.

    Attributes:
        payoffs: what the problem paid, larger is better (see `payoffs`); NaN where that could not be computed.
        successes: share of its judged rollouts that were right, in [0, 1]; NaN where none was judged.
    """

    payoffs: Sequence[float]
    successes: Sequence[float]


class Curriculum(Protocol):
    """Draws bandit arms. Everything random comes from the generator it was made with."""

    def draw(self, n: int) -> list[str]:
        """The next n bandit arms, with repetition."""

    def observe(self, outcomes: Mapping[str, Outcome]) -> None:
        """Learn from one update: called once an update, with the arms whose rollouts came back, be they none."""

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
