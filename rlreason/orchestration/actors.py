"""The classes that run inside Ray actors: an engine each, with its output going to a log file of the run.

They add nothing to the engines but what a process of its own needs: threads, a log, and answers while a long call runs
(methods of the group `PROGRESS`, which have a thread of their own): progress, and a pulse by which a `watchdog` tells
that the actor moves.
"""

from __future__ import annotations

import functools
import itertools
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import ray

from rlreason.engines.protocols import (
    PolicyBatch,
    PolicyFigures,
    PolicySettings,
    PreferenceJob,
    PreferencePairs,
    SampleBatch,
    SamplingSettings,
    ScorerModel,
    StepBatch,
    SupervisedJob,
    SupervisedRows,
)
from rlreason.engines.weight_senders import TravellingWeights, make_sender
from rlreason.engines.weights import Endpoint

P = ParamSpec("P")
R = TypeVar("R")

PROGRESS = "progress"
"""The concurrency group of methods that answer while another one runs; actors are made with one thread for it."""


def redirect_output(log: Path) -> None:
    """Send this process's stdout and stderr, and those of the libraries in it, to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def use_threads(threads: int) -> None:
    """Compute threads of this process. Ray sets one a core asked for; engines that take turns may use all cores."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)


class GeneratorActor:
    """A vLLM engine."""

    def __init__(self, log: Path, threads: int | None, options: Mapping[str, Any]) -> None:
        redirect_output(log)
        if threads is not None:
            use_threads(threads)
        from rlreason.engines.vllm_generator import VllmGenerator

        self._generator = VllmGenerator(**options)

    def ready(self) -> int:
        """The process id, once the engine is loaded."""
        return os.getpid()

    @ray.method(concurrency_group=PROGRESS)
    def pulse(self) -> int:
        """Steps that the engine has made."""
        return self._generator.steps

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """See `protocols.Generator.generate`."""
        return self._generator.generate(prompts, seeds, settings)

    def join(self, endpoint: Endpoint, index: int) -> None:
        """See `VllmGenerator.join`."""
        self._generator.join(endpoint, index)

    def sleep(self) -> None:
        """See `VllmGenerator.sleep`."""
        self._generator.sleep()

    def load_checkpoint(self, checkpoint: Path, policy_version: int) -> tuple[int, None]:
        """See `protocols.Generator.load_checkpoint`; (policy version, no fingerprint)."""
        self._generator.load_checkpoint(checkpoint, policy_version)
        return policy_version, None

    def load_weights(self, weights: TravellingWeights, policy_version: int) -> tuple[int, int | None]:
        """See `protocols.Generator.load_weights`; `weights` are views of the object store's shared memory.

        Returns:
            (policy version, fingerprint) of what was loaded.
        Raises:
            StaleWeights: what arrived is not what was sent; nothing was loaded.
        """
        weights.check()
        self._generator.load_weights(weights, policy_version)
        return policy_version, weights.fingerprint


class ScorerActor:
    """A step scorer: process reward models in plain torch."""

    def __init__(self, log: Path, threads: int | None, options: Mapping[str, Any]) -> None:
        redirect_output(log)
        if threads is not None:
            use_threads(threads)
        from rlreason.engines.torch_scorer import TorchStepScorer

        self._scorer = TorchStepScorer(**options)
        self._pulses = itertools.count()

    def ready(self) -> int:
        """The process id, once torch is loaded."""
        return os.getpid()

    @ray.method(concurrency_group=PROGRESS)
    def pulse(self) -> int:
        """Another number each time."""
        return next(self._pulses)

    def load(self, model: ScorerModel) -> None:
        """See `protocols.StepScorer.load`."""
        self._scorer.load(model)

    def score(self, batch: StepBatch) -> np.ndarray:
        """See `protocols.StepScorer.score`."""
        return self._scorer.score(batch)


def gpu_is_shared() -> bool:
    """Whether Ray gave the actor that asks a part of a GPU."""
    return 0 < ray.get_runtime_context().get_assigned_resources().get("GPU", 0) < 1


def leaving_room(method: Callable[Concatenate[LearnerActor, P], R]) -> Callable[Concatenate[LearnerActor, P], R]:
    """What torch keeps of freed memory goes back to a GPU that is shared, or the generator there could not wake."""

    @functools.wraps(method)
    def leaving(actor: LearnerActor, *arguments: P.args, **named: P.kwargs) -> R:
        try:
            return method(actor, *arguments, **named)
        finally:
            if actor.shares_gpu:
                import torch

                torch.cuda.empty_cache()

    return leaving


