"""The sequence of training problems: shares, order, and going on exactly after a resume."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from rlreason.curriculum.contract import Outcome, bandit_arm
from rlreason.curriculum.scheduler import ProblemScheduler, Source
from rlreason.curriculum.uniform import UniformCurriculum
from rlreason.errors import CheckpointError, RecipeError, TaskError
from rlreason.tasks.contract import Cell, Task
from rlreason.types import DerivationCheck, Problem


class Numbered(Task):
    """Three cells of problems that are nothing but their number."""

    type = "numbered"
    Parameters = BaseModel
    levels = ("train", "iid")
    cells = (Cell("one/1", "one", 1), Cell("one/2", "one", 2), Cell("two/1", "two", 1))

    def problem(self, level: str, cell: str, index: int) -> Problem:
        return Problem(f"{level}/{cell}/{index}", self.name, cell, level, "", str(index), "")

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        raise NotImplementedError

    def words(self) -> list[str]:
        return []

    def chance(self, level: str, cell: str) -> float:
        return 0.0


TASKS = {"left": Numbered("left", None), "right": Numbered("right", None)}
SOURCES = (Source("left", ("one/*",), weight=2.0), Source("right", ("two/1",), level="iid"))


def scheduler(seed: int = 0, sources=SOURCES) -> ProblemScheduler:
    return ProblemScheduler(TASKS, sources, np.random.default_rng(seed))


def test_a_sources_weight_is_shared_by_its_cells():
    # left's 2 of 3 go to two cells, right's 1 of 3 to one
    assert scheduler().curriculum.probabilities() == pytest.approx(
        {"left:train:one/1": 1 / 3, "left:train:one/2": 1 / 3, "right:iid:two/1": 1 / 3}
    )


def test_a_cell_that_two_sources_name_gets_both_weights():
    both = scheduler(sources=[Source("left", ("one/*",), weight=1.0), Source("left", ("one/2",), weight=0.5)])
    assert both.curriculum.probabilities() == {"left:train:one/1": 1 / 3, "left:train:one/2": 2 / 3}


def test_each_problem_of_a_cell_comes_once_and_in_order():
    problems = scheduler().next(300)
    for arm, count in Counter(bandit_arm(p.task, p.level, p.cell) for p in problems).items():
        indices = [int(p.answer) for p in problems if bandit_arm(p.task, p.level, p.cell) == arm]
        assert indices == list(range(count))


def test_a_source_held_to_some_problems_asks_them_over_and_over_and_goes_on_so_after_a_resume():
    few = [Source("left", ("two/1",), problems=3)]
    asked = scheduler(sources=few)
    assert [problem.answer for problem in asked.next(8)] == list("01201201")
    later = scheduler(sources=few)
    later.load_state_dict(json.loads(json.dumps(asked.state_dict())))
    assert [problem.answer for problem in later.next(2)] == ["2", "0"]


def test_sources_that_give_a_cell_different_numbers_of_problems_are_refused():
    with pytest.raises(TaskError, match="left:train:one/2 have problems None and 3; give all the same"):
        scheduler(sources=[Source("left", ("one/*",)), Source("left", ("one/2",), problems=3)])


def test_draws_follow_the_probabilities():
    counts = Counter(scheduler(seed=1).curriculum.draw(6000))
    # 2,000 expected of each; 5 standard deviations of a binomial are 183
    assert len(counts) == 3 and all(abs(count - 2000) < 183 for count in counts.values())


@given(
    history=st.lists(st.integers(0, 40), max_size=6),
    after=st.integers(1, 50),
    seeds=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_a_resume_gives_the_same_next_problems(history, after, seeds):
    uninterrupted, resumed = scheduler(seeds[0]), scheduler(seeds[1])
    for n in history:
        uninterrupted.next(n)
    resumed.load_state_dict(json.loads(json.dumps(uninterrupted.state_dict())))
    assert resumed.next(after) == uninterrupted.next(after)
    assert resumed.state_dict() == uninterrupted.state_dict()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state["used"].update({"left:train:two/1": 0}), r"has \['left:train:two/1'\] besides"),
        (lambda state: state["used"].pop("left:train:one/2"), r"lacks \['left:train:one/2'\]"),
        (lambda state: state["used"].update({"left:train:one/2": -1}), "used -1 problems"),
        (lambda state: state["used"].update({"left:train:one/2": 1.0}), "used 1.0 problems"),
        (lambda state: state.update(extra=1), r"has \['extra'\] besides"),
        (lambda state: state["curriculum"]["weights"].update({"left:train:one/1": 0.9}), "weighed its arms"),
        (lambda state: state["curriculum"]["rng"].update(bit_generator="MT19937"), "not a PCG64 state"),
    ],
)
def test_a_state_of_another_curriculum_is_refused_and_changes_nothing(change, words):
    state = scheduler().state_dict()
    change(state)
    untouched, asked = scheduler(seed=3), scheduler(seed=3)
    with pytest.raises(CheckpointError, match=words):
        asked.load_state_dict(state)
    assert asked.next(20) == untouched.next(20)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Source("middle", ("one/*",)), "task 'middle' is not one of left, right"),
        (Source("left", ("three/*",)), "'three/\\*' is not one of one/1, one/2, two/1"),
        (Source("left", ("one/*",), level="idd"), "'idd' is not one of train, iid; did you mean 'iid'"),
    ],
)
def test_names_that_match_nothing_are_refused(source, words):
    with pytest.raises(TaskError, match=words):
        scheduler(sources=[source])


@pytest.mark.parametrize("weights", [{}, {"a": 0.0}, {"a": -1.0}, {"a": float("nan")}, {"a": float("inf")}])
def test_weights_that_are_no_shares_are_refused(weights):
    with pytest.raises(RecipeError, match=r"at least one arm|not a positive finite number"):
        UniformCurriculum(weights, np.random.default_rng(0))


def test_one_cell_is_always_drawn_and_payoffs_change_nothing():
    single = UniformCurriculum({"only": 0.2}, np.random.default_rng(0))
    single.observe({"only": Outcome([1.0, 0.0], [1.0, 0.0])})
    assert single.draw(3) == ["only"] * 3
    assert single.probabilities() == {"only": 1.0}
