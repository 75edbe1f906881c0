"""The schedule of an `rl` stage: from the recipe's words to problems, and back from their rollouts to the curriculum.

What is drawn, what it pays and what unlocks it are the curriculum room's; here it is put together for a stage, saved as
one piece, and written down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from rlreason.curriculum.contract import Curriculum, MakeCurriculum, Outcome, bandit_arm
from rlreason.curriculum.gate import Gate, Gated
from rlreason.curriculum.outcomes import Payer, arm_of
from rlreason.curriculum.policies import make_curriculum
from rlreason.curriculum.scheduler import Place, ProblemScheduler, Source, places
from rlreason.curriculum.state import same_names
from rlreason.errors import RecipeError, one_of
from rlreason.recipe.curricula import PLANNED_CURRICULA, PaidCurriculum
from rlreason.recipe.curricula import Gate as GateConfig
from rlreason.recipe.schema import Recipe
from rlreason.recipe.stages import Mixture, OnPolicy
from rlreason.tasks.contract import Task
from rlreason.types import Group, Problem


class Schedule:
    """The problems of one stage, the curriculum that chooses them, and what it is paid."""

    def __init__(self, tasks: Mapping[str, Task], config: OnPolicy, rng: np.random.Generator) -> None:
        """
        Args:
            tasks: the recipe's name of a task -> the task.
            config: the stage's section; its `data` and `curriculum` are read.
            rng: the source of all draws.
        Raises:
            TaskError: the data names what there is not.
            RecipeError: the curriculum's parameters, or its gate's, cannot be.
        """
        sources = sources_of(tasks, config.data)
        arms = places(tasks, sources)
        self._scheduler = ProblemScheduler(tasks, sources, rng, _maker(config, arms, tasks))
        said = config.curriculum
        # the other rules look at success or at nothing; their payoff is only written down
        payoff = said.payoff if isinstance(said, PaidCurriculum) else "advantage"
        self._payer = Payer(payoff, self._scheduler.arms)
        self._probabilities = self._curriculum.probabilities()

    @property
    def _curriculum(self) -> Curriculum:
        return self._scheduler.curriculum

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Bandit arm -> probability with which the newest problems were drawn."""
        return self._probabilities

    def next(self, n: int) -> list[Problem]:
        """The next n problems."""
        self._probabilities = self._curriculum.probabilities()
        return self._scheduler.next(n)

    def observe(
        self,
        groups: Sequence[Group],
        rewards: np.ndarray,
        advantages: np.ndarray,
        scored: np.ndarray,
        probabilities: Mapping[str, float] | None = None,
    ) -> dict[str, list[Any]]:
        """Tell the curriculum what an update showed, and say what it knew and learned.

        Args:
            groups: P scored groups; of whichever update they were drawn in.
            rewards, advantages: [P, G] float. scored: [P, G] bool.
            probabilities: those with which the groups' problems were drawn; None: the newest.
        Returns:
            One row a bandit arm, as columns of the table `curriculum` but for stage and update.
        """
        outcomes = self._payer.outcomes(groups, rewards, advantages, scored)
        self._curriculum.observe(outcomes)
        probabilities = self._probabilities if probabilities is None else probabilities
        arms = self._scheduler.arms
        drawn = Counter(arm_of(group.problem) for group in groups)
        lost: Counter[str] = Counter()
        for group, own in zip(groups, scored, strict=True):
            lost[arm_of(group.problem)] += int((~own).sum())
        gate = self._curriculum.gate if isinstance(self._curriculum, Gated) else None
        unlocked = set(gate.unlocked()) if gate else set(arms)
        return {
            "arm": list(arms),
            "probability": [probabilities[arm] for arm in arms],
            "drawn": [drawn[arm] for arm in arms],
            "unscored": [lost[arm] for arm in arms],
            "payoff": [_mean(outcomes.get(arm), "payoffs") for arm in arms],
            "success": [_mean(outcomes.get(arm), "successes") for arm in arms],
            "mastered": [gate.mastered[arm] if gate else None for arm in arms],
            "unlocked": [arm in unlocked for arm in arms],
        }

    def state_dict(self) -> dict[str, Any]:
        """{"scheduler", "payer"}; plain JSON values."""
        return {"scheduler": self._scheduler.state_dict(), "payer": self._payer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state is of another schedule, or damaged.
        """
        same_names("entries", state, ("scheduler", "payer"))
        self._scheduler.load_state_dict(state["scheduler"])
        self._payer.load_state_dict(state["payer"])


def sources_of(tasks: Mapping[str, Task], data: Sequence[Mixture]) -> list[Source]:
    """The recipe's entries of problems as a scheduler takes them."""
    only = next(iter(tasks))
    return [Source(entry.task or only, entry.cells, entry.level, entry.weight, entry.problems) for entry in data]


def _maker(config: OnPolicy, arms: Mapping[str, Place], tasks: Mapping[str, Task]) -> MakeCurriculum:
    said = config.curriculum
    parameters = said.model_dump(exclude={"type", "floor", "gate", "payoff"})
    if isinstance(said, PLANNED_CURRICULA):
        parameters["updates"] = config.updates
    difficulties = {arm: place.cell.difficulty for arm, place in arms.items()}
    bandit = make_curriculum(said.type, difficulties=difficulties, floor=said.floor, **parameters)
    gate = _gate(said.gate, arms, tasks) if said.gate else None

    def make(weights: Mapping[str, float], rng: np.random.Generator) -> Curriculum:
        return Gated(bandit(weights, rng), gate) if gate else bandit(weights, rng)

    return make


def _gate(said: GateConfig, arms: Mapping[str, Place], tasks: Mapping[str, Task]) -> Gate:
    return Gate(
        prerequisites(arms),
        mastered=mastered_before(arms, tasks, said.mastered),
        threshold=said.threshold,
        window=said.window,
        confidence=said.confidence,
    )


def gates(recipe: Recipe, tasks: Mapping[str, Task]) -> dict[str, list[tuple[str, str]]]:
    """Stage with a gate -> (cell, the cells that unlock it) of each cell that it trains; "" where it is open at once.

    Several tasks' cells stand under their bandit arms' names, one task's under their own.
    """

    def shown(arm: str) -> str:
        return arm if len(tasks) > 1 else arm.rpartition(":")[2]

    found = {}
    for name, stage in recipe.stages.items():
        if isinstance(stage, OnPolicy) and stage.curriculum.gate:
            arms = places(tasks, sources_of(tasks, stage.data))
            known = mastered_before(arms, tasks, stage.curriculum.gate.mastered)
            found[name] = [
                (shown(arm), ", ".join(shown(each) for each in needs if each not in known))
                for arm, needs in prerequisites(arms).items()
            ]
    return found


def prerequisites(arms: Mapping[str, Place]) -> dict[str, list[str]]:
    """Bandit arm -> the arms of the cells that it composes, at its own level."""
    return {
        arm: [bandit_arm(place.task, place.level, name) for name in place.cell.prerequisites]
        for arm, place in arms.items()
    }


def mastered_before(arms: Mapping[str, Place], tasks: Mapping[str, Task], patterns: Sequence[str]) -> set[str]:
    """Bandit arms of the cells that the recipe says an earlier stage taught.

    Raises:
        RecipeError: a pattern matches no cell of any task.
    """
    known = set()
    for pattern in patterns:
        cells = [cell.name for task in tasks.values() for cell in task.cells]
        if not any(fnmatchcase(cell, pattern) for cell in cells):
            raise RecipeError(one_of("cell", pattern, cells, "curriculum.gate.mastered"))
        for place in arms.values():
            for cell in tasks[place.task].cells:
                if fnmatchcase(cell.name, pattern):
                    known.add(bandit_arm(place.task, place.level, cell.name))
    return known


def _mean(outcome: Outcome | None, what: str) -> float | None:
    """Mean of the problems' values; None where the arm was not drawn, or none could be computed."""
    values = np.array(getattr(outcome, what) if outcome else [])
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else None