class LearnerActor:
    """A DeepSpeed rank."""

    shares_gpu: bool

    def __init__(self, log: Path, threads: int | None) -> None:
        redirect_output(log)
        if threads is not None:
            use_threads(threads)
        self._lock = threading.Lock()
        self._progress: list[tuple[int, dict[str, float]]] = []
        self._pulses = itertools.count()

    def rendezvous(self) -> tuple[str, int]:
        """(address, free port) at which rank 0 can be met."""
        address = ray.util.get_node_ip_address()
        with socket.socket() as probe:
            probe.bind((address, 0))
            return address, int(probe.getsockname()[1])

    def start(self, options: Mapping[str, Any], weight_sync: str, folder: Path) -> int:
        """Join the process group and load DeepSpeed; returns the process id.

        Args:
            options: `DeepSpeedLearner`'s.
            weight_sync, folder: see `make_sender`. "nccl" needs `join` as well.
        """
        if options["master_address"].startswith("127."):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        from rlreason.engines.deepspeed_learner import DeepSpeedLearner

        self._learner = DeepSpeedLearner(**options)
        self.shares_gpu = gpu_is_shared()
        self._rank = options["rank"]
        if weight_sync != "nccl":
            self._sender = make_sender(weight_sync, self._learner, self._rank, folder)
        # Imported now, while the generators load, rather than in the first supervised stage.
        import rlreason.engines.trl_stage

        rlreason.engines.trl_stage.preload()
        return os.getpid()

    def join(self, endpoint: Endpoint) -> None:
        """Meet the generators, all at the same time (weight_sync nccl)."""
        self._sender = make_sender("nccl", self._learner, self._rank, endpoint=endpoint)

    @leaving_room
    def supervised(self, job: SupervisedJob, rows: SupervisedRows) -> Mapping[str, float]:
        """See `protocols.Learner.supervised`; figures collect for `progress`."""
        return self._learner.supervised(job, rows, self._report)

    @leaving_room
    def preferences(self, job: PreferenceJob, pairs: PreferencePairs) -> Mapping[str, float]:
        """See `protocols.Learner.preferences`; figures collect for `progress`."""
        return self._learner.preferences(job, pairs, self._report)

    def _report(self, update: int, metrics: Mapping[str, float]) -> None:
        with self._lock:
            self._progress.append((update, dict(metrics)))

    @ray.method(concurrency_group=PROGRESS)
    def pulse(self) -> int:
        """Another number each time."""
        return next(self._pulses)

    @ray.method(concurrency_group=PROGRESS)
    def progress(self) -> list[tuple[int, dict[str, float]]]:
        """What was reported since the last call."""
        with self._lock:
            taken, self._progress = self._progress, []
        return taken

    @leaving_room
    def begin(self, checkpoint: Path, settings: PolicySettings, state: Path | None) -> None:
        """See `protocols.Learner.begin`."""
        self._learner.begin(checkpoint, settings, state)

    @leaving_room
    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> Mapping[str, float]:
        """See `protocols.Learner.update`."""
        return self._learner.update(batch, update, on_policy)

    @leaving_room
    def figures(self, batch: PolicyBatch) -> PolicyFigures:
        """See `protocols.Learner.figures`."""
        return self._learner.figures(batch)

    @leaving_room
    def weights(self) -> tuple[int | None, TravellingWeights | None]:
        """See `protocols.Learner.weights`; their fingerprint goes before them, and can be had without them."""
        weights = self._sender.told()
        return (None, None) if weights is None else (weights.fingerprint, weights)

    @leaving_room
    def send_weights(self) -> None:
        """See `WeightSender.send`."""
        self._sender.send()

    @leaving_room
    def save_model(self, output: Path) -> None:
        """See `protocols.Learner.save_model`."""
        self._learner.save_model(output)

    @leaving_room
    def save_state(self, folder: Path, about: Mapping[str, Any], keep: int = 1) -> None:
        """See `protocols.Learner.save_state`."""
        self._learner.save_state(folder, about, keep)

    @leaving_room
    def end(self) -> None:
        """See `protocols.Learner.end`."""
        self._learner.end()

    def close(self) -> None:
        """See `protocols.Learner.close`."""
        self._learner.close()
