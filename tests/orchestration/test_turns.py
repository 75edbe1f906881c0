"""GPUs that engines share, and weights that a learner sends: who is called when. Real Ray, engines that note it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from rlreason.errors import EngineFailed
from rlreason.orchestration.cluster import connect
from rlreason.orchestration.crew import Crew, Member
from rlreason.orchestration.fleet import RayGenerator, RayLearner
from rlreason.recipe.schema import Resources

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    assert connect(Resources())
    yield
    ray.shutdown()


def note(log: Path, what: str) -> None:
    with log.open("a") as file:
        file.write(what + "\n")


@ray.remote(num_cpus=0)
class Generator:
    def __init__(self, log: Path) -> None:
        self.log = log

    def pulse(self) -> int:
        return 0

    def sleep(self) -> None:
        time.sleep(0.2)
        note(self.log, "asleep")

    def load_weights(self, weights: str, policy_version: int) -> tuple[int, None]:
        note(self.log, "loading")
        deadline = time.monotonic() + 30
        while "sending" not in self.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        note(self.log, f"loaded {weights} {policy_version}")
        return policy_version, None


@ray.remote(num_cpus=0, concurrency_groups={"progress": 1})
class Learner:
    def __init__(self, log: Path) -> None:
        self.log = log

    @ray.method(concurrency_group="progress")
    def pulse(self) -> int:
        return 0

    def update(self, batch: Any, update: int, on_policy: bool) -> dict[str, float]:
        note(self.log, f"update {update}")
        return {}

    def weights(self) -> tuple[None, str]:
        return None, "handles"

    def send_weights(self) -> None:
        deadline = time.monotonic() + 30
        while "loading" not in self.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        if "fail" in self.log.read_text():
            raise ConnectionError("the wire broke")
        note(self.log, "sending")


def crew(log: Path, resources: Resources, count: int) -> RayGenerator:
    def make() -> Any:
        return Generator.remote(log)

    members = [Member(f"generator-{index}", make(), make) for index in range(count)]
    return RayGenerator(Crew(members, resources, Path("logs"), lambda incident: None), resources)


def test_all_generators_sleep_before_a_learner_works(tmp_path: Path) -> None:
    log, resources = tmp_path / "log", Resources(placement="colocated", sleep_level=1, generators=2)
    generator = crew(log, resources, 2)
    learner = RayLearner([Learner.remote(log)], Path("logs"), resources, list, generator.sleep)
    learner.update(np.zeros(1), 1, True)
    assert log.read_text().split("\n")[:3] == ["asleep", "asleep", "update 1"]


def test_a_learner_sends_while_the_generators_load(tmp_path: Path) -> None:
    log, resources = tmp_path / "log", Resources(placement="disaggregated", weight_sync="nccl", wedged_after_s=60)
    log.touch()
    generator, learner = crew(log, resources, 1), RayLearner([Learner.remote(log)], Path("logs"), resources, list)
    # each waits for the other, as NCCL does
    generator.load_weights(learner.weights(), 5)
    assert log.read_text().split("\n")[:3] == ["loading", "sending", "loaded handles 5"]


def test_a_sending_that_failed_is_told_by_the_learner_s_next_call(tmp_path: Path) -> None:
    log, resources = tmp_path / "log", Resources(placement="disaggregated", weight_sync="nccl")
    log.write_text("loading fail\n")
    learner = RayLearner([Learner.remote(log)], Path("logs"), resources, list)
    learner.weights()
    with pytest.raises(EngineFailed, match=r"learner: sending weights failed: ConnectionError: the wire broke"):
        learner.update(np.zeros(1), 1, True)
