"""Environments answer and judge in the workers, where they can raise, hang and crash without ending a run."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_task import toy_problem, toy_specs
from toy_turns import BUILDER

from rlreason.errors import TaskError
from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards import pool as pool_module
from rlreason.rewards import process
from rlreason.rewards.grading import Answer, Judgement, Request
from rlreason.rewards.pool import ScoringPool
from rlreason.rewards.wire import pack_judgements, pack_requests, unpack_judgements


@pytest.fixture(scope="module")
def pool() -> Iterator[ScoringPool]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (process, pool_module):
            patch.setattr(module, "CHECK_DEADLINE_S", 2.0)
        rubric = Rubric(parts=(Reward(spec="rlreason.rewards.builtin:answer"),))
        with ScoringPool(rubric, toy_specs(), [Path(__file__).parent], task_builder=BUILDER) as made:
            yield made


def test_an_episode_is_answered_from_its_turns(pool):
    episodes = [(toy_problem(index), ("a",) * index) for index in range(1, 60)]
    assert pool.respond(episodes) == [Answer(f"{index} a") for index in range(1, 60)]
    assert pool.respond([(toy_problem(0), ("a", "bye")), (toy_problem(1), ("bye", "a"))]) == [Answer(done=True)] * 2
    assert pool.respond([]) == []


def test_an_environment_that_fails_costs_its_own_episode(pool):
    said = [("a",), ("raise",), ("hang",), ("crash",), ("b",)]
    before, raised, hung, crashed, after = pool.respond([(toy_problem(i), turns) for i, turns in enumerate(said)])
    assert (before, after) == (Answer("1 a"), Answer("1 b"))
    assert raised.failure.startswith("CheckFailed: raised ValueError: what a turn (toy_turns.py line")
    assert hung.failure == "CheckFailed: took over 2 s"
    assert crashed.failure == "CheckFailed: the worker exited with status 3"
    assert not (raised.observation or raised.done)


def test_an_observation_can_always_be_encoded(pool):
    (answer,) = pool.respond([(toy_problem(0), ("surrogate",))])
    assert answer == Answer("?")


def test_an_episode_that_was_played_is_judged_by_its_environment(pool):
    texts = [(toy_problem(0), "a 1 a bye"), (toy_problem(1), "ok = 2"), (toy_problem(2), "raise")]
    played, read, raised = pool.score(texts, [("a", "bye"), (), ("raise",)])
    assert (played.reward, played.answer, len(played.steps)) == (1.0, "a bye", 2)
    # without turns the task's check reads the text
    assert (read.reward, read.answer) == (1.0, "2")
    assert raised.reward is None and raised.failure.startswith("CheckFailed: raised ValueError")


def test_an_episode_of_an_unknown_task_is_refused(pool):
    with pytest.raises(TaskError, match=r"task of problem .* 'people' is not one of sums"):
        pool.respond([(toy_problem(0, task="people"), ("a",))])


def test_turns_and_answers_travel():
    sent = [Request(toy_problem(0), "a b", turns=("a", "b")), Request(toy_problem(0), "", turns=("a",), answer=True)]
    assert pickle.loads(pack_requests(sent)) == sent
    judged = [Judgement(answer=("seen", False)), Judgement(failure="CheckFailed: x")]
    assert unpack_judgements(pack_judgements(judged)) == judged
