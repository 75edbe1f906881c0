"""Engines that die, hang, stop and raise, and what becomes of their work: real Ray, with engines that only count.

Each actor looks for a file of its own that tells it to misbehave, and takes it away as it does: it does so once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray

from rlreason.engines.protocols import SampleBatch, SamplingSettings, ScorerModel
from rlreason.errors import EngineFailed, StaleWeights
from rlreason.orchestration.cluster import connect
from rlreason.orchestration.crew import Crew, Member
from rlreason.orchestration.fleet import RayGenerator, RayStepScorer, SharedWeights
from rlreason.recipe.schema import Resources
from rlreason.records.incidents import standing
from rlreason.types import Incident

SETTINGS = SamplingSettings(1.0, 1.0, 3)
LIMITS = Resources(wedged_after_s=2.5, max_restarts=3)
PROMPTS, SEEDS = [np.arange(index, dtype=np.int32) for index in range(5)], list(range(10, 15))
EXPECTED = [[10], [0, 11], [0, 1, 12], [0, 1, 2, 13], [0, 1, 2, 3, 14]]
FINGERPRINT = 77


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_kill_worker_timeout_milliseconds", "500")  # 5 s to end by itself, before SIGKILL
        assert connect(LIMITS)
    yield
    ray.shutdown()


def misbehave(order: Path) -> None:
    """Do what the file says, once. "always-raise" stays."""
    what = order.read_text() if order.exists() else ""
    if what != "always-raise":
        order.unlink(missing_ok=True)
    match what:
        case "die":
            os._exit(7)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(600)  # this thread may get a little further before all of them stop
        case "hang":
            time.sleep(600)
        case "raise" | "always-raise":
            raise ZeroDivisionError("divided by zero")
        case "refuse":
            raise StaleWeights("these are not the weights")


@ray.remote(num_cpus=0, concurrency_groups={"progress": 1})
class Engine:
    """Its completion is the prompt, then the seed; its steps are the completions that it made."""

    def __init__(self, orders: Path, name: str) -> None:
        self.orders, self.name, self.version, self.steps, self.asleep = orders, name, 0, 0, False

    def ready(self) -> int:
        return os.getpid()

    @ray.method(concurrency_group="progress")
    def pulse(self) -> int:
        return self.steps

    def generate(self, prompts: list[np.ndarray], seeds: list[int], settings: SamplingSettings) -> SampleBatch:
        misbehave(self.orders / f"{self.name}-generate")
        self.asleep = False
        tokens = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            tokens.append(np.append(prompt, seed).astype(np.int32))
            self.steps += 1
        if (self.orders / f"{self.name}-slow").exists():
            for _ in range(10):  # longer in all than what counts as wedged, and never as long without a step
                time.sleep(0.4)
                self.steps += 1
        flat = np.concatenate(tokens)
        lengths = np.array([len(each) for each in tokens])
        return SampleBatch(flat, -flat.astype(np.float32), lengths, np.ones(len(tokens), bool), self.version)

    def load_weights(self, fingerprint: int, policy_version: int) -> tuple[int, int]:
        misbehave(self.orders / f"{self.name}-load")
        self.version = policy_version
        return policy_version, fingerprint

    def sleep(self) -> None:
        misbehave(self.orders / f"{self.name}-sleep")
        self.asleep = True

    def state(self) -> tuple[bool, int]:
        return self.asleep, self.version

    def load(self, model: ScorerModel) -> None:
        self.beta = model.beta

    def score(self, batch: np.ndarray) -> np.ndarray:
        misbehave(self.orders / f"{self.name}-score")
        return batch * self.beta


@pytest.fixture
def incidents() -> list[Incident]:
    return []


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where engines look for what they are to do."""
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def members(local_ray: None, orders: Path) -> list[Member]:
    """Two engines, which all tests use in turn."""
    made = []
    for name in ("engine-0", "engine-1"):
        make = partial(Engine.remote, orders, name)
        made.append(Member(name, make(), make))
    ray.get([member.actor.ready.remote() for member in made])
    return made


@pytest.fixture
def crew(members: list[Member], orders: Path, incidents: list[Incident]) -> Iterator[Callable[..., Crew]]:
    def make(size: int = 2, resources: Resources = LIMITS) -> Crew:
        return Crew(members[:size], resources, Path("logs"), incidents.append)

    yield make
    for order in orders.iterdir():
        order.unlink()
    for member in members:
        if member.call is not None or member.lost is not None or not alive(member.actor):
            ray.kill(member.actor)
            member.actor = member.make()
        member.call, member.serving, member.lost, member.restarts = None, None, None, 0
    ray.get([member.actor.load_weights.remote(FINGERPRINT, 0) for member in members])


def alive(actor: Any) -> bool:
    try:
        ray.get(actor.ready.remote(), timeout=1)
    except ray.exceptions.RayError:
        return False
    return True


