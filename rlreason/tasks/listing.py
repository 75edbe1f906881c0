"""What the task types offer, for `rlreason tasks`: parameters, cells, levels, and what a guesser gets.

Each type is built as it shows itself (`Task.shown_as`) and asked; nothing is measured. How a recipe's own task is
looked at is `rlreason sample`'s and `rlreason difficulty`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlreason.errors import TaskError
from rlreason.tasks.contract import Cell, Task
from rlreason.tasks.registry import build_task


@dataclass(frozen=True, slots=True)
class LevelOdds:
    """What a cell is at one level.

    Attributes:
        chance: probability that a guesser who knows the form of the answer is right.
        answer_space: about how many answers are left to somebody who cannot solve it; None where the task does not say.
    """

    chance: float
    answer_space: float | None


@dataclass(frozen=True, slots=True)
class ShownCell:
    """A cell and the levels it has.

    Attributes:
        settings: the parameters that it needs, beside the defaults.
        levels: level -> its odds; only the levels at which the cell has problems.
    """

    name: str
    family: str
    difficulty: int
    prerequisites: tuple[str, ...]
    settings: Mapping[str, Any]
    levels: Mapping[str, LevelOdds]


@dataclass(frozen=True, slots=True)
class ShownType:
    """A task type.

    Attributes:
        description: the first line of its docstring.
        parameters: JSON schema of its parameters: types, defaults, ranges and meanings.
        levels: of all its cells, "train" first.
        cells: easiest of each family first; none where it cannot be built from its defaults, which `without` explains.
        without: why there are no cells; "" where there are.
    """

    type: str
    description: str
    parameters: Mapping[str, Any]
    levels: tuple[str, ...]
    cells: tuple[ShownCell, ...]
    without: str

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def shown_tasks(name: str, kind: type[Task]) -> list[tuple[Mapping[str, Any], Task]]:
    """(settings, task) for every way in which a type shows itself.

    Raises:
        TaskError: it cannot be built so: a parameter has no default, or a package that it needs is not installed.
    """
    return [(settings, build_task(name, name, settings)) for settings in kind.shown_as]


def show_type(name: str, kind: type[Task]) -> ShownType:
    """Everything about a type that can be said without a recipe."""
    without = ""
    tasks: list[tuple[Mapping[str, Any], Task]] = []
    try:
        tasks = shown_tasks(name, kind)
    except TaskError as error:
        without = str(error)
    return ShownType(
        type=name,
        description=(kind.__doc__ or "").strip().partition("\n")[0],
        parameters=kind.Parameters.model_json_schema(),
        levels=tuple(dict.fromkeys(level for _, task in tasks for level in task.levels)),
        cells=tuple(_show_cell(task, cell, settings) for settings, task in tasks for cell in task.cells),
        without=without,
    )


def _show_cell(task: Task, cell: Cell, settings: Mapping[str, Any]) -> ShownCell:
    levels: dict[str, LevelOdds] = {}
    for level in task.levels:
        try:
            levels[level] = LevelOdds(task.chance(level, cell.name), task.answer_space(level, cell.name))
        except TaskError:  # the cell has no such level
            continue
    return ShownCell(cell.name, cell.family, cell.difficulty, cell.prerequisites, dict(settings), levels)
