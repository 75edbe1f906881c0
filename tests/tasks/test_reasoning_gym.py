"""reasoning-gym's datasets as a task: numbering, levels, cells, answers, and what is refused."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from decimal import getcontext
from typing import Any

import numpy as np
import pytest

from rlreason.errors import TaskError
from rlreason.rewards import builtin
from rlreason.tasks import Task, build_task
from rlreason.tasks.gym.task import read_answer
from rlreason.types import Problem

pytest.importorskip("pycosat", reason="reasoning-gym needs pycosat, which is compiled at set-up")
DATASETS = pytest.importorskip("reasoning_gym.factory").DATASETS

LEVELS = ("train", "validation", "iid")
SHORT = {"min_word_len": 3, "max_word_len": 4}


def gym(**parameters: Any) -> Task:
    return build_task("gym", "reasoning_gym", parameters)


@pytest.fixture(scope="module")
def words() -> Task:
    return gym(dataset="spell_backward", config=SHORT)


def test_a_problem_is_the_librarys_question_our_instruction_and_an_answer_without_derivation(words: Task):
    problem = words.problem("iid", "spell_backward/1", 3)
    question, instruction = problem.prompt.split("\n")
    assert question.startswith("Spell this word backward (example: sun -> nus): ")
    word = question.rpartition(" ")[2]
    assert instruction == "Say at the end: So, the answer is: X"
    assert (problem.answer, problem.target) == (word[::-1], f"So, the answer is: {word[::-1]}")
    assert (problem.id, problem.task, problem.cell) == ("iid/spell_backward-1/3", "gym", "spell_backward/1")
    without = gym(dataset="spell_backward", config=SHORT, instruction="")
    assert without.problem("iid", "spell_backward/1", 3).prompt == question


def test_their_graded_score_is_the_tasks_own_reward_and_steps_are_not_checked(words: Task):
    problem = words.problem("train", "spell_backward/1", 0)
    gold = problem.answer
    check = words.check(problem, f"I think. So, the answer is: {gold}")
    assert (check.answer, check.answer_correct, check.reward) == (gold, True, 1.0)
    assert (check.derivation_correct, check.steps, check.first_error) == (None, (), None)
    wrong = "".join([*gold[:-1], "#"])  # all letters but the last in their places
    check = words.check(problem, f"So, the answer is: {wrong}")
    assert not check.answer_correct and check.reward == pytest.approx((len(gold) - 1) / len(gold))
    assert builtin.environment(problem, "", check)["reward"] == check.reward
    silent = words.check(problem, gold)
    assert (silent.answer, silent.answer_correct, silent.reward) == (None, False, 0.0)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("no conclusion", None),
        ("So, the answer is: 12", "12"),
        ("So, the answer is: 1. Wait. So, the answer is: -2.5\n", "-2.5"),
        ("So,  the\nanswer is:a b\nc d ", "a b\nc d"),
        ("<answer> 7 </answer> and more", "7"),
        ("<answer>7</answer> So, the answer is: 8", "8"),
        ("So, the answer is: 8 or <answer>9</answer>.", "9"),
        ("<answer>unfinished", "unfinished"),
        ("So, the answer is:", ""),
    ],
)
def test_the_last_answer_counts(text: str, answer: str | None):
    assert read_answer(text) == answer


def test_no_question_is_at_two_levels_nor_at_two_levels_in_different_cells():
    # 3 to 11 letters of the same word list: the cells of the curriculum share most of their questions
    task = gym(dataset="spell_backward", curriculum=True, instruction="")
    level_of: dict[str, str] = {}
    for level in LEVELS:
        for cell in task.cells:
            for index in range(60):
                prompt = task.problem(level, cell.name, index).prompt
                assert level_of.setdefault(prompt, level) == level
    counts = [list(level_of.values()).count(level) for level in LEVELS]
    assert min(counts) > 100


STEADY = {
    "chain_sum": {},
    "acre": {},  # drawn ahead, as many as there are
    "list_functions": {},  # from the process's own random generator, and by the position in a list
    "pool_matrix": {},  # seeds numpy's
    "decimal_chain_sum": {},
    "decimal_arithmetic": {},  # sets the precision of all decimals of the process
    "course_schedule": {},
    "graph_color": {},
}
PRINT_PROMPTS = """
import json, sys
from rlreason.tasks import build_task
task = build_task("gym", "reasoning_gym", json.loads(sys.argv[1]))
asked = [(level, cell.name, index) for cell in task.cells for level in ("train", "iid") for index in (0, 7, 100)]
print(json.dumps([task.problem(*one).prompt for one in asked]))
"""


def test_a_problem_is_the_same_in_every_process_and_in_any_order():
    parameters = {"datasets": STEADY}
    ran = subprocess.run(
        [sys.executable, "-c", PRINT_PROMPTS, json.dumps(parameters)],
        env={**os.environ, "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    task = gym(**parameters)
    asked = [(level, cell.name, index) for cell in task.cells for level in ("train", "iid") for index in (0, 7, 100)]
    here = [task.problem(*one).prompt for one in reversed(asked)][::-1]
    assert json.loads(ran.stdout) == here
    assert len(set(here)) == len(here)


def test_the_processs_own_random_generators_and_decimals_are_left_as_they_were():
    task = gym(datasets={"pool_matrix": None, "list_functions": None, "decimal_arithmetic": {"precision": 9}})
    precision = getcontext().prec
    random.seed(3)
    np.random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()
    for cell in task.cells:
        for index in range(20):
            task.problem("train", cell.name, index)
    assert getcontext().prec == precision
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_levels_of_a_curriculum_are_cells_that_build_on_each_other():
    task = gym(dataset="chain_sum", curriculum=True)
    names = [cell.name for cell in task.cells]
    assert names[:2] == ["chain_sum/1", "chain_sum/2"] and len(names) == len(set(names)) > 2
    assert [cell.difficulty for cell in task.cells] == list(range(1, len(names) + 1))
    assert [cell.prerequisites for cell in task.cells] == [(), *((name,) for name in names[:-1])]
    lengths = [
        np.mean([len(task.problem("train", name, i).prompt) for i in range(40)]) for name in (names[0], names[-1])
    ]
    assert lengths[1] > lengths[0] + 5


def test_without_a_curriculum_a_dataset_is_one_cell_under_its_own_configuration():
    task = gym(datasets={"chain_sum": {"min_terms": 3, "max_terms": 3, "min_digits": 1, "max_digits": 1}, "gcd": None})
    assert [(cell.name, cell.difficulty) for cell in task.cells] == [("chain_sum/1", 1), ("gcd/1", 1)]
    for index in range(20):
        question = task.problem("train", "chain_sum/1", index).prompt.split("\n")[0]
        assert sum(character.isdigit() for character in question) == 3, question


@pytest.mark.parametrize("dataset", ["graph_color", "propositional_logic", "rubiks_cube", "sudoku", "knights_knaves"])
def test_an_answer_the_library_gives_as_an_example_is_right(dataset: str):
    task = gym(dataset=dataset)
    problem = task.problem("train", f"{dataset}/1", 1)
    assert problem.answer and task.check(problem, problem.target).answer_correct
    assert not task.check(problem, "So, the answer is: 0").answer_correct


def test_what_their_scorer_falls_over_pays_nothing_and_is_counted():
    task = gym(dataset="boxnet")
    problem = task.problem("train", "boxnet/1", 0)
    check = task.check(problem, "So, the answer is: 5")
    assert (check.answer, check.reward, check.parts) == ("5", 0.0, {"refused": 0.0, "raised": 1.0})
    assert (problem.answer, problem.target) == ("", "So, the answer is: ")  # the library knows none


def test_words_that_entries_share_are_tokens_and_the_others_are_spelt(words: Task):
    found = words.words()
    assert {"Spell", "backward", "So", "answer", ":"} <= set(found)
    assert list(found) == list(gym(dataset="spell_backward", config=SHORT).words())
    asked = {words.problem("train", "spell_backward/1", index).answer for index in range(50)}
    assert not asked & set(found)
    assert not [word for word in gym(dataset="chain_sum").words() if any(character.isdigit() for character in word)]


def test_chance_is_how_often_the_most_frequent_answer_is_right():
    assert gym(dataset="circuit_logic").chance("iid", "circuit_logic/1") > 0.5  # 0 or 1
    assert (
        gym(dataset="basic_arithmetic", config={"min_terms": 5, "max_terms": 6}).chance("iid", "basic_arithmetic/1")
        < 0.1
    )


def test_a_dataset_with_one_question_has_it_at_one_level_and_none_at_the_others():
    task = gym(dataset="count_primes", config={"min_n": 10, "max_n": 10})
    prompts, refused = [], []
    for level in LEVELS:
        try:
            prompts.append(task.problem(level, "count_primes/1", 0).prompt)
        except TaskError as error:
            refused.append(str(error))
    assert len(refused) == 2 and "too few different questions" in refused[0]
    assert len(prompts) == 1


def test_a_problem_that_this_process_would_ask_otherwise_is_not_scored(words: Task):
    problem = words.problem("train", "spell_backward/1", 0)
    other = replace(problem, prompt=problem.prompt.replace("Spell", "Say"))
    with pytest.raises(TaskError, match="another version of reasoning-gym"):
        words.check(other, problem.target)


def test_unknown_levels_and_cells_are_named(words: Task):
    with pytest.raises(TaskError, match="level of task 'gym' 'test' is not one of train, validation, iid"):
        words.problem("test", "spell_backward/1", 0)
    with pytest.raises(TaskError, match="cell of task 'gym' 'spell_backward/2' is not one of spell_backward/1"):
        words.problem("iid", "spell_backward/2", 0)
    with pytest.raises(TaskError, match="is not one of spell_backward/1"):
        words.chance("iid", "gcd/1")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, ["say which", "dataset: NAME", "datasets:"]),
        ({"dataset": "gcd", "datasets": {"ab": None}}, ["one of the two"]),
        ({"datasets": {"ab": None}, "config": {"length": 2}}, ["`config` belongs to `dataset`"]),
        (
            {"dataset": "spel_backward"},
            ["'spel_backward'", "is not one of", "did you mean 'spell_backward'", "zebra_puzzles"],
        ),
        ({"dataset": "composite"}, ["mixture", "`datasets`"]),
        ({"dataset": "word_ladder"}, ["'word_ladder'", "every process"]),
        (
            {"dataset": "chain_sum", "config": {"min_term": 3}},
            ["'min_term'", "min_terms, max_terms", "did you mean 'min_terms'", "tasks.gym.config"],
        ),
        (
            {"dataset": "chain_sum", "config": {"min_terms": 9}},
            ["min_terms: 9", "max_terms must be >= min_terms", "max_terms: 6"],
        ),
        (
            {"dataset": "chain_sum", "config": {"min_terms": "x"}},
            ["tasks.gym.config", "min_terms: 'x'", "min_terms: 2"],
        ),
        ({"datasets": {"chain_sum": {"size": 9}}}, ["tasks.gym.datasets.chain_sum.size", "leave it out"]),
        ({"dataset": "acre", "curriculum": True}, ["no curriculum", "'acre'", "drop `curriculum: true`"]),
        (
            {"dataset": "chain_sum", "config": {"min_terms": 2}, "curriculum": True},
            ["tasks.gym.config.min_terms", "levels of the curriculum set it"],
        ),
        ({"dataset": "spell_backward", "config": {"data_file": "no.txt"}}, ["cannot open dataset", "no.txt"]),
    ],
)
def test_bad_parameters_are_named_with_what_is_allowed(parameters: dict[str, Any], words: list[str]):
    with pytest.raises(TaskError) as caught:
        gym(**parameters)
    for word in words:
        assert word in str(caught.value)


def test_without_the_library_the_message_names_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "rlreason.tasks.gym.generators")
    monkeypatch.delattr("rlreason.tasks.gym.generators")
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(TaskError, match=r"tasks.gym: .*pip install reasoning-gym"):
        gym(dataset="gcd")


def test_problems_travel_as_plain_values(words: Task):
    problem: Problem = words.problem("validation", "spell_backward/1", 11)
    assert json.loads(json.dumps(dict(problem.detail))) == problem.detail
    assert len(DATASETS) > 100  # the library that the lists of names here were made for