def once(incidents: list[Incident]) -> list[Incident]:
    """One a loss, as readers of the file take them."""
    return [incidents[place] for place in standing([asdict(incident) for incident in incidents])]


def weights() -> SharedWeights:
    return SharedWeights(ray.put(FINGERPRINT), FINGERPRINT)


def sampled(batch: SampleBatch) -> list[list[int]]:
    return [tokens.tolist() for tokens, _ in batch.split()]


def pids(crew: Crew) -> list[int]:
    found: list[int] = ray.get([member.actor.ready.remote() for member in crew.members])
    return found


@pytest.mark.parametrize(
    ("order", "kind"), [("die", "died"), ("raise", "raised"), ("hang", "wedged"), ("stop", "wedged")]
)
def test_the_work_of_an_engine_that_is_lost_is_done_by_another(orders, crew, incidents, order, kind):
    crew = crew()
    generator = RayGenerator(crew, LIMITS)
    generator.load_weights(weights(), policy_version=3)
    before = pids(crew)
    (orders / "engine-1-generate").write_text(order)
    start = time.monotonic()
    assert sampled(generator.generate(PROMPTS, SEEDS, SETTINGS)) == EXPECTED
    assert time.monotonic() - start < 20
    # the one that is started again takes part once it serves what the other serves
    after = generator.generate(PROMPTS, SEEDS, SETTINGS)
    assert sampled(after) == EXPECTED and after.policy_version == 3
    generator.load_weights(weights(), policy_version=4)
    wait_until_whole(generator)
    (incident,) = once(incidents)
    assert (incident.actor, incident.kind, incident.blame) == ("engine-1", kind, "infrastructure")
    assert incident.lost == "nothing: its generate was asked again" and incident.done == "killed and started again"
    assert incident.recover_s is not None and incident.recover_s < 20
    assert (incident.detect_s or 0) >= (2.5 if kind == "wedged" else 0)
    assert pids(crew)[0] == before[0] and pids(crew)[1] != before[1]
    assert wait_until_gone(before[1]), "Ray kills it within seconds, also where it is stopped"


def wait_until_gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return not psutil.wait_procs([psutil.Process(pid)], timeout=15)[1]
    return True


def wait_until_whole(generator: RayGenerator) -> None:
    """Generate until every engine that was lost is back."""
    deadline = time.monotonic() + 20
    while any(member.lost is not None for member in generator._crew.members):
        assert time.monotonic() < deadline
        generator.generate(PROMPTS, SEEDS, SETTINGS)
        time.sleep(0.1)


def test_an_engine_that_died_while_nobody_asked_anything_of_it_is_found_at_the_next_sync(crew, incidents, capfd):
    crew = crew()
    generator = RayGenerator(crew, LIMITS)
    (pid, _) = pids(crew)
    os.kill(pid, signal.SIGKILL)
    generator.load_weights(weights(), policy_version=1)
    assert generator.generate(PROMPTS, SEEDS, SETTINGS).policy_version == 1
    wait_until_whole(generator)
    assert [incident.actor for incident in once(incidents)] == ["engine-0"]
    time.sleep(1)
    assert capfd.readouterr().out == "", "Ray would print it, among the run's results"


@pytest.mark.parametrize("order", ["die", "stop"])
def test_an_only_engine_that_is_lost_in_a_sync_serves_its_weights_once_it_is_back(orders, crew, incidents, order):
    generator = RayGenerator(crew(1), LIMITS)
    (orders / "engine-0-load").write_text(order)
    generator.load_weights(weights(), policy_version=5)
    batch = generator.generate(PROMPTS, SEEDS, SETTINGS)
    assert sampled(batch) == EXPECTED and batch.policy_version == 5
    assert [(incident.actor, incident.lost) for incident in once(incidents)] == [("engine-0", "nothing")]


def test_an_engine_that_is_slow_but_moves_is_left_alone(orders, crew, incidents):
    (orders / "engine-0-slow").touch()
    start = time.monotonic()
    assert sampled(RayGenerator(crew(), LIMITS).generate(PROMPTS, SEEDS, SETTINGS)) == EXPECTED
    assert time.monotonic() - start > 10 * 0.4 > LIMITS.wedged_after_s
    assert incidents == []


def test_an_engine_that_is_lost_too_often_ends_the_run_with_what_was_seen(orders, crew, incidents):
    limits = LIMITS.model_copy(update={"max_restarts": 0})
    generator = RayGenerator(crew(2, limits), limits)
    (orders / "engine-0-generate").write_text("die")
    with pytest.raises(EngineFailed, match=r"engine-0 died, and it was lost 1 times \(resources\.max_restarts 0\)"):
        generator.generate(PROMPTS, SEEDS, SETTINGS)
    assert [incident.done for incident in incidents] == ["given up"]


