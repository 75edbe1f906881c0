"""Faults of engines on Ray, real vLLM and DeepSpeed, and a node that is killed.

Starting the engines takes most of the time, so one run is broken many times, at an update each, and compared with one
that was left alone. A fault that ends the run comes last, and the run is resumed for the next.
"""

from __future__ import annotations

import copy
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, placement_group_table
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from faults.place import RECIPE, Injector, Place, Row, left_over
from rlreason.engines.protocols import PolicyBatch, SampleBatch, SamplingSettings
from rlreason.errors import EngineFailed
from rlreason.orchestration import actors, start
from rlreason.orchestration.cluster import connect
from rlreason.orchestration.crew import Crew, Member, Serving
from rlreason.orchestration.fleet import RayGenerator, RayLearner, RayStepScorer
from rlreason.recipe.schema import Resources
from rlreason.records import RunFolder, read_incidents

GENERATOR, LEARNER, SCORER = "ray::GeneratorActor", "ray::LearnerActor", "ray::ScorerActor"
WEDGED_AFTER_S = 20.0
HUNGRY = "RLREASON_FAULT_HUNGRY"
"""Environment variable with the path of the file that makes a learner hungry; Ray's workers inherit it."""


def stack_recipe() -> dict[str, Any]:
    """The recipe on vLLM and DeepSpeed: two generators, a learner and a step scorer."""
    values = copy.deepcopy(RECIPE)
    values["resources"] = {
        **{"accelerator": "cpu", "generators": 2, "threads": 1, "micro_batch_tokens": 512, "kv_cache_gib": 0.05},
        **{"wedged_after_s": WEDGED_AFTER_S, "max_restarts": 10},
    }
    values["scorers"] = {"ratio": {"type": "implicit", "policy": "sft"}}
    values["stages"]["rl"] |= {"updates": 24, "credit": {"type": "process_return", "steps": "ratio", "weight": 0.1}}
    values["stages"]["rl"]["optimizer"] = {"learning_rate": 5e-4}
    return values


def processes(title: str) -> list[psutil.Process]:
    """The actors of a class, in the order in which they were started."""
    found = [child for child in psutil.Process().children(recursive=True) if child.name().startswith(title[:15])]
    return sorted(
        (child for child in found if "".join(child.cmdline()).startswith(title)), key=psutil.Process.create_time
    )


@dataclass
class Shot:
    """A fault of the disturbed run: fired at the first call of `method` from update `after` on, `delay_s` into it.

    Attributes:
        call: a class of the fleet and its method; None: between two updates, while all are idle.
    """

    name: str
    injected: str
    after: int
    title: str
    number: signal.Signals
    call: tuple[type, str] | None
    delay_s: float = 0.02
    fired_at: float = 0.0

    def fire(self) -> None:
        """Send the signal to the oldest actor of its class."""
        self.fired_at = time.time()
        processes(self.title)[0].send_signal(self.number)


SHOTS = (
    Shot("generator-killed-idle", "SIGKILL between two updates", 2, GENERATOR, signal.SIGKILL, None),
    Shot(
        "generator-killed-generating", "SIGKILL in generate", 4, GENERATOR, signal.SIGKILL, (RayGenerator, "generate")
    ),
    Shot(
        "generator-killed-in-sync",
        "SIGKILL in load_weights",
        6,
        GENERATOR,
        signal.SIGKILL,
        (RayGenerator, "load_weights"),
        0.0,
    ),
    Shot("generator-stopped", "SIGSTOP in generate", 8, GENERATOR, signal.SIGSTOP, (RayGenerator, "generate")),
    Shot("learner-killed-in-update", "SIGKILL in update", 11, LEARNER, signal.SIGKILL, (RayLearner, "update")),
    Shot(
        "learner-killed-in-save", "SIGKILL in save_state", 13, LEARNER, signal.SIGKILL, (RayLearner, "save_state"), 0.0
    ),
    Shot("learner-stopped", "SIGSTOP in update", 16, LEARNER, signal.SIGSTOP, (RayLearner, "update")),
    Shot("scorer-killed", "SIGKILL in score", 18, SCORER, signal.SIGKILL, (RayStepScorer, "score"), 0.0),
)


