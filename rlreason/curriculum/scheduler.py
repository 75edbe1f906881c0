"""Turns a curriculum's draws into problems: which cell is the curriculum's choice, which problem of it is the next.

Each problem of an arm is used once, in the order 0, 1, 2, ...; tasks make problems without end, so nothing runs out
and nothing is stored but one count an arm. What the problems then pay is told to `scheduler.curriculum`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlreason.curriculum.contract import MakeCurriculum, bandit_arm
from rlreason.curriculum.state import same_names
from rlreason.curriculum.uniform import UniformCurriculum
from rlreason.errors import CheckpointError, TaskError, one_of
from rlreason.tasks.contract import Task
from rlreason.types import Problem


@dataclass(frozen=True, slots=True)
class Source:
    """Where problems come from: a problem entry of a stage's `data`.

    Attributes:
        task: the recipe's name of the task.
        cells: shell-style patterns of its cells; those that match share the weight equally.
        level: the split.
        weight: share of the problems, relative to the other sources.
    """

    task: str
    cells: tuple[str, ...]
    level: str = "train"
    weight: float = 1.0


class ProblemScheduler:
    """The endless sequence of training problems of one stage."""

    def __init__(
        self,
        tasks: Mapping[str, Task],
        sources: Sequence[Source],
        rng: np.random.Generator,
        make_curriculum: MakeCurriculum = UniformCurriculum,
    ) -> None:
        """
        Args:
            tasks: the recipe's name of a task -> the task.
            sources: at least one; an arm that several of them match gets the sum of their weights.
            rng: the source of all draws, saved with the curriculum's state.
            make_curriculum: builds the curriculum from weighted arms and `rng`.
        Raises:
            TaskError: an unknown task or level, or a pattern that matches no cell.
            RecipeError: a weight that is not positive and finite.
        """
        self._tasks = dict(tasks)
        self._places: dict[str, tuple[str, str, str]] = {}
        weights: dict[str, float] = {}
        for source in sources:
            if source.task not in self._tasks:
                raise TaskError(one_of("task", source.task, self._tasks))
            task = self._tasks[source.task]
            if source.level not in task.levels:
                raise TaskError(one_of(f"level of task {source.task!r}", source.level, task.levels))
            cells = task.match_cells(source.cells)
            for cell in cells:
                arm = bandit_arm(source.task, source.level, cell.name)
                self._places[arm] = (source.task, source.level, cell.name)
                weights[arm] = weights.get(arm, 0.0) + source.weight / len(cells)
        self.curriculum = make_curriculum(weights, rng)
        self._used = dict.fromkeys(weights, 0)

    def next(self, n: int) -> list[Problem]:
        """The next n problems.

        Raises:
            TaskError: a cell that was drawn has no problems at its level.
        """
        problems = []
        for arm in self.curriculum.draw(n):
            task, level, cell = self._places[arm]
            problems.append(self._tasks[task].problem(level, cell, self._used[arm]))
            self._used[arm] += 1
        return problems

    def state_dict(self) -> dict[str, Any]:
        """{"used": problems used of each arm, "curriculum": its own state}; plain JSON values."""
        return {"used": dict(self._used), "curriculum": self.curriculum.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken: the next draws are the same.

        Raises:
            CheckpointError: the state is of other arms, or damaged. Nothing is changed then.
        """
        same_names("entries", state, ("used", "curriculum"))
        same_names("arms", state["used"], self._used)
        for arm, count in state["used"].items():
            if type(count) is not int or count < 0:
                raise CheckpointError(f"the saved curriculum has used {count!r} problems of {arm!r}: not a count")
        self.curriculum.load_state_dict(state["curriculum"])
        self._used = dict(state["used"])
