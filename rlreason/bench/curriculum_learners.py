"""Synthetic learners: what a policy under training does, as far as a curriculum can tell, in a few lines of numpy.

A learner has one skill an arm. Problems of an arm are solved with the product of its own skill's strength and those of
the skills it is made of; training on them moves these skills by the gradient signal that the rollouts carried. Nothing
here imitates a language model: each learner isolates one difficulty that curricula are said to cope with.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

IMPOSSIBLE = -30.0
"""A skill that never succeeds."""


@dataclass(frozen=True, slots=True)
class SyntheticLearner:
    """A learner by its constants; its state, `skill` [S, A], belongs to the caller.

    Attributes:
        start: an arm's skill before training, in logits.
        rate: skill that one problem of the largest signal gains; 0 for an arm that cannot be learned.
        difficulties: what the arms are declared as; larger is harder.
        parts: arm -> the arms whose skills its problems take too; also what a gate asks for.
        forgetting: share of what was gained that every update loses again.
        steepness: of success over skill; a large one is a plateau and then a sudden rise.
        guess: success without any skill.
        noise: probability that a verdict is flipped.
    """

    start: tuple[float, ...]
    rate: tuple[float, ...]
    difficulties: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...] = ()
    forgetting: float = 0.0
    steepness: float = 1.0
    guess: float = 0.0
    noise: float = 0.0

    @property
    def learnable(self) -> np.ndarray:
        """[A] bool, arms that can be learned: mastery and mean success are over these."""
        return np.array(self.rate) > 0

    @property
    def needs(self) -> np.ndarray:
        """[A, A] bool, needs[a, b]: problems of a take the skill of b as well as their own."""
        needs = np.zeros((len(self.start), len(self.start)), dtype=bool)
        for arm, parts in enumerate(self.parts):
            needs[arm, list(parts)] = True
        return needs

    def begin(self, seeds: int) -> np.ndarray:
        """[S, A] skill before training."""
        return np.tile(np.array(self.start), (seeds, 1))

    def success(self, skill: np.ndarray) -> np.ndarray:
        """[S, A] probability that a rollout is right."""
        return self._success(self._strength(skill))

    def train(self, skill: np.ndarray, signal: np.ndarray) -> None:
        """One update, in place.

        Args:
            skill: [S, A].
            signal: [S, A], sum over an arm's problems of four times the unbiased variance of their rollouts' verdicts:
                what a group-relative gradient can see. An expected 1 a problem at success 1/2, 0 at 0 and 1.
        """
        strength = self._strength(skill)
        failure = np.maximum(1 - self._success(strength), 1e-9)
        # flipped verdicts pull in both directions: what is left of the pull is 1 - 2 noise
        pull = (1 - 2 * self.noise) * (signal / failure) @ self._factors()
        gained = np.array(self.rate) * pull * (1 - strength)
        skill += gained - self.forgetting * (skill - np.array(self.start))

    def gain(self, skill: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """[S, A] expected gain of the counted arms' summed success from one problem of each arm, to first order.

        Args:
            skill: [S, A].
            counted: [S, A] bool.
        """
        strength = self._strength(skill)
        success, factors = self._success(strength), self._factors()
        logistic = 1 / (1 + np.exp(-self.steepness * skill))
        slope = (1 - self.guess) * self.steepness * logistic * (1 - logistic) / np.maximum(strength, 1e-30)
        worth = ((success * counted) @ factors) * slope  # d(sum of success) / d(skill)
        moved = np.array(self.rate) * (1 - strength) * (1 - 2 * self.noise)
        return 4 * success * ((worth * moved) @ factors.T)

    def _strength(self, skill: np.ndarray) -> np.ndarray:
        return self.guess + (1 - self.guess) / (1 + np.exp(-self.steepness * skill))

    def _success(self, strength: np.ndarray) -> np.ndarray:
        return np.exp(np.log(strength) @ self._factors().T)

    def _factors(self) -> np.ndarray:
        return (self.needs | np.eye(len(self.start), dtype=bool)).astype(np.float64)


EIGHT = tuple(range(1, 9))
SPREAD = (0.5, 0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0)
"""Skills of eight arms from easy (success 0.62) to hard (0.05)."""
RATE = 0.06
RATES = (RATE,) * 8
ATOMS = (-0.5, -1.0, -1.5, -2.0)
COMPOSITES = tuple(parts for size in (2, 3, 4) for parts in combinations(range(len(ATOMS)), size))

LEARNERS: dict[str, SyntheticLearner] = {
    "forgetting": SyntheticLearner(SPREAD, RATES, EIGHT, forgetting=0.004),
    "prerequisites": SyntheticLearner(
        start=(*ATOMS, *(-0.5,) * len(COMPOSITES)),
        rate=(RATE,) * (len(ATOMS) + len(COMPOSITES)),
        difficulties=(*(1,) * len(ATOMS), *map(len, COMPOSITES)),
        parts=((),) * len(ATOMS) + COMPOSITES,
    ),
    "plateaus": SyntheticLearner(
        (-0.5, -0.75, -1.0, -1.25, -1.5, -1.75, -2.0, -2.25), RATES, EIGHT, steepness=6.0, guess=0.1
    ),
    "saturated": SyntheticLearner((4.0,) * 5 + (-1.5, -2.5, -3.0), RATES, EIGHT),
    "dead": SyntheticLearner((*SPREAD[1::2], *(IMPOSSIBLE,) * 4), (*RATES[:4], *(0.0,) * 4), EIGHT),
    "noisy": SyntheticLearner(SPREAD, RATES, EIGHT, noise=0.15),
    "coin": SyntheticLearner((0.0, 0.0, *SPREAD[2:]), (0.0, 0.0, *RATES[2:]), EIGHT),
}
"""What each is about: forgetting; composites that fail until their parts are known; success that stays at a guess and
then jumps; five of eight arms already known; half of the arms impossible, without any gradient; a verdict in seven
flipped; two arms whose verdicts are pure chance, with the largest signal there is and nothing to learn."""
