"""The mastery gate: a composite arm is locked until everything it is made of is mastered.

Mastery is judged from success alone, so it is the same whatever the bandit is paid. `Mastery` is the pure part, over
arrays; `Gate` gives its arms names and a saved state; `Gated` is a curriculum behind a gate. What an arm's
prerequisites are, the task declares.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from statistics import NormalDist
from typing import Any

import numpy as np

from rlreason.curriculum.bandit import BanditCurriculum
from rlreason.curriculum.contract import Outcome
from rlreason.curriculum.rules import refuse_unless
from rlreason.curriculum.state import read_array, same_names
from rlreason.curriculum.window import Window
from rlreason.errors import CheckpointError, RecipeError, RunFailed, one_of


def wilson_lower(share: np.ndarray, n: np.ndarray, confidence: float) -> np.ndarray:
    """One-sided lower bound of a proportion (Wilson's score interval).

    Args:
        share: [...] float in [0, 1], the proportion seen.
        n: [...] int, of how many; 0 gives the bound 0.
        confidence: probability, in (0, 1), that the truth is above the bound.
    Returns:
        [...] float in [0, 1].
    """
    z = NormalDist().inv_cdf(confidence)
    count = np.maximum(n, 1)
    spread = z * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    bound = (share + z**2 / (2 * count) - spread) / (1 + z**2 / count)
    return np.where(n > 0, np.clip(bound, 0.0, 1.0), 0.0)


class Mastery:
    """Which arms are mastered: the lower bound of success over the last problems reached the threshold once.

    An arm that was mastered stays so. Success falls by chance and by forgetting; locking its composites again would
    make the draws swing, and what is forgotten stays unlocked itself, where the bandit can see it and draw it.

    The unit is the problem, with the share of its rollouts that were right: rollouts of one problem succeed or fail
    together, and counted singly they would promise more certainty than there is.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        needs: np.ndarray,
        *,
        threshold: float = 0.6,
        window: int = 32,
        confidence: float = 0.9,
    ) -> None:
        """
        Args:
            shape: [..., A], as a rule's.
            needs: [A, A] bool, needs[a, b]: arm a stays locked until b is mastered.
            threshold: success, in (0, 1), that the bound has to reach.
            window: problems of an arm that it looks back on, at least 1.
            confidence: of the bound, in (0, 1).
        Raises:
            RecipeError: a parameter out of its range, or a threshold that a full window of successes cannot reach.
        """
        refuse_unless(0 < threshold < 1, "threshold", threshold, "in (0, 1)", "it is a share of rollouts; try 0.6")
        refuse_unless(window >= 1, "window", window, "at least 1", "it counts problems; try 32")
        refuse_unless(0 < confidence < 1, "confidence", confidence, "in (0, 1)", "try 0.9")
        reach = float(wilson_lower(np.ones(()), np.array(window), confidence))
        remedy = f"a full window of {window} problems, all solved, proves {reach:.3f}; lower it or widen the window"
        refuse_unless(threshold <= reach, "threshold", threshold, "within reach", remedy)
        self._needs, self._threshold, self._confidence = needs, threshold, confidence
        self._window = Window(shape, window)
        self._mastered = np.zeros(shape, dtype=np.int64)

    @property
    def mastered(self) -> np.ndarray:
        """[..., A] bool."""
        return self._mastered > 0

    def bounds(self) -> np.ndarray:
        """[..., A] lower bound of each arm's success; 0 where none was judged yet."""
        return wilson_lower(self._window.mean(), self._window.count, self._confidence)

    def unlocked(self) -> np.ndarray:
        """[..., A] bool: everything the arm needs is mastered."""
        return ~(self._needs & ~self.mastered[..., None, :]).any(axis=-1)

    def observe(self, successes: np.ndarray) -> None:
        """Take in an update. `successes`: [..., A, M], share of each problem's rollouts right; NaN where none."""
        self._window.push(successes)
        self._mastered |= self.bounds() >= self._threshold

    def memory(self) -> dict[str, np.ndarray]:
        """The live arrays; who writes into them restores a state."""
        return {"mastered": self._mastered, **self._window.memory()}


