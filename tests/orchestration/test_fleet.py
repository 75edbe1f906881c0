"""Many actors as one generator and one learner: real Ray, with engines that only count."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from rlreason.engines.protocols import SampleBatch, SamplingSettings
from rlreason.errors import EngineFailed, WeightSyncMismatch
from rlreason.orchestration.cluster import connect
from rlreason.orchestration.fleet import RayGenerator, RayLearner
from rlreason.recipe.schema import Resources

SETTINGS = SamplingSettings(1.0, 1.0, 3)


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    assert connect(Resources())
    yield
    ray.shutdown()


@ray.remote(num_cpus=0)
class Echo:
    """A generator whose completion is the prompt, then the seed."""

    def __init__(self) -> None:
        self.version = 0

    def generate(self, prompts: list[np.ndarray], seeds: list[int], settings: SamplingSettings) -> SampleBatch:
        tokens = [np.append(prompt, seed).astype(np.int32) for prompt, seed in zip(prompts, seeds, strict=True)]
        flat = np.concatenate(tokens)
        return SampleBatch(
            flat, -flat.astype(np.float32), np.array([len(t) for t in tokens]), np.ones(len(tokens), bool), self.version
        )

    def load_weights(self, weights: int, policy_version: int) -> None:
        self.version = weights + policy_version


@ray.remote(num_cpus=0, concurrency_groups={"progress": 1})
class Rank:
    """A learner that knows its rank, and fails or waits where it is told to."""

    def __init__(self, rank: int) -> None:
        self.rank, self.told = rank, [[(1, {"loss": 3.0})], [(2, {"loss": 2.0})]]

    def update(self, batch: Any, update: int, on_policy: bool) -> dict[str, float]:
        if not on_policy and self.rank == 1:
            raise WeightSyncMismatch("update 7: they disagree")
        return {"rank": float(self.rank), "seen": float(batch.sum()), "update": float(update)}

    def weights(self) -> int | None:
        return 40 if self.rank == 0 else None

    def supervised(self, job: str, rows: Any) -> dict[str, float]:
        if job == "fail" and self.rank == 1:
            raise ZeroDivisionError("rank 1 divided by zero")
        if job == "die" and self.rank == 1:
            os._exit(7)
        time.sleep(60 if job in ("fail", "die") else 0.7)  # rank 0 waits for rank 1, as a collective would
        return {"updates_run": 2.0}

    def preferences(self, job: str, pairs: Any) -> dict[str, float]:
        return {"pairs": float(len(pairs)), "rank": float(self.rank)}

    @ray.method(concurrency_group="progress")
    def progress(self) -> list[tuple[int, dict[str, float]]]:
        return self.told.pop(0) if self.told else []


def learner() -> RayLearner:
    return RayLearner([Rank.remote(rank) for rank in range(2)], Path("logs"))


@pytest.fixture(scope="module")
def ranks(local_ray: None) -> RayLearner:
    return learner()


@pytest.fixture(scope="module")
def echoes(local_ray: None) -> list[Any]:
    return [Echo.remote() for _ in range(3)]


@pytest.mark.parametrize("actors", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_completions_come_back_in_the_order_of_the_prompts(echoes, actors, count):
    prompts = [np.arange(index, dtype=np.int32) for index in range(count)]
    batch = RayGenerator(echoes[:actors], Path("logs")).generate(prompts, range(10, 10 + count), SETTINGS)
    expected = [[10], [0, 11], [0, 1, 12], [0, 1, 2, 13]]
    assert [tokens.tolist() for tokens, _ in batch.split()] == expected[:count]


def test_rank_zero_s_weights_reach_every_generator_and_a_stale_one_is_found_out(echoes, ranks):
    prompts, seeds = [np.zeros(1)] * 3, [0, 0, 0]
    RayGenerator(echoes[:2], Path("logs")).load_weights(ranks.weights(), policy_version=2)
    assert RayGenerator(echoes[:2], Path("logs")).generate(prompts, seeds, SETTINGS).policy_version == 42
    with pytest.raises(ValueError, match=r"policy versions \[0, 42\] cannot be one batch"):
        RayGenerator(echoes, Path("logs")).generate(prompts, seeds, SETTINGS)


def test_every_rank_gets_the_whole_batch_and_rank_zero_answers(ranks):
    assert ranks.update(np.arange(4), 3, True) == {"rank": 0.0, "seen": 6.0, "update": 3.0}


def test_what_an_engine_raised_on_purpose_keeps_its_type_and_words(ranks):
    with pytest.raises(WeightSyncMismatch, match=r"^update 7: they disagree$"):
        ranks.update(np.arange(4), 7, False)


def test_progress_is_passed_on_while_a_supervised_stage_runs(ranks):
    told: list[tuple[int, float]] = []
    figures = ranks.supervised("go", np.zeros(1), lambda update, metrics: told.append((update, metrics["loss"])))
    assert figures == {"updates_run": 2.0}
    assert told == [(1, 3.0), (2, 2.0)]


def test_pairs_reach_every_rank_and_rank_zero_answers():
    assert learner().preferences("go", np.zeros(3), lambda update, metrics: None) == {"pairs": 3.0, "rank": 0.0}


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("fail", r"learner: supervised failed: ZeroDivisionError: rank 1 divided by zero \(logs: logs\)"),
        ("die", r"learner: supervised failed: its process died \(logs: logs\)"),
    ],
)
def test_one_rank_s_failure_is_seen_while_the_others_still_wait_for_it(job, message):
    start = time.monotonic()
    with pytest.raises(EngineFailed, match=message):
        learner().supervised(job, np.zeros(1), lambda update, metrics: None)
    assert time.monotonic() - start < 30
