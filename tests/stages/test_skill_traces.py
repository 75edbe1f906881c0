"""Traces of attempts and reflections, and whether the task whose samples they are made of can read them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rlreason.recipe.own_samples import SkillTraces
from rlreason.stages.rft import traces
from rlreason.stages.skill_traces import pick_wrong, skill_trace
from rlreason.tasks.registry import build_task
from rlreason.types import Problem, Score
from tests.stages.own import own

WORDS = SkillTraces(type="skills")


def test_a_trace_worked_by_hand():
    wrong = own(0, " Ada boss Bo. So, the answer is: Bo", False)
    right = own(1, " Ada boss Cy. So, the answer is: Cy", True)
    assert skill_trace([wrong], right, WORDS) == (
        " Ada boss Bo. That gives Bo, which is wrong. Let me try again."
        " Ada boss Cy. That gives Cy, which is right. So, the answer is: Cy"
    )
    assert skill_trace([], right, WORDS) == " Ada boss Cy. That gives Cy, which is right. So, the answer is: Cy"


def test_the_phrases_are_the_recipe_s():
    words = SkillTraces(
        type="skills", wrong="No, not {answer}!", right="{answer}: yes.", verdict="= {answer}", between="\n"
    )
    trace = skill_trace([own(0, "a\nb\n= 3", False)], own(1, "c\n= 4", True), words)
    assert trace == "a\nb\nNo, not 3!\nc\n4: yes.\n= 4"


def test_an_attempt_that_only_answers_has_nothing_but_its_reflection():
    wrong, right = own(0, " So, the answer is: Bo", False), own(1, " Ada boss Cy. So, the answer is: Cy", True)
    assert skill_trace([wrong], right, WORDS).startswith(" That gives Bo, which is wrong. Let me try again. Ada boss")


def test_braces_in_a_sample_are_only_letters():
    wrong, right = own(0, "{answer} {0} So, the answer is: {x}", False), own(1, "So, the answer is: y", True)
    assert "That gives {x}, which is wrong." in skill_trace([wrong], right, WORDS)


def test_every_turn_takes_other_wrong_samples_as_far_as_they_go():
    wrong = [own(index, f"w{index}", False) for index in range(3)]
    taken = [[each.number for each in pick_wrong(wrong, 2, turn)] for turn in range(3)]
    assert taken == [[0, 1], [2, 0], [1, 2]]
    assert [each.number for each in pick_wrong(wrong[:1], 2, 5)] == [0]
    assert pick_wrong([], 2, 0) == []


# --- read by the task


@pytest.fixture(scope="module")
def task() -> Any:
    return build_task("people", "complementary", {"people": 32, "hops": {1: 1, 2: 1}, "wording": "triples"})


@pytest.fixture(scope="module")
def problem(task: Any) -> Problem:
    return task.problem("train", "contextual/2", 0)


def wrong_target(task: Any, problem: Problem) -> str:
    others = (task.problem("train", "contextual/2", index) for index in range(1, 20))
    return next(other.target for other in others if other.answer != problem.answer)


def test_the_task_reads_the_verdict_as_the_one_final_answer(task, problem):
    gold, other = problem.target, wrong_target(task, problem)
    right = own(1, gold, True, answer=problem.answer)
    wrong = own(0, other, False, answer=other.rpartition(": ")[2])
    assert not task.check(problem, other).answer_correct
    check = task.check(problem, skill_trace([wrong, wrong], right, WORDS))
    assert check.answer == problem.answer and check.answer_correct
    # the first answer counts: attempts that kept theirs would be read as the wrong attempt's
    assert not task.check(problem, f"{other}. {gold}").answer_correct
    # a trace is no derivation of the task: its reflections are no steps
    assert not check.derivation_correct


class Pool:
    """Scores by the task's check, as the worker processes do."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def score(self, requests: Any) -> list[Score]:
        checks = [self._task.check(problem, text) for problem, text in requests]
        return [Score(1.0, correct=check.answer_correct) for check in checks]


def test_traces_that_are_not_read_as_right_are_left_out(task, problem):
    gold, other = problem.target, wrong_target(task, problem)
    samples = [
        own(0, other, False, answer=other.rpartition(": ")[2]),
        own(1, gold, True, answer=problem.answer),
        own(2, gold, True, answer="Nobody"),  # as if a reward had read something else
    ]
    context: Any = SimpleNamespace(pool=Pool(task))
    found = traces(context, samples, samples[1:], {"id of p?": problem}, WORDS)
    assert found == [("p?", skill_trace(samples[:1], samples[1], WORDS))]


def test_wrong_attempts_are_finished_answered_and_of_the_same_problem():
    samples = [
        own(0, "cut = 1", False, finish_reason="length"),
        own(1, "silent", False, answer=None),
        own(2, "unjudged = 2", None),
        own(3, "other = 3", False, prompt="another?"),
        own(4, "wrong = 4", False),
        own(5, "right = 5", True),
    ]
    everything: Any = SimpleNamespace(
        pool=SimpleNamespace(score=lambda requests: [Score(1.0, correct=True)] * len(requests))
    )
    words = SkillTraces(type="skills", attempts=4, verdict="= {answer}")
    ((prompt, trace),) = traces(everything, samples, samples[5:], {"id of p?": None}, words)
    assert (
        prompt == "p?" and trace.count("which is wrong") == 1 and trace.startswith("wrong That gives 4, which is wrong")
    )
