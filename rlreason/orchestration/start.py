"""Starting a run's engines on Ray: all actors at once, in parallel, warm until the run ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ray

from rlreason.engines.protocols import Engines
from rlreason.engines.weights import Endpoint
from rlreason.errors import EngineFailed
from rlreason.orchestration.actors import PROGRESS, GeneratorActor, LearnerActor, ScorerActor
from rlreason.orchestration.cluster import Placement, place
from rlreason.orchestration.crew import PLACED_AFTER_S, Crew, Member
from rlreason.orchestration.fleet import RayGenerator, RayLearner, RayStepScorer, fetch
from rlreason.recipe.schema import Resources
from rlreason.types import ReportIncident

GIB = 2**30


@dataclass(frozen=True, slots=True)
class RayEngines(Engines):
    """Engines whose processes a placement holds."""

    placement: Placement = field(kw_only=True)
    weight_files: Path = field(kw_only=True)

    def close(self) -> None:
        """Stop the actors, then Ray where this run started it."""
        if ray.is_initialized():
            self.generator.close()
            self.learner.close()
            if self.scorer is not None:
                self.scorer.close()
        self.placement.release()
        shutil.rmtree(self.weight_files, ignore_errors=True)


class PendingEngines:
    """Actors that are starting. The caller does its own preparations, then asks for `wait`."""

    def __init__(
        self,
        resources: Resources,
        checkpoint: Path,
        dtype: str | None,
        max_tokens: int,
        logs: Path,
        *,
        with_scorer: bool = False,
        report: ReportIncident = lambda incident: None,
    ) -> None:
        """Place the actors and let them load; returns when learner rank 0 has told where the others meet it.

        Args:
            resources: the recipe's.
            checkpoint: Hugging Face directory that gives the architecture.
            dtype: "float32" or "bfloat16"; None: float32 on a CPU, bfloat16 on GPUs.
            max_tokens: longest prompt and completion together.
            logs: folder for one log file an actor; beside it `weights/`, for weight_sync "files".
            with_scorer: start a step scorer too.
            report: told of every engine that is lost while the run goes on.
        Raises:
            MachineError: the cluster lacks what the recipe asks for.
            EngineFailed: learner rank 0 did not answer within `start_timeout_s`; nothing is left running.
        """
        self._resources, self._logs, self._report = resources, logs, report
        self.placement = place(resources, scorers=int(with_scorer))
        on_cpu = self.placement.layout.accelerator == "cpu"
        self.dtype = dtype or ("float32" if on_cpu else "bfloat16")
        self._on_cpu = on_cpu
        self._generator_options = {
            "checkpoint": checkpoint,
            "dtype": self.dtype,
            "max_tokens": max_tokens,
            "max_concurrent": resources.max_concurrent,
            "kv_cache_bytes": int(resources.kv_cache_gib * GIB) if on_cpu else None,
            "gpu_memory_share": resources.generator_share(colocated=self.placement.layout.colocated),
            "tensor_parallel": resources.tensor_parallel,
            "weight_sync": resources.sync,
            "sleep_level": resources.sleep_level,
        }
        self._weight_files = logs.parent / "weights"
        # who is started again cannot enter an NCCL group that is there
        self._limits = resources.model_copy(update={"max_restarts": 0}) if resources.sync == "nccl" else resources
        try:
            self._generators = [self._make_generator(index) for index in range(resources.generators)]
            self._learners, self._started = self._make_learners(resources.start_timeout_s)
            self._scorer = self._make_scorer() if with_scorer else None
        except BaseException:
            self.placement.release()
            raise

    def _threads(self, engines: int) -> int | None:
        """Compute threads of each of so many engines of a kind, which work at the same time. None: on GPUs."""
        if not self._on_cpu:
            return None
        cores = os.cpu_count() or 1
        together = engines if self._resources.address is None else 1  # a cluster's nodes have cores of their own
        return self._resources.threads or max(1, cores // together)

    def _make_generator(self, index: int) -> Any:
        return (
            ray.remote(concurrency_groups={PROGRESS: 1})(GeneratorActor)
            .options(**self.placement.options("generator", index))
            .remote(
                self._logs / f"generator-{index}.log",
                self._threads(self._resources.generators),
                self._generator_options,
            )
        )

    def _make_scorer(self) -> Any:
        options = {
            "dtype": self.dtype,
            "micro_batch_tokens": self._pass_tokens,
            "device": self.placement.layout.accelerator,
        }
        return (
            ray.remote(concurrency_groups={PROGRESS: 1})(ScorerActor)
            .options(**self.placement.options("scorer", 0))
            .remote(self._logs / "scorer.log", self._threads(1), options)
        )

    @property
    def _pass_tokens(self) -> int:
        return self._resources.tokens_a_pass(on_gpu=self.placement.layout.accelerator == "cuda")

    def _make_learners(self, limit_s: float) -> tuple[list[Any], list[Any]]:
        """(a rank each, what to wait for until it has loaded). The ranks are introduced to each other, for which rank 0
        must have its place within the limit."""
        ranks = [
            ray.remote(concurrency_groups={PROGRESS: 1})(LearnerActor)
            .options(**self.placement.options("learner", rank))
            .remote(self._logs / f"learner-{rank}.log", self._threads(self._resources.learners))
            for rank in range(self._resources.learners)
        ]
        address, port = fetch(ranks[0].rendezvous.remote(), "learner 0: rendezvous", self._logs, limit_s)
        shared = {
            "ranks": self._resources.learners,
            "master_address": address,
            "master_port": port,
            "accelerator": self.placement.layout.accelerator,
            "dtype": self.dtype,
            "zero_stage": self._resources.zero_stage,
            "micro_batch_tokens": self._pass_tokens,
            "offload": self._resources.offload,
        }
        sync = (self._resources.sync, self._weight_files)
        return ranks, [actor.start.remote({"rank": rank, **shared}, *sync) for rank, actor in enumerate(ranks)]

    def _start_learners_again(self) -> Sequence[Any]:
        """New ranks, ready.

        Raises:
            EngineFailed: they have no place, or do not load.
        """
        try:
            ranks, started = self._make_learners(PLACED_AFTER_S)
            fetch(started, "starting the learners again", self._logs, self._resources.start_timeout_s)
        except EngineFailed as error:
            raise EngineFailed(f"{error} {self.placement.missing()}".rstrip()) from error
        return ranks

    def _crew(self, members: Sequence[Member]) -> Crew:
        return Crew(members, self._limits, self._logs, self._report, self.placement.missing)

    def _join(self) -> None:
        """Make one NCCL group of learner rank 0 and all generators."""
        resources, limit = self._resources, self._resources.start_timeout_s
        address, port = fetch(self._learners[0].rendezvous.remote(), "learner 0: rendezvous", self._logs, limit)
        endpoint = Endpoint(address, port, resources.generators, resources.tensor_parallel)
        joined = [actor.join.remote(endpoint, index) for index, actor in enumerate(self._generators)]
        joined += [actor.join.remote(endpoint) for actor in self._learners]
        fetch(joined, "making the NCCL group of learner and generators", self._logs, limit)

    def wait(self) -> RayEngines:
        """The engines, once all of them are loaded.

        Raises:
            EngineFailed: one failed to load, or took longer than `start_timeout_s`.
        """
        limit = self._resources.start_timeout_s
        try:
            learner_pids = fetch(self._started, "starting the learners", self._logs, limit)
            generator_pids = fetch(
                [actor.ready.remote() for actor in self._generators], "starting the generators", self._logs, limit
            )
            if self._scorer is not None:
                fetch(self._scorer.ready.remote(), "starting the step scorer", self._logs, limit)
            if self._resources.sync == "nccl":
                self._join()
        except BaseException:
            self.placement.release()
            raise
        generators = [
            Member(f"generator-{index}", actor, partial(self._make_generator, index))
            for index, actor in enumerate(self._generators)
        ]
        scorers = [] if self._scorer is None else [Member("scorer", self._scorer, self._make_scorer)]
        generator = RayGenerator(self._crew(generators), self._limits)
        make_room = {"make_room": generator.sleep} if self._resources.sleep_level else {}
        return RayEngines(
            generator=generator,
            learner=RayLearner(self._learners, self._logs, self._limits, self._start_learners_again, **make_room),
            description={
                "generator": "vllm",
                "learner": "deepspeed",
                "accelerator": self.placement.layout.accelerator,
                "dtype": self.dtype,
                "gpus": self.placement.layout.gpus,
                "nodes": self.placement.nodes,
                "generator_pids": generator_pids,
                "learner_pids": learner_pids,
            },
            scorer=RayStepScorer(self._crew(scorers), self._resources) if scorers else None,
            placement=self.placement,
            weight_files=self._weight_files,
        )
