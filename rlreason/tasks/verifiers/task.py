"""An installed `verifiers` environment as a task: its rows are the problems, its rewards the verdict.

Rows have no gold derivation and no difficulty: there is one cell, steps are not checked, and what the environment pays
goes into `DerivationCheck.reward` with its parts, for `rlreason.rewards.builtin:environment`. Everything that needs the
library is in `packages` and `playing`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from rlreason.errors import TaskError, one_of
from rlreason.tasks.contract import Cell, Task
from rlreason.tasks.environment import Environment
from rlreason.types import DerivationCheck, Problem

if TYPE_CHECKING:
    from rlreason.tasks.verifiers.packages import Opened

LEVELS = ("train", "test")
_WORD = re.compile(r"\w+|[^\w\s]")
_ROWS_FOR_WORDS = 1_000


class VerifiersParameters(BaseModel):
    """Parameters of the `verifiers` task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    environment: str = Field(min_length=1)
    """Name of an installed environment package, as `vf-eval` takes it."""
    arguments: dict[str, Any] = {}
    """Settings of its taskset, as `vf-eval --env.taskset.KEY` takes them."""
    test_arguments: dict[str, Any] | None = None
    """Settings that make the rows of level test, over `arguments`, such as {split: test}; null: `test_share` of the
    rows is held out."""
    test_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the rows held out as level test where `test_arguments` is null; always the same rows."""
    rows: int | None = Field(default=None, ge=2)
    """Take the first rows only; needed where the environment makes rows without end. Null: all."""
    max_turns: int | None = Field(default=None, ge=1)
    """Turns of the policy in an episode, at most. Null: what the environment itself allows."""
    right_from: float = 1.0
    """Total reward from which a completion counts as right."""
    answer_field: str = "answer"
    """Field of the rows that holds the gold answer, where they have one; supervised training teaches it."""


class Verifiers(Task):
    """Environments of the verifiers library, one or several turns, by the name of their package."""

    type = "verifiers"
    Parameters = VerifiersParameters

    def __init__(self, name: str, parameters: VerifiersParameters) -> None:
        """
        Raises:
            TaskError: the library or the package is not installed, or it asks for what a policy has not got here.
        """
        super().__init__(name, parameters)
        self._where = f"tasks.{name}"
        try:
            from rlreason.tasks.verifiers import packages
        except ModuleNotFoundError as error:
            raise TaskError(
                f"{self._where}: the module {error.name!r} is not installed; pip install verifiers"
            ) from None
        self._opened = {"train": packages.open_environment(parameters.environment, parameters.arguments, self._where)}
        if parameters.test_arguments is not None:
            merged = {**parameters.arguments, **parameters.test_arguments}
            self._opened["test"] = packages.open_environment(parameters.environment, merged, self._where)
        self._max_turns = self._turns_allowed(self._opened["train"])
        self._openings: dict[tuple[str, int], str] = {}

    def _turns_allowed(self, opened: Opened) -> int:
        asked, own = self.parameters.max_turns, opened.own_max_turns
        if not opened.plays_turns:
            if asked not in (None, 1):
                raise TaskError(
                    f"{self._where}.max_turns {asked}: environment {self.parameters.environment!r} asks once and "
                    "drives no further turns; leave it out"
                )
            return 1
        if asked is None and own is None:
            raise TaskError(
                f"{self._where}.max_turns is missing: environment {self.parameters.environment!r} plays several turns "
                f"and sets no limit; say for example {self._where}.max_turns: 8"
            )
        return asked or own or 1

    @property
    def levels(self) -> tuple[str, ...]:
        """Rows to train on, and rows that are not."""
        return LEVELS

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One: rows do not say how hard they are."""
        family = self.parameters.environment.rsplit("/", 1)[-1].partition("@")[0]
        return (Cell(f"{family}/1", family, 1),)

    @cached_property
    def _rows(self) -> dict[str, list[Any]]:
        """Level -> its rows, each once."""
        train = self._distinct("train")
        if "test" in self._opened:
            test = self._distinct("test")
            if shared := train.keys() & test.keys():
                first = next(row for key, row in test.items() if key in shared)
                raise TaskError(
                    f"{self._where}.test_arguments: {len(shared)} of {len(test)} rows of level test are also rows of "
                    f"level train, row {first.data.idx} for one; give arguments that choose other rows, or leave "
                    "test_arguments out to hold some out"
                )
            return {"train": list(train.values()), "test": list(test.values())}
        rows = list(train.values())
        count = max(1, round(len(rows) * self.parameters.test_share))
        if count >= len(rows):
            raise TaskError(
                f"{self._where}.test_share {self.parameters.test_share} of {len(rows)} different rows leaves none to "
                "train on; lower it, or take more rows"
            )
        held = set(random.Random(0).sample(range(len(rows)), count))
        return {
            "train": [row for position, row in enumerate(rows) if position not in held],
            "test": [row for position, row in enumerate(rows) if position in held],
        }

    def _distinct(self, level: str) -> dict[str, Any]:
        """What makes a row the same problem as another -> the first such row: the question where it is asked once, and
        all of the row where an episode may depend on more."""
        from rlreason.tasks.verifiers import packages

        rows: dict[str, Any] = {}
        for row in packages.load_rows(self._opened[level], self.parameters.rows, self._where):
            values = packages.row_values(row)
            asked = ("system_prompt", "prompt") if self._max_turns == 1 else values.keys() - {"idx"}
            rows.setdefault(json.dumps({key: values.get(key) for key in asked}, sort_keys=True), row)
        return rows

    def _open(self, level: str) -> Opened:
        return self._opened.get(level, self._opened["train"])

    def problem(self, level: str, cell: str, index: int) -> Problem:
        """See `Task.problem`. Beyond the last row it begins with the first again: the same problem, the same id."""
        if level not in LEVELS:
            raise TaskError(one_of(f"level of task {self.name!r}", level, LEVELS))
        if cell != self.cells[0].name:
            raise TaskError(one_of(f"cell of task {self.name!r}", cell, [self.cells[0].name]))
        from rlreason.tasks.verifiers import packages

        position = index % len(self._rows[level])
        row = self._rows[level][position]
        gold = getattr(row.data, self.parameters.answer_field, None)
        answer = gold if isinstance(gold, str) else "" if gold is None else json.dumps(gold)
        return Problem(
            id=f"{level}/{cell.replace('/', '-')}/{position}",
            task=self.name,
            cell=cell,
            level=level,
            prompt=self._opening(level, position),
            answer=answer,
            target=answer,
            detail={"row": packages.row_values(row)},
        )

    def _opening(self, level: str, position: int) -> str:
        """The prompt: what the environment says before the first turn."""
        if (level, position) not in self._openings:
            from rlreason.tasks.verifiers import playing

            played = playing.play(self._open(level), self._rows[level][position], (), self._max_turns)
            if not played.heard:
                raise TaskError(f"environment {self.parameters.environment!r}, row {position}, asks the policy nothing")
            self._openings[level, position] = played.heard[0]
        return self._openings[level, position]

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """See `Task.check`: the text is the first turn, and where more turns are asked for the episode ends.

        Raises:
            TaskError: the environment's own code failed on the text.
        """
        from rlreason.tasks.verifiers import packages, playing

        opened = self._open(problem.level)
        row = packages.row_of(opened, problem.detail["row"])
        played = playing.play(opened, row, [text], self._max_turns, to_the_end=True)
        return self._verdict(played.trace, [text])

    def _verdict(self, trace: Any, turns: Sequence[str]) -> DerivationCheck:
        """The trace's rewards; `answer` is the last turn."""
        reward = float(trace.reward)
        return DerivationCheck(
            answer=(turns[-1].strip() or None) if turns else None,
            answer_correct=reward >= self.parameters.right_from,
            derivation_correct=None,
            reward=reward,
            parts={name: part.score for name, part in trace.rewards.items() if part is not None},
        )

    @property
    def max_turns(self) -> int:
        """See `Task.max_turns`."""
        return self._max_turns

    def environment(self, problem: Problem) -> Environment:
        """See `Task.environment`."""
        if self._max_turns == 1:
            return super().environment(problem)
        from rlreason.tasks.verifiers import packages, playing

        opened = self._open(problem.level)
        row = packages.row_of(opened, problem.detail["row"])
        return playing.Episode(opened, row, self._max_turns, self._verdict)

    def words(self) -> Sequence[str]:
        """Of the first rows' prompts and answers; what an environment says later is spelt in bytes."""
        found: dict[str, None] = {}
        for level in LEVELS:
            for index in range(min(len(self._rows[level]), _ROWS_FOR_WORDS)):
                problem = self.problem(level, self.cells[0].name, index)
                found |= dict.fromkeys(_WORD.findall(f"{problem.prompt} {problem.answer}"))
        return list(found)

    def chance(self, level: str, cell: str) -> float:
        """0: what a guesser gets is not known."""
        return 0.0