class Gallery:
    """Fires shots one after another as a run reaches them. Wraps the fleet's methods, in this process only."""

    def __init__(self, shots: tuple[Shot, ...]) -> None:
        self.left = list(shots)
        self.update = 0
        for fleet, method in {shot.call for shot in shots if shot.call is not None}:
            self._wrap(fleet, method)

    def _wrap(self, fleet: type, method: str) -> None:
        whole = getattr(fleet, method)

        def watched(target: Any, *arguments: Any, **named: Any) -> Any:
            if self.left and self.left[0].call == (fleet, method) and self.update >= self.left[0].after:
                shot = self.left.pop(0)
                threading.Timer(shot.delay_s, shot.fire).start()
            return whole(target, *arguments, **named)

        setattr(fleet, method, watched)

    def advanced(self, update: int) -> None:
        """An update is done."""
        self.update = update
        if self.left and self.left[0].call is None and update >= self.left[0].after:
            self.left.pop(0).fire()


class Shooting(Injector):
    """Tells the gallery where the run stands."""

    def __init__(self, gallery: Gallery, at: Mapping[tuple[str, int], Callable[[], None]] | None = None) -> None:
        super().__init__(at)
        self._gallery = gallery

    def stage_advanced(self, stage: Any, done: int, metrics: Mapping[str, float]) -> None:
        """See `Progress.stage_advanced`."""
        super().stage_advanced(stage, done, metrics)
        if stage.type == "rl":
            self._gallery.advanced(done)
            print(f"    update {done}", file=sys.stderr, flush=True)


def wrap_sync(sync: Callable[[Crew, Serving, Callable[[Crew, Serving], None]], None]) -> Callable[[], None]:
    """Have every weight sync go through a function, which is given how it is done; returns what ends that."""
    whole = Crew.serve
    Crew.serve = lambda self, serving: sync(self, serving, whole)  # type: ignore[method-assign]
    return lambda: setattr(Crew, "serve", whole)


