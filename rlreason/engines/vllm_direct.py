"""Weights from GPU to GPU through vLLM's own transfer engines, NCCL and CUDA IPC: the learner's side of them.

vLLM means its trainer side to drive the generators as well. Here the fleet does that, as for every other way: a
generator is told what comes (`DirectWeights`) and receives it, while every learner rank sends. Learners import this
module where a recipe asks for `weight_sync` nccl or ipc, and only there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource
from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo
from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

from rlreason.engines.weights import DirectWeights, Endpoint, TensorForm


class Streams(Protocol):
    """A learner rank that can say and yield its weights (see `DeepSpeedLearner`)."""

    def forms(self) -> Sequence[TensorForm]:
        """What `stream` yields, in its order."""

    def stream(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The whole weights one after another."""


class LearnerSource(WeightSource):
    """A learner's stream as vLLM reads it."""

    def __init__(self, learner: Streams) -> None:
        self._learner = learner

    def metadata(self) -> list[ParamMeta]:
        """Name, dtype and shape of every tensor, in the order of iteration; nothing is gathered."""
        return [ParamMeta(form.name, getattr(torch, form.dtype), form.shape) for form in self._learner.forms()]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        return self._learner.stream()


class KeptSource(LearnerSource):
    """The same, and what was yielded stays in memory until the next pass: generators read it from there."""

    _yielded: list[torch.Tensor]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        self._yielded = []
        for name, tensor in self._learner.stream():
            self._yielded.append(tensor)
            yield name, tensor


class Listener:
    """Stands where vLLM's trainer side expects the generators: keeps what they are to be told, and tells nobody."""

    def __init__(self) -> None:
        self.update: Mapping[str, Any] = {}

    def init_weight_transfer_engine(self, init_info: Mapping[str, Any]) -> None:
        """The fleet opens the generators' side."""

    def start_weight_update(self) -> None:
        """A generator starts when it is told of the weights."""

    def update_weights(self, update_info: Mapping[str, Any]) -> None:
        """Keep what the generators need to know."""
        self.update = update_info

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """A generator finishes by itself."""


class NcclSender:
    """Broadcasts from rank 0 to all generators, in packed buffers. Every rank calls `send`, to gather what it holds."""

    def __init__(self, learner: Streams, rank: int, endpoint: Endpoint) -> None:
        """Meet the generators, who do the same at the same time (see `Endpoint.of_generator`)."""
        self._source = LearnerSource(learner)
        meeting = NCCLTrainerInitInfo(endpoint.address, endpoint.port, endpoint.world_size, packed=True, rank=rank)
        self._engine = WeightTransferTrainerFactory.trainer_init(meeting, client=Listener(), source=self._source)

    def told(self) -> DirectWeights:
        """What a generator must know before `send`."""
        metadata = self._source.metadata()
        return DirectWeights(
            {
                "names": [each.name for each in metadata],
                "dtype_names": [str(each.dtype).removeprefix("torch.") for each in metadata],
                "shapes": [list(each.shape) for each in metadata],
            }
        )

    def send(self) -> None:
        """Broadcast; returns once all generators have received."""
        self._engine.send_weights()


class IpcSender:
    """Hands out handles of the weights where they lie, those of every rank, each for the generator on its GPU."""

    def __init__(self, learner: Streams, rank: int) -> None:
        self._listener = Listener()
        self._engine = WeightTransferTrainerFactory.trainer_init(
            IPCTrainerInitInfo(packed=False, rank=rank), client=self._listener, source=KeptSource(learner)
        )

    def told(self) -> DirectWeights:
        """The handles. The weights must not change before the generators have read them."""
        self._engine.send_weights()
        return DirectWeights(dict(self._listener.update))

    def send(self) -> None:
        """The generators read by themselves."""
