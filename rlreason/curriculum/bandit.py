"""A rule over named bandit arms: weights, a floor, what may be drawn, draws, unusable payoffs, and strict saved state.

Everything that policies have in common is here, once; what tells them apart is the `Rule`. By which name a recipe asks
for which rule is in `policies`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from rlreason.curriculum.contract import Outcome
from rlreason.curriculum.rules import Rule, Seen, draw_probabilities, refuse_unless
from rlreason.curriculum.state import load_generator, read_array, same_names
from rlreason.errors import CheckpointError, RecipeError, RunFailed, one_of


class BanditCurriculum:
    """Draws arms as often as a rule says."""

    def __init__(
        self, weights: Mapping[str, float], rng: np.random.Generator, rule: Rule, *, floor: float = 0.0
    ) -> None:
        """
        Args:
            weights: an arm's name -> its weight; positive and finite, at least one. Weights multiply what the rule
                says: under equal ones it is the published rule, and where it prefers none the draws follow them.
            rng: the source of all draws; its state is saved with the curriculum's.
            rule: of shape [A], its arms in the order of `weights`.
            floor: share of the draws, in [0, 1], spread evenly over the arms that may be drawn: each of A keeps a
                probability of at least floor / A.
        Raises:
            RecipeError: no arms, a weight that is not positive and finite, or a floor outside [0, 1].
        """
        if not weights:
            raise RecipeError("a curriculum needs at least one arm; name cells that match something")
        for arm, weight in weights.items():
            if not (math.isfinite(weight) and weight > 0):
                raise RecipeError(f"weight {weight} of {arm!r} is not a positive finite number; drop it or weigh it")
        remedy = "it is the share of the draws that is spread evenly; try 0.1"
        refuse_unless(0 <= floor <= 1, "floor", floor, "in [0, 1]", remedy)
        self._arms = {arm: index for index, arm in enumerate(weights)}
        self._weights = np.array(list(weights.values()), dtype=np.float64)
        self._rng, self._rule, self._floor = rng, rule, floor
        self._allowed = np.ones(len(weights), dtype=bool)
        self._unusable = np.zeros(len(weights), dtype=np.int64)

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms, also those that may not be drawn."""
        return tuple(self._arms)

    @property
    def unusable(self) -> dict[str, int]:
        """Payoffs of each arm that were not finite, and so were not learned from."""
        return dict(zip(self._arms, self._unusable.tolist(), strict=True))

    def restrict(self, arms: Collection[str]) -> None:
        """From now on draw only these. Not saved: whoever restricts says so again after a resume.

        Raises:
            RunFailed: none is left, or one is unknown.
        """
        if not arms:
            raise RunFailed(f"no arm may be drawn: all of {', '.join(self._arms)} are locked")
        allowed = np.zeros(len(self._arms), dtype=bool)
        allowed[[self._index(arm) for arm in arms]] = True
        self._allowed = allowed

    def draw(self, n: int) -> list[str]:
        """The next n arms, with repetition."""
        names = self.arms
        return [names[index] for index in self._rng.choice(len(names), size=n, p=self._probabilities())]

    def observe(self, outcomes: Mapping[str, Outcome]) -> None:
        """Learn from one update. Payoffs that are not finite are counted in `unusable` and left out.

        Raises:
            RunFailed: an unknown arm.
        """
        payoffs = self._rows({arm: outcome.payoffs for arm, outcome in outcomes.items()})
        successes = self._rows({arm: outcome.successes for arm, outcome in outcomes.items()})
        for arm, outcome in outcomes.items():
            self._unusable[self._index(arm)] += sum(not math.isfinite(payoff) for payoff in outcome.payoffs)
        payoffs[~np.isfinite(payoffs)] = np.nan
        self._rule.learn(Seen(payoffs, successes, self._probabilities()))

    def probabilities(self) -> dict[str, float]:
        """How likely each arm is to be the next one drawn; 0 for those that may not be."""
        return dict(zip(self._arms, self._probabilities().tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """{"rule", "weights", "memory", "unusable", "rng"}; plain JSON values."""
        return {
            "rule": type(self._rule).__name__,
            "weights": dict(zip(self._arms, self._weights.tolist(), strict=True)),
            "memory": {name: array.tolist() for name, array in self._rule.memory().items()},
            "unusable": self.unusable,
            "rng": self._rng.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state is of other arms or weights, of another rule, or damaged. Nothing is changed
                then.
        """
        here = self.state_dict()
        same_names("entries", state, here)
        if state["rule"] != here["rule"]:
            raise CheckpointError(_other("followed the rule", state["rule"], here["rule"]))
        same_names("arms", state["weights"], self._arms)
        if state["weights"] != here["weights"]:
            raise CheckpointError(_other("weighed its arms", dict(state["weights"]), here["weights"]))
        same_names("arms", state["unusable"], self._arms)
        unusable = read_array("unusable", [state["unusable"][arm] for arm in self._arms], self._unusable)
        live = self._rule.memory()
        same_names("memory", state["memory"], live)
        memory = {name: read_array(name, state["memory"][name], array) for name, array in live.items()}
        load_generator(self._rng, state["rng"])
        self._unusable = unusable
        for name, array in live.items():
            array[...] = memory[name]

    def _index(self, arm: str) -> int:
        if arm not in self._arms:
            raise RunFailed(one_of("bandit arm", arm, self._arms))
        return self._arms[arm]

    def _probabilities(self) -> np.ndarray:
        return draw_probabilities(self._rule.shares(self._allowed), self._weights, self._allowed, self._floor)

    def _rows(self, values: Mapping[str, Sequence[float]]) -> np.ndarray:
        """[A, M] float: an arm's values in its row, NaN behind them."""
        rows = np.full((len(self._arms), max((len(row) for row in values.values()), default=0)), np.nan)
        for arm, row in values.items():
            rows[self._index(arm), : len(row)] = row
        return rows


def _other(did: str, saved: object, here: object) -> str:
    remedy = "resume with the recipe that the run was started with"
    return f"the saved curriculum {did} {saved}, here it is {here}; {remedy}"