def alter_weights(crew: Crew, serving: Serving, serve: Callable[[Crew, Serving], None]) -> None:
    """Flip a bit of the weights on their way."""
    reference, version = serving.arguments
    packed = ray.get(reference)
    buffer = packed.buffer.copy()
    buffer[len(buffer) // 2] ^= 1
    serve(crew, replace(serving, arguments=(ray.put(replace(packed, buffer=buffer)), version)))


def forget_weights(crew: Crew, serving: Serving, serve: Callable[[Crew, Serving], None]) -> None:
    """Have a generator go back to an older version, unseen."""
    serve(crew, serving)
    reference, version = serving.arguments
    ray.get(crew.members[0].actor.load_weights.remote(reference, version - 1))


class LearnerActor(actors.LearnerActor):
    """A learner rank that needs too much memory for its next update, once a file says so."""

    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> Mapping[str, float]:
        """See `actors.LearnerActor.update`."""
        hungry = Path(os.environ[HUNGRY])
        if hungry.exists():
            import torch

            hungry.unlink()
            torch.zeros(2**50)
        return super().update(batch, update, on_policy)


def make_hungry() -> None:
    """The learner's next update needs more memory than there is."""
    Path(os.environ[HUNGRY]).touch()


def engine_faults(torch: Place) -> Iterator[Row]:
    """All of them on one run, which ends three times and is resumed."""
    place = Place(torch.folder.with_name("stack"), stack_recipe())
    os.environ[HUNGRY] = str(place.folder / "hungry")
    start.LearnerActor = LearnerActor  # type: ignore[misc]
    code, said = place.run(place.whole)
    assert code == 0, said
    run = place.folder / "broken"
    gallery = Gallery(SHOTS)
    ends: list[tuple[str, str, int, Callable[[], Any]]] = [
        ("weights-altered", "a bit of the weights flipped on their way", 20, lambda: wrap_sync(alter_weights)),
        ("weights-stale", "a generator goes back to an older version", 21, lambda: wrap_sync(forget_weights)),
        ("learner-out-of-memory", "an update allocates four pebibytes", 23, make_hungry),
    ]
    told: list[Row] = []
    for name, injected, at, inject in ends:
        undo: list[Any] = []

        def begin(inject: Callable[[], Any] = inject, undo: list[Any] = undo) -> None:
            undo.append(inject())

        injector = Shooting(gallery, {("rl", at): begin})
        code, said = place.run(run, injector)
        known = time.time() - injector.injected_at
        assert undo, f"{name} was not injected: the run resumed after update {at}"
        for each in undo:
            if each is not None:
                each()
        left = left_over(psutil.Process().children(recursive=True))
        told.append(Row(name, injected, round(known, 1), said, "nothing: the run resumes", code, left))
    code, said = place.run(run)
    same, left = place.same(run), left_over(psutil.Process().children(recursive=True))
    for row in [*shot_rows(run), *told]:
        row.same = same
        row.left = row.left or left
        yield row


def shot_rows(run: Path) -> Iterator[Row]:
    """A row a shot: the incident of its actor that was known next, each taken once, since shots may follow closely."""
    left = [incident for incident in read_incidents(RunFolder(run)) if not incident.actor.startswith("stage")]
    for shot in sorted(SHOTS, key=lambda shot: shot.fired_at):
        kind = {GENERATOR: "generator", LEARNER: "learner", SCORER: "scorer"}[shot.title]
        known = [
            (incident.time.timestamp() - (incident.recover_s or 0.0) - shot.fired_at, place)
            for place, incident in enumerate(left)
            if incident.actor.startswith(kind)
        ]
        after, place = min(((s, at) for s, at in known if shot.fired_at and s > -0.5), default=(None, -1))
        if after is None:
            yield Row(shot.name, shot.injected, None, "no incident", "?", 1)
            continue
        incident = left.pop(place)
        happened = f"{incident.actor} {incident.kind}: {incident.done}; back after {incident.recover_s:.0f} s"
        yield Row(shot.name, shot.injected, round(max(after, 0.0), 1), happened, incident.lost, 0)


class Engine:
    """A generator that only counts, for what is about nodes and not about engines."""

    def __init__(self) -> None:
        self.steps = 0

    def ready(self) -> str:
        """Its node."""
        return str(ray.get_runtime_context().get_node_id())

    @ray.method(concurrency_group="progress")
    def pulse(self) -> int:
        """Steps."""
        return self.steps

    def generate(self, prompts: list[np.ndarray], seeds: list[int], settings: SamplingSettings) -> SampleBatch:
        """The seed, after a while."""
        for _ in range(20):
            time.sleep(0.1)
            self.steps += 1
        tokens, ones = np.array(seeds, np.int32), np.ones(len(seeds), np.int32)
        return SampleBatch(tokens, -tokens.astype(np.float32), ones, ones.astype(bool), 0)


def node_faults(torch: Place) -> Iterator[Row]:
    """A node with a generator is killed while it generates: first with room elsewhere, then without."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    connect(Resources(address=cluster.address))
    started = psutil.Process().children(recursive=True)
    group = placement_group([{"CPU": 1}] * 2, strategy="STRICT_SPREAD")
    assert group.wait(60)
    told: list[Any] = []
    members = []
    for index in range(2):
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
        make = partial(
            ray.remote(concurrency_groups={"progress": 1})(Engine)
            .options(num_cpus=1, scheduling_strategy=strategy)
            .remote
        )
        members.append(Member(f"generator-{index}", make(), make))

    def missing() -> str:
        return "" if placement_group_table(group)["state"] == "CREATED" else "asked for 2 CPU on 2 nodes, alive is 1"

    crew = Crew(members, Resources(max_restarts=4), torch.folder, told.append, missing)
    generator = RayGenerator(crew, Resources())
    prompts, seeds = [np.zeros(1, np.int32)] * 4, [1, 2, 3, 4]
    expected = generator.generate(prompts, seeds, SamplingSettings(1.0, 1.0, 1)).tokens.tolist()
    rows = []
    faults = {"node-killed": "a node killed, another has room", "node-killed-no-room": "the next one too: no room"}
    for name, injected in faults.items():
        homes = ray.get([member.actor.ready.remote() for member in members])
        victim = next(node for node in cluster.list_all_nodes() if node.node_id in homes and node != cluster.head_node)
        at: list[float] = []

        def kill(victim: Any = victim, at: list[float] = at) -> None:
            at.append(time.time())
            cluster.remove_node(victim, allow_graceful=False)

        threading.Timer(0.5, kill).start()
        code, same, back_after = 0, None, 0.0
        try:
            found = generator.generate(prompts, seeds, SamplingSettings(1.0, 1.0, 1)).tokens.tolist()
            same = found == expected
            while any(member.lost for member in members):
                generator.generate(prompts, seeds, SamplingSettings(1.0, 1.0, 1))
            last = told[-1]
            back_after = last.recover_s
            said = f"{last.actor} {last.kind}: {last.done} on another node; back after {last.recover_s:.0f} s"
        except EngineFailed as error:
            code, said = 1, f"EngineFailed ({error.blame}): {error}"
        rows.append(Row(name, injected, round(time.time() - at[0] - back_after, 1), said, "nothing", code, [], same))
    crew.close()
    ray.shutdown()
    cluster.shutdown()
    left = left_over(started)
    for row in rows:
        row.left = left
        yield row