def test_work_over_which_two_engines_raise_is_not_tried_a_third_time(orders, crew):
    for index in range(2):
        (orders / f"engine-{index}-generate").write_text("always-raise")
    with pytest.raises(EngineFailed, match=r"the same call raised in 2 engines: ZeroDivisionError: divided by zero"):
        RayGenerator(crew(), LIMITS).generate(PROMPTS, SEEDS, SETTINGS)


def test_an_engine_that_has_other_weights_than_the_learner_sent_stops_the_run(crew):
    generator = RayGenerator(crew(1), LIMITS)
    with pytest.raises(StaleWeights, match=r"engine-0 serves .*\(2, 77\) and was sent \(2, 78\)"):
        generator.load_weights(SharedWeights(ray.put(FINGERPRINT), FINGERPRINT + 1), policy_version=2)


def test_completions_of_another_policy_version_than_was_sent_stop_the_run(crew):
    crew = crew()
    generator = RayGenerator(crew, LIMITS)
    generator.load_weights(weights(), policy_version=2)
    ray.get(crew.members[0].actor.load_weights.remote(FINGERPRINT, 1))
    with pytest.raises(StaleWeights, match=r"sampled with policy version 1, 2 and should serve 2; no step was made"):
        generator.generate(PROMPTS, SEEDS, SETTINGS)


def test_a_step_scorer_that_died_scores_with_its_model_once_it_is_back(orders, crew, incidents):
    scorer = RayStepScorer(crew(1), LIMITS)
    scorer.load(ScorerModel("implicit", (), beta=2.0))
    (orders / "engine-0-score").write_text("die")
    assert scorer.score(np.arange(3.0)).tolist() == [0.0, 2.0, 4.0]  # type: ignore[arg-type]
    assert [incident.kind for incident in once(incidents)] == ["died"]


@pytest.mark.parametrize(("order", "kind"), [("die", "died"), ("raise", "raised"), ("hang", "wedged")])
def test_an_engine_that_is_lost_as_it_goes_to_sleep_is_back_and_asleep_before_anybody_goes_on(
    orders, crew, incidents, order, kind
):
    crew = crew()
    generator = RayGenerator(crew, LIMITS)
    generator.load_weights(weights(), policy_version=3)
    (orders / "engine-1-sleep").write_text(order)
    generator.sleep()
    assert ray.get([member.actor.state.remote() for member in crew.members]) == [(True, 3), (True, 3)]
    assert [(incident.actor, incident.kind) for incident in once(incidents)] == [("engine-1", kind)]


def test_engines_go_to_sleep_together_with_one_that_was_being_started_again(orders, crew):
    crew = crew()
    generator = RayGenerator(crew, LIMITS)
    generator.load_weights(weights(), policy_version=4)
    (orders / "engine-1-load").write_text("die")
    generator.load_weights(weights(), policy_version=5)  # does not wait for it
    assert crew.members[1].lost is not None
    generator.sleep()
    assert crew.members[1].lost is None
    assert ray.get([member.actor.state.remote() for member in crew.members]) == [(True, 5), (True, 5)]


def test_an_engine_that_cannot_sleep_ends_the_run_with_what_it_raised(orders, crew):
    (orders / "engine-0-sleep").write_text("refuse")
    with pytest.raises(StaleWeights, match="these are not the weights"):
        RayGenerator(crew(), LIMITS).sleep()


def test_an_engine_that_was_busy_while_others_were_given_new_weights_has_them_before_it_works(orders, crew):
    generator = RayGenerator(crew(), LIMITS)
    generator.load_weights(weights(), policy_version=6)
    (orders / "engine-0-generate").write_text("refuse")
    (orders / "engine-1-slow").touch()
    with pytest.raises(StaleWeights, match="these are not the weights"):
        generator.generate(PROMPTS, SEEDS, SETTINGS)
    (orders / "engine-1-slow").unlink()
    generator.load_weights(weights(), policy_version=7)
    assert generator.generate(PROMPTS, SEEDS, SETTINGS).policy_version == 7


def test_a_loss_is_told_before_anything_is_done_about_it(members, orders, crew, incidents, monkeypatch):
    crew = crew()
    told: list[Incident] = []
    make = members[1].make
    monkeypatch.setattr(members[1], "make", lambda: (told.extend(incidents), make())[1])
    (orders / "engine-1-generate").write_text("die")
    RayGenerator(crew, LIMITS).generate(PROMPTS, SEEDS, SETTINGS)
    (incident,) = told
    assert (incident.actor, incident.done, incident.recover_s) == ("engine-1", "killed, being started again", None)


def test_a_crew_that_is_closed_while_a_member_is_on_its_way_back_leaves_it_at_that(orders, crew, incidents):
    crew = crew()
    (orders / "engine-1-load").write_text("die")
    RayGenerator(crew, LIMITS).load_weights(weights(), policy_version=1)
    crew.close()
    assert [incident.recover_s for incident in incidents] == [None]
    assert incidents[0].done == "killed, being started again"
