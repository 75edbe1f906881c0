"""Turns a curriculum's draws into problems: which cell is the curriculum's choice, which problem of it is the next.

Each problem of an arm is used once, in the order 0, 1, 2, ...; tasks make problems without end, so nothing runs out
and nothing is stored but one count an arm. A source may be held to its first few, which then come again. What the
problems then pay is told to `scheduler.curriculum`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rlreason.curriculum.contract import MakeCurriculum, bandit_arm
from rlreason.curriculum.state import same_names
from rlreason.curriculum.uniform import UniformCurriculum
from rlreason.errors import CheckpointError, TaskError, one_of
from rlreason.tasks.contract import Cell, Task
from rlreason.types import Problem


@dataclass(frozen=True, slots=True)
class Source:
    """Where problems come from: a problem entry of a stage's `data`.

    Attributes:
        task: the recipe's name of the task.
        cells: shell-style patterns of its cells; those that match share the weight equally.
        level: the split.
        weight: share of the problems, relative to the other sources.
        problems: how many of each cell are used, over and over; None: no end.
    """

    task: str
    cells: tuple[str, ...]
    level: str = "train"
    weight: float = 1.0
    problems: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The cell that a bandit arm stands for, the arm's share of the draws relative to the others, and how many problems
    it has (None: no end)."""

    task: str
    level: str
    cell: Cell
    weight: float
    problems: int | None = None


def places(tasks: Mapping[str, Task], sources: Sequence[Source]) -> dict[str, Place]:
    """Bandit arm -> its place, for every cell that the sources match.

    Args:
        tasks: the recipe's name of a task -> the task.
        sources: at least one; an arm that several of them match gets the sum of their weights.
    Raises:
        TaskError: an unknown task or level, a pattern that matches no cell, or sources that match an arm and give it
            different numbers of problems.
    """
    found: dict[str, Place] = {}
    for source in sources:
        if source.task not in tasks:
            raise TaskError(one_of("task", source.task, tasks))
        task = tasks[source.task]
        if source.level not in task.levels:
            raise TaskError(one_of(f"level of task {source.task!r}", source.level, task.levels))
        cells = task.match_cells(source.cells)
        for cell in cells:
            arm = bandit_arm(source.task, source.level, cell.name)
            place = found.get(arm, Place(source.task, source.level, cell, 0.0, source.problems))
            if place.problems != source.problems:
                raise TaskError(
                    f"entries that ask {arm} have problems {place.problems} and {source.problems}; give all the same"
                )
            found[arm] = replace(place, weight=place.weight + source.weight / len(cells))
    return found


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
            tasks, sources: as `places` takes them.
            rng: the source of all draws, saved with the curriculum's state.
            make_curriculum: builds the curriculum from weighted arms and `rng`.
        Raises:
            TaskError: an unknown task or level, or a pattern that matches no cell.
            RecipeError: a weight that is not positive and finite, or parameters that the curriculum refuses.
        """
        self._tasks = dict(tasks)
        self._places = places(tasks, sources)
        self.curriculum = make_curriculum({arm: place.weight for arm, place in self._places.items()}, rng)
        self._used = dict.fromkeys(self._places, 0)

    @property
    def arms(self) -> tuple[str, ...]:
        """All bandit arms."""
        return tuple(self._places)

    def next(self, n: int) -> list[Problem]:
        """The next n problems.

        Raises:
            TaskError: a cell that was drawn has no problems at its level.
        """
        problems = []
        for arm in self.curriculum.draw(n):
            place = self._places[arm]
            index = self._used[arm] if place.problems is None else self._used[arm] % place.problems
            problems.append(self._tasks[place.task].problem(place.level, place.cell.name, index))
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
