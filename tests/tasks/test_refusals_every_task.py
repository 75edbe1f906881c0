"""What no task can be asked or made, told by value with what is allowed: every type with problems of its own.

Mixtures of parameters that are refused for reasons of one type alone are in that type's own tests.
"""

from __future__ import annotations

from typing import Any

import pytest

from rlreason.errors import TaskError
from rlreason.tasks import build_task

SPECS: dict[str, dict[str, Any]] = {
    "complementary": {"type": "complementary"},
    "functions": {"type": "functions"},
    "lookup": {"type": "lookup"},
    **{rule: {"type": "rules", "rule": rule} for rule in ("rule90", "operators", "modular", "grammar")},
    "tail": {"type": "tail"},
}
EVERY = pytest.mark.parametrize("name", SPECS)


def build(name: str, **parameters: Any):
    settings = {**SPECS[name], **parameters}
    return build_task("it", settings.pop("type"), settings)


@EVERY
def test_an_unknown_cell_is_refused_with_those_there_are(name: str):
    task = build(name)
    nearly = task.cells[0].name + "x"
    with pytest.raises(TaskError, match=f"cell of task 'it' '{nearly}' is not one of .*did you mean"):
        task.problem("train", nearly, 0)


@EVERY
def test_an_unknown_level_is_refused_with_those_there_are(name: str):
    task = build(name)
    with pytest.raises(TaskError, match=r"level of task 'it' 'trian' is not one of train, .*did you mean 'train'\?"):
        task.problem("trian", task.cells[0].name, 0)


@EVERY
def test_an_unknown_parameter_is_refused_with_the_nearest(name: str):
    with pytest.raises(TaskError, match=r"parameter 'world_sed' is not one of .*'world_seed'.*\(tasks.it.world_sed\)"):
        build(name, world_sed=1)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("complementary", {"people": 1}, r"people 1: .*greater than or equal to 4 \(people: "),
        ("lookup", {"people": 1}, r"people 1: .*greater than or equal to 4 \(people: "),
        ("functions", {"longest": 80}, r"longest 80: .*less than or equal to 64 \(.*too long to learn from"),
        ("functions", {"depths": [7]}, r"depths\.0 7: .*less than or equal to 6 \(.*few paths stay within"),
        ("rule90", {"width": 4}, r"width 4: .*greater than or equal to 5 \(.*neighbours are each other's"),
        ("operators", {"largest": 5000}, r"largest 5000: .*less than or equal to 999 \(.*word of the vocabulary"),
        ("modular", {"primes": [3, 7]}, r"primes\.0 3: .*greater than or equal to 5 \(primes: modular: moduli"),
        ("grammar", {"sizes": [0]}, r"sizes\.0 0: .*greater than or equal to 1 \(sizes: Number of operations"),
        (
            "tail",
            {"question_wordings": 26},
            r"question_wordings 26: .*less than or equal to 25 \(.*Forms of a question",
        ),
        (
            "tail",
            {"sizes": {"l": [41, 400]}},
            r"must lie within 1 and 99 and above 40, so that a longer size is longer",
        ),
    ],
)
def test_a_parameter_out_of_range_is_refused_with_the_range_and_what_it_is_for(name, parameters, message):
    with pytest.raises(TaskError, match=message) as refused:
        build(name, **parameters)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("complementary", {"held_out_relations": 8}, "leaves composite training none of the 5 .*lower held_out_rel"),
        ("complementary", {"held_out_starts": 0.9, "validation_starts": 0.1}, "leave no .* for training"),
        ("functions", {"validation_share": 0.6, "iid_share": 0.4}, "leave no questions for training"),
        *[
            (rule, {"validation_share": 0.6, "iid_share": 0.4}, "leave no questions for training; .*below 1")
            for rule in ("rule90", "operators", "modular", "grammar")
        ],
        (
            "rule90",
            {"held_out_neighbourhoods": ["000", "001", "010", "011", "100", "101", "110", "111"]},
            "cell 'rule90/1' has no problem at level 'train' .*hold out fewer of",
        ),
        ("modular", {"primes": [11, 13], "held_out_prime": 13}, "13 is the largest of primes.*add a larger prime"),
        (
            "grammar",
            {"held_out_productions": ["fep blick", "kiv blick", "lorp blick", "tam blick"]},
            "leave 'blick' in no training production; hold out fewer",
        ),
        ("tail", {"iid_share": 0.5, "longer_share": 0.45}, "leave no inputs for training; their sum must be below 1"),
    ],
)
def test_a_held_out_part_that_leaves_nothing_to_train_on_is_refused(name, parameters, message):
    with pytest.raises(TaskError, match=message):
        build(name, **parameters)


def test_few_inputs_that_are_all_held_out_are_refused_when_training_asks_for_them():
    small = {"sizes": {"s": [1, 1], "m": [2, 2], "l": [3, 3]}}
    task = build("tail", **small, iid_share=0.9, longer_share=0.04, validation_share=0.05)
    with pytest.raises(TaskError, match=r"n = 1 to 1 has no input for level 'train' .*lower the shares"):
        task.problem("train", "addition/s", 0)
