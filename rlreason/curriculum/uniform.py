"""The curriculum that learns nothing: every arm is drawn in proportion to its weight. The baseline of every other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlreason.curriculum.state import load_generator, same_names
from rlreason.errors import CheckpointError, RecipeError


class UniformCurriculum:
    """Independent draws with fixed probabilities."""

    def __init__(self, weights: Mapping[str, float], rng: np.random.Generator) -> None:
        """
        Args:
            weights: an arm's name -> its share of the draws; positive and finite, at least one.
            rng: the source of all draws; its state is saved with the curriculum's.
        Raises:
            RecipeError: no arms, or a weight that is not positive and finite.
        """
        if not weights:
            raise RecipeError("a curriculum needs at least one arm; name cells that match something")
        for arm, weight in weights.items():
            if not (math.isfinite(weight) and weight > 0):
                raise RecipeError(f"weight {weight} of {arm!r} is not a positive finite number; drop it or weigh it")
        self._arms = tuple(weights)
        shares = np.array([weights[arm] for arm in self._arms], dtype=np.float64)
        self._probabilities = shares / shares.sum()
        self._rng = rng

    def draw(self, n: int) -> list[str]:
        """The next n arms, with repetition."""
        return [self._arms[index] for index in self._rng.choice(len(self._arms), size=n, p=self._probabilities)]

    def observe(self, arm: str, payoffs: Sequence[float]) -> None:
        """Changes nothing."""

    def probabilities(self) -> dict[str, float]:
        """Each arm's share of the weights."""
        return dict(zip(self._arms, self._probabilities.tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """{"probabilities": ..., "rng": ...}"""
        return {"probabilities": self.probabilities(), "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state is of other arms or weights, or of another kind of curriculum.
        """
        same_names("entries", state, self.state_dict())
        same_names("arms", state["probabilities"], self._arms)
        if state["probabilities"] != self.probabilities():
            raise CheckpointError(
                f"the saved curriculum drew its arms with {dict(state['probabilities'])}, here it is "
                f"{self.probabilities()}; resume with the recipe that the run was started with"
            )
        load_generator(self._rng, state["rng"])
