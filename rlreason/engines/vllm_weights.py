"""A weight-transfer engine for vLLM's own layer that takes weights from host memory (Ray's object store).

vLLM ships engines for NCCL and CUDA IPC; this one serves a CPU build, and any engine whose learner is not on the same
GPUs. Importing this module registers it under the name `BACKEND`, in every process that has a part of a vLLM engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.model_loader.reload.inplace import reload_weights

from rlreason.engines.weights import PackedWeights

BACKEND = "rlreason_host_memory"


@dataclass
class HostInit(WeightTransferInitInfo):
    """Nothing to agree on beforehand."""


@dataclass
class HostUpdate(WeightTransferUpdateInfo):
    """One whole set of weights."""

    weights: PackedWeights


class HostMemoryEngine(WeightTransferEngine[HostInit, HostUpdate]):
    """Loads a `PackedWeights` into the model, through vLLM's in-place reload (which repacks kernels' weights)."""

    init_info_cls = HostInit
    update_info_cls = HostUpdate

    def init_transfer_engine(self, init_info: HostInit) -> None:
        """No rendezvous is needed."""

    def start_weight_update(self) -> None:
        """The in-place reload prepares the model itself."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """As the base class, without synchronising an accelerator that a CPU build does not have."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: HostUpdate) -> None:
        """Copy every tensor of the update into the model."""
        reload_weights(
            self.vllm_config,
            self.model,
            weights_iterator=iter(update_info.weights),
            weights_path=None,
            is_checkpoint_format=True,
        )

    def finish_weight_update(self) -> None:
        """The in-place reload finished the model itself."""

    def shutdown(self) -> None:
        """Holds nothing."""


class KnowsHostMemory:
    """Given to vLLM as an extension of its workers, which are processes of their own where an engine has several
    devices: by it they import this module, and so know the engine above."""


WeightTransferEngineFactory.register_engine(BACKEND, HostMemoryEngine)
