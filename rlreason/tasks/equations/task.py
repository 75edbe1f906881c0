"""From a family's draws to problems of levels and cells: the part that every family of equations shares.

A family draws questions (`draw`) and executes left sides (`execute`). Which level a drawn question belongs to is
decided here, by a stable hash of its expression: train, validation and iid never share one. zero_shot is the family's
to draw: questions with a part that no question of the other levels has.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from rlreason.errors import TaskError, one_of
from rlreason.tasks.complementary.paths import stable_share
from rlreason.tasks.contract import Cell, Task
from rlreason.tasks.equations.checker import Checker, Execution
from rlreason.tasks.equations.statements import Question
from rlreason.types import DerivationCheck, Problem

ZERO_SHOT = "zero_shot"
LEVELS: tuple[str, ...] = ("train", "validation", "iid", ZERO_SHOT)
_DRAWS = 10_000
"""Draws after which a level counts as empty; a level with one question in a thousand draws is found."""

Share = Annotated[float, Field(ge=0, lt=1)]


class EquationParameters(BaseModel):
    """What a recipe may say about any of these tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    world_seed: NonNegativeInt = 0
    """Decides splits and problems; a recipe's training seeds do not."""
    validation_share: Share = 0.05
    """Share of the questions kept from training, for validation."""
    iid_share: Share = 0.1
    """Share of the questions kept from training, for iid."""

    @model_validator(mode="after")
    def _some_questions_left(self) -> EquationParameters:
        if self.validation_share + self.iid_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share} + iid_share {self.iid_share} leave no questions for "
                "training; their sum must be below 1"
            )
        return self


class EquationTask(Task):
    """A task whose derivations are equations.

    A subclass sets its own state, then calls `require_training` at the end of its construction.
    """

    parameters: EquationParameters

    def __init__(self, name: str, parameters: EquationParameters) -> None:
        super().__init__(name, parameters)
        self._salt = str(parameters.world_seed)
        self._checker = Checker(self.execute)

    @abstractmethod
    def draw(self, cell: Cell, held_out: bool, rng: random.Random) -> Question | None:
        """A question of a cell; None where the draw came to nothing (draw again).

        Args:
            held_out: True: with a part that training never has; False: without.
        """

    @abstractmethod
    def execute(self, left: str) -> Execution | None:
        """See `equations.checker.Execute`."""

    @abstractmethod
    def remedy(self, level: str, cell: Cell) -> str:
        """What to change where a level of a cell has no questions, for an error message."""

    def why_no_zero_shot(self, cell: Cell) -> str:
        """Why a cell has no zero_shot questions; empty where it has."""
        return ""

    @property
    def levels(self) -> tuple[str, ...]:
        """See `Task.levels`."""
        return LEVELS

    def problem(self, level: str, cell: str, index: int) -> Problem:
        """See `Task.problem`. `detail` holds given and equations, as [left, right], for the checker."""
        where = self.require(level, cell)
        question = self._question(level, where, random.Random(f"{self._salt}/{level}/{cell}/{index}"))
        return Problem(
            id=f"{level}/{cell.replace('/', '-')}/{index}",
            task=self.name,
            cell=cell,
            level=level,
            prompt=question.prompt,
            answer=question.answer,
            target=question.target,
            detail={
                "given": list(question.given),
                "equations": [[line.left, line.right] for line in question.equations],
            },
        )

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """See `Task.check`."""
        return self._checker.check(problem, text)

    def answer_space(self, level: str, cell: str) -> float:
        """See `Task.answer_space`: as many answers as `chance` guesses among."""
        return 1.0 / self.chance(level, cell)

    def require(self, level: str, cell: str) -> Cell:
        """The cell of that name.

        Raises:
            TaskError: it is unknown, or it has no such level.
        """
        if level not in LEVELS:
            raise TaskError(one_of(f"level of task {self.name!r}", level, LEVELS))
        cells = {cell.name: cell for cell in self.cells}
        if cell not in cells:
            raise TaskError(one_of(f"cell of task {self.name!r}", cell, cells))
        reason = self.why_no_zero_shot(cells[cell]) if level == ZERO_SHOT else ""
        if reason:
            raise TaskError(f"task {self.name!r}: cell {cell!r} has no level 'zero_shot': {reason}")
        return cells[cell]

    def require_training(self) -> None:
        """
        Raises:
            TaskError: a cell has no training question.
        """
        for cell in self.cells:
            self.problem("train", cell.name, 0)

    def _question(self, level: str, cell: Cell, rng: random.Random) -> Question:
        for _ in range(_DRAWS):
            question = self.draw(cell, level == ZERO_SHOT, rng)
            if question is not None and level in (ZERO_SHOT, self._bucket(question)):
                return question
        raise TaskError(
            f"task {self.name!r}: cell {cell.name!r} has no problem at level {level!r} ({_DRAWS} draws found none); "
            f"{self._remedy(level, cell)}"
        )

    def _bucket(self, question: Question) -> str:
        """The level of a question without held-out parts."""
        share = stable_share(self._salt, question.expression)
        if share < self.parameters.validation_share:
            return "validation"
        return "iid" if share < self.parameters.validation_share + self.parameters.iid_share else "train"

    def _remedy(self, level: str, cell: Cell) -> str:
        share = {"validation": self.parameters.validation_share, "iid": self.parameters.iid_share}.get(level)
        return self.remedy(level, cell) if share is None else f"raise {level}_share (now {share})"


def chain_of_cells(family: str, sizes: tuple[int, ...], first: tuple[str, ...] = ()) -> tuple[Cell, ...]:
    """One cell a size, each with `first` and the next smaller cell as prerequisites."""
    cells: list[Cell] = []
    for size in sorted(sizes):
        smaller = (cells[-1].name,) if cells else ()
        cells.append(Cell(f"{family}/{size}", family, size, (*first, *smaller)))
    return tuple(cells)
