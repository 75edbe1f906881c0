"""A task small enough to check by eye: "a+b=?", answered by lines of steps and a last line "= N"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from rlreason.tasks.contract import Cell, Task
from rlreason.types import DerivationCheck, Problem, Step

BUILDER = "toy_task:build_toy"


class ToyTask(Task):
    """A line is a right step where it is "ok", a wrong one where it is "no"; the answer is the number after "= "."""

    type = "toy"

    class Parameters(BaseModel):
        pass

    @property
    def levels(self) -> tuple[str, ...]:
        return ("train",)

    @property
    def cells(self) -> tuple[Cell, ...]:
        return (Cell("toy/1", "toy", 1), Cell("toy/2", "toy", 2))

    def problem(self, level: str, cell: str, index: int) -> Problem:
        return toy_problem(index, task=self.name, level=level, cell=cell)

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        if text == "check: raise":
            raise RuntimeError("toy check")
        steps = tuple(
            Step(found.start(), found.end(), "right" if found.group() == "ok" else "wrong")
            for found in re.finditer(r"\b(ok|no)\b", text)
        )
        last = re.search(r"= (\d+)$", text)
        answer = last.group(1) if last else None
        wrong = [index for index, step in enumerate(steps) if step.verdict != "right"]
        sound = answer == problem.answer and not wrong
        first = None if sound else (wrong or [len(steps)])[0]
        kind = "" if sound else "slip" if wrong else "answer"
        return DerivationCheck(answer, answer == problem.answer, sound, steps, first, kind)

    def words(self) -> list[str]:
        return ["ok", "no", "="]

    def chance(self, level: str, cell: str) -> float:
        return 0.01


def toy_problem(index: int, task: str = "sums", level: str = "train", cell: str = "toy/1") -> Problem:
    """index + 1 = ?"""
    return Problem(f"{level}/{cell}/{index}", task, cell, level, f"{index}+1=?", str(index + 1), f"ok = {index + 1}")


def build_toy(name: str, type: str, parameters: Mapping[str, Any]) -> ToyTask:
    if type != "toy":
        raise ValueError(f"no task type {type!r}")
    return ToyTask(name, ToyTask.Parameters(**parameters))


def toy_specs() -> dict[str, dict[str, Any]]:
    return {"sums": {"name": "sums", "type": "toy", "parameters": {}}}
