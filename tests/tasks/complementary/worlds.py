"""Small tasks and independent look-ups that the tests of this folder share."""

from __future__ import annotations

from typing import Any

from rlreason.tasks import build_task
from rlreason.tasks.complementary import Complementary
from rlreason.types import Problem

TWINS = {
    **{
        name: name
        for name in ["spouse", "friend", "sibling", "neighbor", "rival", "roommate", "classmate", "colleague"]
    },
    **{"child": "parent", "parent": "child", "boss": "assistant", "assistant": "boss"},
    **{"mentor": "student", "student": "mentor", "idol": "admirer", "admirer": "idol"},
}
"""Written down again, so that a mistake in the table is a failing test."""

QUICK: dict[str, Any] = {"people": 32, "parametric_relations": 5, "contextual_relations": 5}


def complementary(**changes: Any) -> Complementary:
    task = build_task("people", "complementary", {**QUICK, **changes})
    assert isinstance(task, Complementary)
    return task


def pair(problem: Problem) -> tuple[str, ...]:
    return (*problem.detail["path"], problem.detail["start"])


def reverse_path(path: list[str]) -> list[str] | None:
    return [TWINS[name] for name in reversed(path)] if all(name in TWINS for name in path) else None


def reverse_pair(problem: Problem) -> tuple[str, ...] | None:
    back = reverse_path(problem.detail["path"])
    return None if back is None else (*back, problem.answer)
