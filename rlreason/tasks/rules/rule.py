"""What a rule is to the task: something that draws questions with and without its held-out part, and executes lines.

Cells, levels and problems are the task's business.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from rlreason.tasks.equations import Execution, Question


class Rule(ABC):
    """One rule, made from the task's parameters."""

    @abstractmethod
    def draw(self, size: int, held_out: bool, rng: random.Random) -> Question | None:
        """A question of that size; None where the draw came to nothing (draw again).

        Args:
            held_out: True: with the part that training never has, where a question that differs in that part alone has
                another answer; False: without it.
        """

    @abstractmethod
    def execute(self, left: str) -> Execution | None:
        """See `equations.checker.Execute`."""

    @abstractmethod
    def chance(self, size: int, held_out: bool) -> float:
        """Probability that a guesser who knows the form of the answer is right."""

    @abstractmethod
    def words(self) -> Sequence[str]:
        """Words of expressions and values."""

    @property
    @abstractmethod
    def remedy(self) -> str:
        """What to change where no question can be drawn, for an error message."""

    def why_no_zero_shot(self, size: int) -> str:
        """Why questions of that size cannot have the held-out part; empty where they can."""
        return ""
