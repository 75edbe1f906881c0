"""Rule 90 against numpy, and its held-out neighbourhoods against a look at every row there is."""

import random
from collections import Counter
from itertools import product

import numpy as np
import pytest

from rlreason.errors import TaskError
from rlreason.tasks import build_task
from rlreason.tasks.rules.rule90 import Rule90, misleading_neighbour, neighbourhoods, outcome, step

HELD_OUT = ("101", "111")


def rows_of(prompt: str) -> tuple[np.ndarray, int]:
    """The row that a prompt starts from, and how many steps it asks for."""
    return np.array([int(word) for word in prompt.split() if word in ("0", "1")]), prompt.count("next")


@pytest.mark.parametrize("level", ["train", "iid", "zero_shot"])
def test_answers_are_the_exclusive_or_of_both_neighbours_step_after_step(level):
    task = build_task("ca", "rules", {"rule": "rule90", "sizes": [1, 3], "width": 11})
    for cell, index in product(("rule90/1", "rule90/3"), range(40)):
        problem = task.problem(level, cell, index)
        row, steps = rows_of(problem.prompt)
        assert steps == int(cell[-1])
        for _ in range(steps):
            row = np.roll(row, 1) ^ np.roll(row, -1)
        assert problem.answer == " ".join(map(str, row))


def test_a_row_by_hand():
    # a lone one becomes two, a pair at distance two cancels in the middle; the ends are neighbours
    assert step("0010000") == "0101000"
    assert step("0101000") == "1000100"
    assert step("1000000") == "0100001"
    assert neighbourhoods("100") == ["010", "100", "001"]


def test_held_out_neighbourhoods_start_no_training_row_and_every_zero_shot_row():
    task = build_task("ca", "rules", {"rule": "rule90"})
    for index in range(200):
        for level in ("train", "validation", "iid", "zero_shot"):
            row = "".join(map(str, rows_of(task.problem(level, "rule90/1", index).prompt)[0]))
            assert set(HELD_OUT).isdisjoint(neighbourhoods(row)) == (level != "zero_shot")


def test_what_is_nearest_to_a_held_out_neighbourhood_has_the_other_outcome():
    for missing in HELD_OUT:
        near = [missing[:place] + ("0" if missing[place] == "1" else "1") + missing[place + 1 :] for place in range(3)]
        assert {outcome(known) for known in near if known not in HELD_OUT} == {"1"} != {outcome(missing)}
    assert misleading_neighbour(HELD_OUT) is None
    assert misleading_neighbour(("000", "010")) is None
    assert misleading_neighbour(("101",)) == ("101", "111")


def test_every_row_without_a_held_out_neighbourhood_is_drawn_as_often_as_any_other():
    width, draws = 7, 5800
    allowed = {
        row
        for row in map("".join, product("01", repeat=width))
        if set(HELD_OUT).isdisjoint(neighbourhoods(row)) and step(row) != row
    }
    rule, rng = Rule90(width, HELD_OUT), random.Random(0)
    drawn = Counter(
        question.given[0].replace(" ", "")
        for question in (rule.draw(1, False, rng) for _ in range(draws))
        if question is not None
    )
    # Lucas number of 7, less the row of zeros: 28 rows, 200 draws each
    assert set(drawn) == allowed and len(allowed) == 28
    assert max(abs(count - 200) for count in drawn.values()) < 5 * 200**0.5


def test_a_lone_pair_that_stays_is_refused_and_so_is_a_set_that_leaves_no_rows():
    with pytest.raises(TaskError, match="101 could be guessed by similarity from 111"):
        build_task("ca", "rules", {"rule": "rule90", "held_out_neighbourhoods": ["101"]})
    with pytest.raises(TaskError, match=r"no problem at level 'train'.*raise width \(now 16\), or hold out fewer"):
        build_task("ca", "rules", {"rule": "rule90", "held_out_neighbourhoods": ["001", "011", "101", "111"]})


def test_an_even_number_of_steps_has_nothing_held_out():
    task = build_task("ca", "rules", {"rule": "rule90", "sizes": [2]})
    with pytest.raises(TaskError, match="ask for an odd number"):
        task.problem("zero_shot", "rule90/2", 0)
    assert task.problem("iid", "rule90/2", 0).level == "iid"
