"""Many actors as one generator and one learner: real Ray, with engines that only count."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray

from rlreason.engines.protocols import SampleBatch, SamplingSettings
from rlreason.errors import CheckpointError, EngineFailed, LearnerLost, WeightSyncMismatch
from rlreason.orchestration.cluster import connect
from rlreason.orchestration.crew import Crew, Member
from rlreason.orchestration.fleet import RayGenerator, RayLearner
from rlreason.orchestration.start import PendingEngines
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

    def load_weights(self, weights: int, policy_version: int) -> tuple[int, int]:
        self.version = policy_version
        return policy_version, weights

    def pulse(self) -> int:
        return 0


@ray.remote(num_cpus=0, concurrency_groups={"progress": 1})
class Rank:
    """A learner that knows its rank, and fails or waits where it is told to."""

    def __init__(self, rank: int) -> None:
        self.rank, self.told = rank, [[(1, {"loss": 3.0})], [(2, {"loss": 2.0})]]

    def update(self, batch: Any, update: int, on_policy: bool) -> dict[str, float]:
        if not on_policy and self.rank == 1:
            raise WeightSyncMismatch("update 7: they disagree")
        return {"rank": float(self.rank), "seen": float(batch.sum()), "update": float(update)}

    def weights(self) -> tuple[int | None, int | None]:
        return (40, 40) if self.rank == 0 else (None, None)

    def end(self) -> int:
        return os.getpid()

    def save_model(self, output: str) -> None:
        if output == "die" and self.rank == 1:
            os._exit(7)
        if output == "stop" and self.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(600)  # this thread may get a little further before all of them stop
        if output == "break":  # rank 0 is the first to tell that rank 1 is gone, as a process group does
            if self.rank == 0:
                raise ConnectionError("closed by peer")
            time.sleep(0.5)
            os._exit(7)
        if output == "out of memory" and self.rank == 0:
            raise MemoryError("cannot allocate 8 GiB")
        if output == "refuse" and self.rank == 0:
            raise CheckpointError("the disk is full")
        waits = output in ("out of memory", "refuse") or (output == "die" and self.rank == 0)
        time.sleep(60 if waits else 0)  # for the other in a collective

    def send_weights(self) -> None:
        time.sleep(60)  # for a generator that is gone

    @ray.method(concurrency_group="progress")
    def pulse(self) -> float:
        return time.monotonic()

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


def new_ranks() -> list[Any]:
    ranks = [Rank.remote(rank) for rank in range(2)]
    ray.get([rank.end.remote() for rank in ranks])  # they are there
    return ranks


def learner(**limits: Any) -> RayLearner:
    return RayLearner(new_ranks(), Path("logs"), Resources(**limits), new_ranks)


def generator(actors: list[Any]) -> RayGenerator:
    members = [Member(f"echo-{index}", actor, Echo.remote) for index, actor in enumerate(actors)]
    return RayGenerator(Crew(members, Resources(), Path("logs"), lambda incident: None), Resources())


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
    batch = generator(echoes[:actors]).generate(prompts, range(10, 10 + count), SETTINGS)
    expected = [[10], [0, 11], [0, 1, 12], [0, 1, 2, 13]]
    assert [tokens.tolist() for tokens, _ in batch.split()] == expected[:count]


def test_rank_zero_s_weights_reach_every_generator(echoes, ranks):
    served = generator(echoes)
    served.load_weights(ranks.weights(), policy_version=2)
    assert served.generate([np.zeros(1)] * 3, [0, 0, 0], SETTINGS).policy_version == 2
    served.load_weights(ranks.weights(), policy_version=0)


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


def test_one_rank_s_failure_is_seen_while_the_others_still_wait_for_it(monkeypatch):
    monkeypatch.setattr("rlreason.orchestration.fleet.PEERS_S", 0.5)
    start = time.monotonic()
    with pytest.raises(EngineFailed, match=r"supervised failed: ZeroDivisionError: rank 1 divided by zero \(logs: log"):
        learner().supervised("fail", np.zeros(1), lambda update, metrics: None)
    with pytest.raises(LearnerLost, match=r"^learner-1 died: "):
        learner().supervised("die", np.zeros(1), lambda update, metrics: None)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(("order", "kind"), [("die", "died"), ("break", "died"), ("stop", "wedged")])
def test_when_a_rank_is_lost_all_are_started_again_before_anybody_is_told(order, kind):
    lost = learner(wedged_after_s=4.0)
    before = lost._all("end")
    with pytest.raises(LearnerLost) as told:
        lost.save_model(order)  # type: ignore[arg-type]
    assert (told.value.actor, told.value.kind) == ("learner-1", kind)
    assert told.value.detect_s >= (4.0 if kind == "wedged" else 0) and told.value.recover_s > 0
    after = lost._all("end")
    assert len(after) == 2 and not set(after) & set(before)


@pytest.mark.parametrize(
    ("order", "error", "words"),
    [
        ("out of memory", EngineFailed, r"^learner: save_model failed: MemoryError: cannot allocate 8 GiB \(logs"),
        ("refuse", CheckpointError, r"^the disk is full$"),
    ],
)
def test_a_stage_ends_at_once_with_what_a_rank_raised_while_another_waits_for_it(order, error, words, monkeypatch):
    monkeypatch.setattr("rlreason.orchestration.fleet.PEERS_S", 0.5)
    broken = learner()
    start = time.monotonic()
    with pytest.raises(error, match=words) as told:
        try:
            broken.save_model(order)
        finally:
            broken.end()
    assert time.monotonic() - start < 20
    assert not isinstance(told.value, LearnerLost)
    with pytest.raises(EngineFailed, match=r"update was asked of ranks that were given up; run again"):
        broken.update(np.arange(4), 3, True)  # type: ignore[arg-type]


def test_ranks_that_all_raised_are_ended_as_ever(monkeypatch):
    monkeypatch.setattr("rlreason.orchestration.fleet.PEERS_S", 30.0)
    whole = learner()
    start = time.monotonic()
    with pytest.raises(WeightSyncMismatch):
        whole.update(np.arange(4), 7, False)  # type: ignore[arg-type]
    whole.end()
    assert len(whole._actors) == 2 and time.monotonic() - start < 10


def test_a_stage_ends_while_ranks_send_to_a_generator_that_is_gone(monkeypatch):
    monkeypatch.setattr("rlreason.orchestration.fleet.PEERS_S", 0.5)
    sending = learner(placement="disaggregated", weight_sync="nccl")
    sending.weights()
    start = time.monotonic()
    sending.end()
    assert time.monotonic() - start < 10


def test_a_generator_that_failed_does_not_come_in_the_way_of_the_end_of_a_stage():
    def no_room() -> None:
        raise EngineFailed("generator-0 died, and it was lost 2 times")

    RayLearner(new_ranks(), Path("logs"), Resources(), new_ranks, no_room).end()


def test_a_learner_that_is_lost_too_often_ends_the_run():
    lost = learner(max_restarts=1)
    with pytest.raises(LearnerLost):
        lost.save_model("die")  # type: ignore[arg-type]
    with pytest.raises(EngineFailed, match=r"learner-1 died, and the learner was lost 2 times \(resources\.max_res"):
        lost.save_model("die")  # type: ignore[arg-type]


def test_the_end_of_a_stage_does_not_lose_a_learner_that_is_given_up_once_more():
    lost = learner(max_restarts=0)
    with pytest.raises(EngineFailed, match=r"learner-1 died, and the learner was lost 1 times \(resources\.max_res"):
        try:
            lost.save_model("die")  # type: ignore[arg-type]
        finally:
            lost.end()


def test_ranks_that_cannot_be_started_again_end_the_run_with_the_reason():
    tried: list[bool] = []

    def no_place() -> list[Any]:
        tried.append(True)
        raise EngineFailed("learner 0: rendezvous did not answer within 50 s")

    lost = RayLearner(new_ranks(), Path("logs"), Resources(), no_place)
    with pytest.raises(EngineFailed, match=r"^learner 0: rendezvous did not answer"):
        try:
            lost.save_model("die")  # type: ignore[arg-type]
        finally:
            lost.end()
    assert tried == [True]


def test_a_start_that_fails_gives_back_what_it_had_taken(tmp_path, monkeypatch):
    released: list[bool] = []

    def no_options(role: str, index: int) -> dict[str, Any]:
        raise EngineFailed("learner 0: rendezvous did not answer within 600 s")

    placement = SimpleNamespace(
        layout=SimpleNamespace(accelerator="cpu", colocated=False),
        options=no_options,
        release=lambda: released.append(True),
    )
    monkeypatch.setattr("rlreason.orchestration.start.place", lambda resources, scorers: placement)
    with pytest.raises(EngineFailed, match="rendezvous did not answer"):
        PendingEngines(Resources(), tmp_path, None, 64, tmp_path / "logs")
    assert released == [True]
