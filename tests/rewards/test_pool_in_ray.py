"""The pool inside a Ray actor, where the main thread is not its own and signals would not do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from toy_task import toy_problem, toy_specs

from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards.failures import kind_of

ACT = "hostile.py:act"


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    started = not ray.is_initialized()
    if started:
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    if started:
        ray.shutdown()


def test_scores_are_the_same_in_a_ray_actor(local_ray, make_pool):
    texts = [*["ok = 1"] * 30, "raise", "c loop", "segfault", "nan", "ok no = 1"]
    requests = [(toy_problem(0), text) for text in texts]
    rubric = Rubric(parts=(Reward(spec=ACT, deadline_s=0.7),))

    class Scorer:
        def score(self, path: list[str], arguments: tuple[Any, ...], requests: list[Any]) -> list[Any]:
            sys.path[:] = path
            from rlreason.rewards.pool import ScoringPool

            with ScoringPool(*arguments, task_builder="toy_task:build_toy") as pool:
                return pool.score(requests)

    actor = ray.remote(num_cpus=0)(Scorer).remote()
    there = ray.get(actor.score.remote(sys.path, (rubric, toy_specs(), [Path(__file__).parent]), requests))
    here = make_pool(ACT).score(requests)
    assert there == here
    assert [score.reward for score in here] == [1.0] * 30 + [None] * 4 + [1.0]
    assert [kind_of(score.failure) for score in here[30:]] == [
        *("PluginRaised", "PluginTimeout", "PluginCrashed", "InvalidScore"),
        None,
    ]
