"""The controls: right where copying or smoothness is enough, wrong on what is held out of Rule 90."""

import random
from typing import Any

import pytest
from pydantic import BaseModel

from rlreason.errors import TaskError
from rlreason.tasks import Cell, Task, build_task
from rlreason.tasks.interpolation import interpolation_scores
from rlreason.types import DerivationCheck, Problem


class Toy(Task):
    """Questions of two numbers: both the other way round, or their sum."""

    type = "toy"
    Parameters = BaseModel
    levels = ("train", "iid")
    cells = (Cell("copy/1", "copy", 1), Cell("sum/1", "sum", 1))

    def problem(self, level: str, cell: str, index: int) -> Problem:
        pairs = [(one, two) for one in range(20) for two in range(20) if ((one * 7 + two) % 4 == 0) == (level == "iid")]
        one, two = random.Random(index).choice(pairs)
        answer = {"copy/1": f"{two} {one}", "sum/1": str(one + two)}[cell]
        return Problem(f"{level}/{index}", "toy", cell, level, f"Question: {one} , {two} Answer:", answer, "")

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        raise NotImplementedError

    def words(self) -> list[str]:
        return []

    def chance(self, level: str, cell: str) -> float:
        return 0.0


def scores(cell: str, **options: Any) -> dict[str, float]:
    return interpolation_scores(Toy("toy", None), "iid", [cell], train_problems=300, problems=60, **options)


def test_what_can_be_read_off_place_by_place_is_learned():
    result = scores("copy/1")
    assert result["kernel"] == 1.0 and result["mlp"] == 1.0


def test_numbers_that_change_smoothly_are_regressed():
    result = scores("sum/1")
    assert result["kernel"] > 0.95 > result["nearest"]


def test_rule_90_is_learned_where_it_was_shown_and_missed_where_it_is_held_out():
    task = build_task("ca", "rules", {"rule": "rule90", "width": 11})
    seen = interpolation_scores(task, "iid", ["rule90/1"], train_problems=150, problems=20)
    unseen = interpolation_scores(task, "zero_shot", ["rule90/1"], train_problems=150, problems=100)
    assert seen["kernel"] == 1.0 and seen["mlp"] > 0.9
    assert unseen == {"nearest": 0.0, "kernel": 0.0, "mlp": 0.0}


def test_the_same_seed_scores_the_same():
    assert scores("sum/1", seed=3) == scores("sum/1", seed=3)


def test_a_level_that_a_cell_does_not_have_is_refused():
    with pytest.raises(TaskError, match="one operator makes no pair"):
        interpolation_scores(build_task("it", "rules", {"rule": "operators"}), "zero_shot", ["operators/1"])
