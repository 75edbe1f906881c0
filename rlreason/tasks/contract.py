"""The contract every task family keeps, so that stages, rewards, curricula and reports need to know none of them.

Problems are seeded and stateless: `task.problem(level, cell, i)` is the same problem on every machine and in any
order, so nothing is stored and any worker can make any problem. What a policy is asked (`Problem.prompt`), what
supervised training teaches (`Problem.target`) and what is right (`Task.check`) all come from here. Rewards, sampling
and training do not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from pydantic import BaseModel

from rlreason.errors import TaskError, one_of
from rlreason.tasks.environment import Environment
from rlreason.types import DerivationCheck, Problem


@dataclass(frozen=True, slots=True)
class Cell:
    """A difficulty cell: the unit that data mixtures name and that a curriculum schedules.

    Attributes:
        name: "family/difficulty", such as "complementary/2".
        family: the part before the slash.
        difficulty: larger is harder; for complementary reasoning the number of hops.
        prerequisites: names of cells whose skills this one composes (atomic cells have none).
    """

    name: str
    family: str
    difficulty: int
    prerequisites: tuple[str, ...] = ()


ParametersType = type[BaseModel]
"""Named here because inside `Task` the word `type` is the task's type."""


class Task(ABC):
    """A family of problems with levels (splits) and cells (difficulties), and a checker of derivations.

    A subclass is made from its pydantic `Parameters` alone; everything it holds follows from them, so that a worker
    process rebuilds the same task from `{"type": ..., **parameters}`.
    """

    type: ClassVar[str]
    Parameters: ClassVar[ParametersType]
    paths: ClassVar[tuple[str, ...]] = ()
    """Parameters that name files or folders: a path, or a list or mapping of paths. Whoever builds the task resolves
    them first, and their content counts in the identity of stages."""
    shown_as: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    """Parameters under which listings and benchmarks show the type: one entry where the defaults say it all, several
    where one parameter chooses among families."""

    def __init__(self, name: str, parameters: Any) -> None:
        """`name` is what the recipe calls it; `parameters` is an instance of `Parameters`."""
        self.name = name
        self.parameters = parameters

    @property
    @abstractmethod
    def levels(self) -> tuple[str, ...]:
        """Names of the splits, "train" first."""

    @property
    @abstractmethod
    def cells(self) -> tuple[Cell, ...]:
        """All cells, atomic first."""

    @abstractmethod
    def problem(self, level: str, cell: str, index: int) -> Problem:
        """Problem `index` (0, 1, 2, ... without end) of a cell at a level: a pure function of the parameters.

        Raises:
            TaskError: the level or cell is unknown, or has no problems (the held-out set is empty there).
        """

    @abstractmethod
    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """Judge a completion step by step. Never raises on hostile text, and never evaluates it."""

    @property
    def max_turns(self) -> int:
        """Turns of the policy in an episode, at most. 1: the task is asked and answered, and has no environment."""
        return 1

    def environment(self, problem: Problem) -> Environment:
        """A new episode of a problem, for tasks of several turns; their `check` judges a text that was not played."""
        raise TaskError(f"task {self.name!r} (type {self.type}) has one turn and no environment")

    @property
    def has_texts(self) -> bool:
        """Whether `text` exists for this task."""
        return False

    def text(self, index: int) -> str:
        """Plain text `index` (0, 1, 2, ... without end), such as a biography, for next-token training."""
        raise TaskError(f"task {self.name!r} (type {self.type}) has no plain texts; drop `texts: true`")

    @abstractmethod
    def words(self) -> Sequence[str]:
        """Every word and punctuation mark its texts are made of, for a word-level tokenizer. Order is stable."""

    @abstractmethod
    def chance(self, level: str, cell: str) -> float:
        """Probability that a guesser who knows the form of the answer is right."""

    def trained_paths(self, cell: str) -> frozenset[tuple[str, ...]] | None:
        """Sequences of operations, as in the "path" of `Problem.detail`, that training problems of a cell ask for. None
        where problems have no path, or the cell has too many to list. Reports tell by them who repeats a trained one.
        """
        return None

    def answer_space(self, level: str, cell: str) -> float | None:
        """About how many answers a problem of the cell leaves open to somebody who reads it and cannot solve it; None
        where the task does not say. In a small space, who samples often enough hits the answer without reasons."""
        return None

    def match_cells(self, patterns: Sequence[str], where: str = "") -> tuple[Cell, ...]:
        """Cells whose names match any of the shell-style patterns, in the task's order.

        Raises:
            TaskError: a pattern matches nothing; names the cells there are.
        """
        names = [cell.name for cell in self.cells]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise TaskError(one_of(f"cell of task {self.name!r}", pattern, names, where))
        return tuple(cell for cell in self.cells if any(fnmatchcase(cell.name, pattern) for pattern in patterns))
