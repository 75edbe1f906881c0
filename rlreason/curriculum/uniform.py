"""The curriculum that learns nothing: every arm is drawn in proportion to its weight. The baseline of every other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rlreason.curriculum.bandit import BanditCurriculum
from rlreason.curriculum.rules import Fixed


class UniformCurriculum(BanditCurriculum):
    """Independent draws with fixed probabilities."""

    def __init__(self, weights: Mapping[str, float], rng: np.random.Generator, *, floor: float = 0.0) -> None:
        """As `BanditCurriculum`."""
        super().__init__(weights, rng, Fixed((len(weights),)), floor=floor)
