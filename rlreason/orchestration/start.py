"""Starting a run's engines on Ray: all actors at once, in parallel, warm until the run ends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlreason.engines.protocols import Engines
from rlreason.orchestration.actors import GeneratorActor, LearnerActor, ScorerActor
from rlreason.orchestration.cluster import Placement, place
from rlreason.orchestration.fleet import RayGenerator, RayLearner, RayStepScorer, fetch
from rlreason.recipe.schema import Resources

GIB = 2**30


@dataclass(frozen=True, slots=True)
class RayEngines(Engines):
    """Engines whose processes a placement holds."""

    placement: Placement = field(kw_only=True)

    def close(self) -> None:
        """Stop the actors, then Ray where this run started it."""
        if ray.is_initialized():
            self.generator.close()
            self.learner.close()
            if self.scorer is not None:
                self.scorer.close()
        self.placement.release()


def _options(placement: Placement, bundle: Mapping[str, float], index: int) -> dict[str, Any]:
    """Ray options of the actor in bundle `index`."""
    return {
        "num_cpus": bundle.get("CPU", 0),
        "num_gpus": bundle.get("GPU", 0),
        "scheduling_strategy": PlacementGroupSchedulingStrategy(placement.group, placement_group_bundle_index=index),
        "max_restarts": 0,
    }


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
    ) -> None:
        """Place the actors and let them load; returns at once.

        Args:
            resources: the recipe's.
            checkpoint: Hugging Face directory that gives the architecture.
            dtype: "float32" or "bfloat16"; None: float32 on a CPU, bfloat16 on GPUs.
            max_tokens: longest prompt and completion together.
            logs: folder for one log file an actor.
            with_scorer: start a step scorer too.
        Raises:
            MachineError: the cluster lacks what the recipe asks for.
        """
        self._resources, self._logs = resources, logs
        self.placement = place(resources, scorers=int(with_scorer))
        on_cpu = self.placement.bundles.accelerator == "cpu"
        self.dtype = dtype or ("float32" if on_cpu else "bfloat16")
        threads = (resources.threads or os.cpu_count()) if on_cpu else None
        generator_options = {
            "checkpoint": checkpoint,
            "dtype": self.dtype,
            "max_tokens": max_tokens,
            "max_concurrent": resources.max_concurrent,
            "kv_cache_bytes": int(resources.kv_cache_gib * GIB) if on_cpu else None,
            "gpu_memory_share": resources.gpu_memory_share,
            "tensor_parallel": resources.tensor_parallel,
        }
        self._generators = [
            ray.remote(GeneratorActor)
            .options(**_options(self.placement, self.placement.bundles.generator, index))
            .remote(logs / f"generator-{index}.log", threads, generator_options)
            for index in range(resources.generators)
        ]
        self._learners = [
            ray.remote(concurrency_groups={"progress": 1})(LearnerActor)
            .options(**_options(self.placement, self.placement.bundles.learner, resources.generators + rank))
            .remote(logs / f"learner-{rank}.log", threads)
            for rank in range(resources.learners)
        ]
        self._scorer = self._make_scorer(threads) if with_scorer else None
        self._started = self._start_learners()

    def _make_scorer(self, threads: int | None) -> Any:
        options = {
            "dtype": self.dtype,
            "micro_batch_tokens": self._pass_tokens,
            "device": self.placement.bundles.accelerator,
        }
        last = self._resources.generators + self._resources.learners
        return (
            ray.remote(ScorerActor)
            .options(**_options(self.placement, self.placement.bundles.scorer, last))
            .remote(self._logs / "scorer.log", threads, options)
        )

    @property
    def _pass_tokens(self) -> int:
        return self._resources.tokens_a_pass(on_gpu=self.placement.bundles.accelerator == "cuda")

    def _start_learners(self) -> list[Any]:
        """Introduce the ranks to each other; they load in parallel with the generators."""
        limit = self._resources.start_timeout_s
        address, port = fetch(self._learners[0].rendezvous.remote(), "learner 0: rendezvous", self._logs, limit)
        shared = {
            "ranks": self._resources.learners,
            "master_address": address,
            "master_port": port,
            "accelerator": self.placement.bundles.accelerator,
            "dtype": self.dtype,
            "zero_stage": self._resources.zero_stage,
            "micro_batch_tokens": self._pass_tokens,
        }
        return [actor.start.remote({"rank": rank, **shared}) for rank, actor in enumerate(self._learners)]

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
        except BaseException:
            self.placement.release()
            raise
        return RayEngines(
            generator=RayGenerator(self._generators, self._logs),
            learner=RayLearner(self._learners, self._logs),
            description={
                "generator": "vllm",
                "learner": "deepspeed",
                "accelerator": self.placement.bundles.accelerator,
                "dtype": self.dtype,
                "gpus": self.placement.gpus,
                "generator_pids": generator_pids,
                "learner_pids": learner_pids,
            },
            scorer=None if self._scorer is None else RayStepScorer(self._scorer, self._logs),
            placement=self.placement,
        )
