import itertools
import re

import pytest

from rlreason.errors import TaskError
from rlreason.tasks import build_task
from rlreason.tasks.rules.operators import NAMES, OPERATORS

TABLE = {"bim": 7 + 3, "dop": 7 - 3, "fal": 7 * 3, "gev": 2 * 7 + 3, "hux": 7 + 2 * 3, "jat": 7 - 2 * 3, "kol": 3 + 3}
TASK = build_task("chains", "rules", {"rule": "operators"})


def chain_of(prompt: str) -> tuple[int, list[str], list[int]]:
    """Start, operators and right operands of a prompt."""
    numbers = [int(number) for number in re.findall(r"\d+", prompt)]
    return numbers[0], re.findall("|".join(NAMES), prompt), numbers[1:]


def value(start: int, names: list[str], operands: list[int]) -> int:
    for name, operand in zip(names, operands, strict=True):
        start = OPERATORS[name](start, operand)
    return start


def test_the_seven_operators_by_hand():
    assert {name: operator(7, 3) for name, operator in OPERATORS.items()} == TABLE
    assert OPERATORS["dop"](3, 7) == 4 and OPERATORS["jat"](3, 7) == 11  # distances, never below zero


@pytest.mark.parametrize("level", ["train", "validation", "iid", "zero_shot"])
def test_answers_follow_from_left_to_right(level):
    for cell in ("operators/2", "operators/3"):
        for index in range(60):
            problem = TASK.problem(level, cell, index)
            start, names, operands = chain_of(problem.prompt)
            assert len(names) == int(cell[-1])
            assert problem.answer == str(value(start, names, operands))
            assert ("dop", "gev") in itertools.pairwise(names) or level != "zero_shot"
            assert ("dop", "gev") not in itertools.pairwise(names) or level == "zero_shot"


def test_parentheses_show_the_order():
    problem = TASK.problem("train", "operators/3", 0)
    assert re.fullmatch(r"Question: \( \( \d+ \w+ \d+ \) \w+ \d+ \) \w+ \d+ Answer:", problem.prompt)


def test_training_has_every_other_pair_and_both_operators_at_both_places():
    pairs = {tuple(chain_of(TASK.problem("train", "operators/2", index).prompt)[1]) for index in range(1500)}
    assert len(pairs) == 48 and ("dop", "gev") not in pairs and ("gev", "dop") in pairs


def test_no_chain_that_training_may_have_and_differs_in_one_operator_has_the_zero_shot_answer():
    for index in range(80):
        problem = TASK.problem("zero_shot", "operators/2", index)
        start, names, operands = chain_of(problem.prompt)
        others = [[other, names[1]] for other in NAMES] + [[names[0], other] for other in NAMES]
        answers = {value(start, other, operands) for other in others if other != names}
        assert int(problem.answer) not in answers


def test_one_operator_has_no_pair_and_a_wrong_name_is_answered_with_the_right_one():
    with pytest.raises(TaskError, match="one operator makes no pair"):
        TASK.problem("zero_shot", "operators/1", 0)
    with pytest.raises(TaskError, match="did you mean 'gev'"):
        build_task("chains", "rules", {"rule": "operators", "held_out_pair": ["dop", "gevv"]})
