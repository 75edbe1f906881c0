"""Problems that a reward's writer brings along, with completions known to be right and wrong.

What `rlreason reward check --examples FILE` reads, for rewards that judge what no task has (numbers, JSON, code). A
file holds one JSON object a line:

    {"prompt": "2+2=?", "answer": "4", "detail": {"unit": "m"}, "right": ["= 4 m"], "wrong": ["= 5 m", "= 4"]}

Where `right` is left out, the answer alone is the right completion; `detail` and `wrong` may be left out too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlreason.errors import TaskError, UserError, one_of
from rlreason.rewards.samples import RIGHT, WRONG, Sample, Trial, around_answer, greedy
from rlreason.tasks.contract import Cell, Task
from rlreason.types import DerivationCheck, Problem

NAME = "examples"
BUILDER = "rlreason.rewards.examples:build_examples"


class Example(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    answer: str
    detail: dict[str, Any] = Field(default_factory=dict)
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    def problem(self, index: int) -> Problem:
        """As a reward sees it."""
        right = (*self.right, self.answer)[0]
        cell = f"{NAME}/1"
        return Problem(f"{NAME}/{index}", NAME, cell, "given", self.prompt, self.answer, right, self.detail)


class Examples(Task):
    """The task those problems belong to: it reads no steps, and the whole text without outer spaces is the answer."""

    type = NAME

    class Parameters(BaseModel):
        """None."""

    @property
    def levels(self) -> tuple[str, ...]:
        """The one there is."""
        return ("given",)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The one there is."""
        return (Cell(f"{NAME}/1", NAME, 1),)

    def problem(self, level: str, cell: str, index: int) -> Problem:
        """Refused: the problems are in the writer's file."""
        raise TaskError("example problems come from a file; they cannot be drawn")

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """See `Task.check`."""
        answer = text.strip()
        right = answer == problem.answer
        return DerivationCheck(answer or None, right, right, (), None if right else 0, "" if right else "answer")

    def words(self) -> Sequence[str]:
        """None: no model is trained on them."""
        return ()

    def chance(self, level: str, cell: str) -> float:
        """0: the answers are free text."""
        return 0.0


def build_examples(name: str, type: str, parameters: Mapping[str, Any]) -> Examples:
    """What a scoring worker calls."""
    return Examples(name, Examples.Parameters())


def read_examples(path: Path) -> list[Example]:
    """The file's lines; empty ones are passed over.

    Raises:
        UserError: no such file, nothing in it, or a line that is no example (names it, and what is wrong).
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--examples {path}: it cannot be read: {error}") from None
    examples = [_example(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not examples:
        raise UserError(
            f"--examples {path} is empty; write one JSON object a line, with prompt, answer, right and wrong"
        )
    return examples


def _example(line: str, where: str) -> Example:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise UserError(f"{where} is a JSON {type(fields).__name__}; an example is an object with prompt and answer")
    for key in fields:
        if key not in Example.model_fields:
            raise UserError(one_of("key", key, Example.model_fields, where))
    try:
        return Example.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def trial_of_examples(examples: Sequence[Example]) -> Trial:
    """The right and the wrong completions that were given, and the greedy ones.

    Args:
        examples: at least one.
    """
    problems = [example.problem(index) for index, example in enumerate(examples)]
    pairs = list(zip(examples, problems, strict=True))
    right = [Sample(RIGHT, problem, text) for one, problem in pairs for text in one.right or (one.answer,)]
    wrong = [Sample(WRONG, problem, text) for one, problem in pairs for text in one.wrong]
    around = [around_answer(problem.target, problem.answer) for problem in problems]
    specs = {NAME: {"name": NAME, "type": NAME, "parameters": {}}}
    return Trial((*right, *wrong, *greedy(problems, around)), specs, BUILDER, around[0])
