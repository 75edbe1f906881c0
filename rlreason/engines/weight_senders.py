"""The ways that weights go from a learner rank to the generators, behind one protocol.

A sync is: every rank's `told`, whose answer on rank 0 goes to each generator's `load_weights`; and `send` on every rank
while the generators load, which does something where a generator cannot fetch by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from rlreason.engines.weight_files import StoredWeights, WeightFiles
from rlreason.engines.weights import DirectWeights, Endpoint, PackedWeights

TravellingWeights = PackedWeights | StoredWeights | DirectWeights
"""What goes from a learner to generators: the weights, or where to have them from."""


class WeightSender(Protocol):
    """A learner rank's side of a sync."""

    def told(self) -> TravellingWeights | None:
        """What a generator's `load_weights` takes; of ranks other than 0 the answer is not used."""

    def send(self) -> None:
        """Take part in the transfer itself."""


class HostMemorySender:
    """Packed weights, for the caller's object store."""

    def __init__(self, weights: Callable[[], PackedWeights | None]) -> None:
        """
        Args:
            weights: `DeepSpeedLearner.weights`.
        """
        self._weights = weights

    def told(self) -> PackedWeights | None:
        """The weights themselves."""
        return self._weights()

    def send(self) -> None:
        """Nothing is left to do."""


class FileSender:
    """Packed weights in a file of a folder that all nodes see."""

    def __init__(self, weights: Callable[[], PackedWeights | None], folder: Path) -> None:
        """
        Args:
            weights: `DeepSpeedLearner.weights`.
        """
        self._weights = weights
        self._files = WeightFiles(folder)

    def told(self) -> StoredWeights | None:
        """The file, written whole."""
        weights = self._weights()
        return None if weights is None else self._files.write(weights)

    def send(self) -> None:
        """Nothing is left to do."""


def make_sender(
    kind: str, learner: Any, rank: int, folder: Path | None = None, endpoint: Endpoint | None = None
) -> WeightSender:
    """The sender of that kind for a rank.

    Args:
        kind: `Resources.sync`.
        learner: a `DeepSpeedLearner`.
        folder: needed for "files".
        endpoint: needed for "nccl"; rank 0 and all generators meet there at the same time.
    """
    if kind == "nccl":
        from rlreason.engines.vllm_direct import NcclSender

        assert endpoint is not None, "weight_sync nccl without an endpoint"
        return NcclSender(learner, rank, endpoint)
    if kind == "ipc":
        from rlreason.engines.vllm_direct import IpcSender

        return IpcSender(learner, rank)
    if kind == "files":
        assert folder is not None, "weight_sync files without a folder"
        return FileSender(learner.weights, folder)
    assert kind == "host_memory", f"weight_sync {kind}"
    return HostMemorySender(learner.weights)