class Gate:
    """Mastery of named arms."""

    def __init__(
        self,
        prerequisites: Mapping[str, Collection[str]],
        *,
        mastered: Collection[str] = (),
        threshold: float = 0.6,
        window: int = 32,
        confidence: float = 0.9,
    ) -> None:
        """
        Args:
            prerequisites: every arm that is trained -> arms that have to be mastered before it may be drawn.
            mastered: prerequisites that are known already (supervised training taught them) and are not trained here.
            threshold, window, confidence: as in `Mastery`.
        Raises:
            RecipeError: a cycle (named), a prerequisite that is neither trained nor said to be mastered, or a parameter
                out of its range.
        """
        arms = tuple(prerequisites)
        known = {*arms, *mastered}
        for arm, needed in prerequisites.items():
            for name in needed:
                if name not in known:
                    raise RecipeError(
                        f"{arm!r} needs {name!r}, which is not trained here, so it could never be unlocked: "
                        f"{one_of('prerequisite', name, sorted(known))}; train it too, or list it as mastered"
                    )
        _refuse_cycles(prerequisites)
        self._arms = arms
        # what is mastered beforehand locks nothing, so it needs no place in the arrays
        asked = {arm: set(needed) - set(mastered) for arm, needed in prerequisites.items()}
        needs = np.array([[name in asked[arm] for name in arms] for arm in arms], dtype=bool).reshape(2 * (len(arms),))
        self._mastery = Mastery((len(arms),), needs, threshold=threshold, window=window, confidence=confidence)

    @property
    def mastered(self) -> dict[str, bool]:
        """Whether each arm was ever mastered."""
        return dict(zip(self._arms, self._mastery.mastered.tolist(), strict=True))

    def bounds(self) -> dict[str, float]:
        """Lower bound of each arm's success over its window."""
        return dict(zip(self._arms, self._mastery.bounds().tolist(), strict=True))

    def unlocked(self) -> list[str]:
        """Arms that may be drawn. Never empty: a graph without cycles has an arm that needs none."""
        return [arm for arm, open_now in zip(self._arms, self._mastery.unlocked(), strict=True) if open_now]

    def observe(self, outcomes: Mapping[str, Outcome]) -> None:
        """Take in the successes of one update.

        Raises:
            RunFailed: an unknown arm.
        """
        rows = np.full((len(self._arms), max((len(o.successes) for o in outcomes.values()), default=0)), np.nan)
        for arm, outcome in outcomes.items():
            if arm not in self._arms:
                raise RunFailed(one_of("bandit arm", arm, self._arms))
            rows[self._arms.index(arm), : len(outcome.successes)] = outcome.successes
        self._mastery.observe(rows)

    def state_dict(self) -> dict[str, Any]:
        """{"arms", "memory"}; plain JSON values."""
        memory = {name: array.tolist() for name, array in self._mastery.memory().items()}
        return {"arms": list(self._arms), "memory": memory}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state is of other arms or another window, or damaged. Nothing is changed then.
        """
        same_names("entries", state, ("arms", "memory"))
        same_names("arms", state["arms"], self._arms)
        live = self._mastery.memory()
        same_names("memory", state["memory"], live)
        order = [state["arms"].index(arm) for arm in self._arms]
        memory = {name: read_array(name, state["memory"][name], array) for name, array in live.items()}
        for name, array in live.items():
            array[...] = memory[name][order]


class Gated:
    """A curriculum that draws only what its gate has unlocked."""

    def __init__(self, curriculum: BanditCurriculum, gate: Gate) -> None:
        """
        Args:
            curriculum: its arms are those of the gate.
            gate: says what may be drawn; it observes what the curriculum does.
        """
        self.curriculum, self.gate = curriculum, gate
        curriculum.restrict(gate.unlocked())

    def draw(self, n: int) -> list[str]:
        """The next n arms, with repetition; none is locked."""
        return self.curriculum.draw(n)

    def observe(self, outcomes: Mapping[str, Outcome]) -> None:
        """Learn from one update; what it shows to be mastered unlocks what was waiting for it.

        Raises:
            RunFailed: an unknown arm.
        """
        self.curriculum.observe(outcomes)
        self.gate.observe(outcomes)
        self.curriculum.restrict(self.gate.unlocked())

    def probabilities(self) -> dict[str, float]:
        """How likely each arm is to be the next one drawn; 0 where locked."""
        return self.curriculum.probabilities()

    def state_dict(self) -> dict[str, Any]:
        """{"curriculum", "gate"}: their own states."""
        return {"curriculum": self.curriculum.state_dict(), "gate": self.gate.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state is of other arms or of another kind. Nothing is changed then.
        """
        same_names("entries", state, ("curriculum", "gate"))
        before = self.gate.state_dict()
        self.gate.load_state_dict(state["gate"])
        try:
            self.curriculum.load_state_dict(state["curriculum"])
        except CheckpointError:
            self.gate.load_state_dict(before)
            raise
        self.curriculum.restrict(self.gate.unlocked())


def _refuse_cycles(prerequisites: Mapping[str, Collection[str]]) -> None:
    try:
        TopologicalSorter(prerequisites).prepare()
    except CycleError as error:
        # graphlib lists a cycle in the order in which each comes before the next
        cycle = " needs ".join(repr(arm) for arm in reversed(error.args[1]))
        raise RecipeError(f"prerequisites form a cycle: {cycle}; nothing in it could ever be unlocked") from error
