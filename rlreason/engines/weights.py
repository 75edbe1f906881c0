"""A policy's weights as one flat buffer, the form in which they travel from learner to generator."""

from __future__ import annotations

import itertools
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlreason.errors import ModelError, StaleWeights

if TYPE_CHECKING:
    import torch

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


@dataclass(frozen=True, slots=True)
class TensorForm:
    """What a tensor will be, before it is there: its name, shape, torch dtype ("bfloat16") and size in bytes."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int


def form_of(name: str, tensor: torch.Tensor, shape: Iterable[int]) -> TensorForm:
    """The form of a tensor of that dtype, and of that shape where it is held in slices."""
    whole = tuple(shape)
    dtype = str(tensor.dtype).removeprefix("torch.")
    return TensorForm(name, whole, dtype, math.prod(whole) * tensor.element_size())


def by_layer(names: Iterable[str]) -> list[list[str]]:
    """Runs of names that belong to one layer, in order; a name without a layer's number is a run of its own."""

    def layer(name: str) -> str:
        found = re.match(r".*?\.\d+(?=\.)", name)
        return found.group() if found else name

    return [list(run) for _, run in itertools.groupby(names, key=layer)]


@dataclass(frozen=True, slots=True)
class PackedWeights:
    """Named tensors back to back in one byte buffer, so that a shared-memory store moves them without a copy.

    Attributes:
        names: parameter names in Hugging Face form.
        shapes: their shapes.
        dtypes: their torch dtypes by name ("float32", "bfloat16").
        buffer: [bytes] uint8.
        fingerprint: of the buffer as it was packed, see `fingerprint_of`.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    buffer: np.ndarray
    fingerprint: int

    def check(self) -> None:
        """
        Raises:
            StaleWeights: the buffer is not what was packed.
        """
        found = fingerprint_of(self.buffer)
        if found != self.fingerprint:
            raise StaleWeights(
                f"the weights that arrived have the fingerprint {found:08x}, those that were sent "
                f"{self.fingerprint:08x}: they were altered on the way, and were not loaded; run again (the run "
                "resumes)"
            )

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(name, tensor) pairs, the tensors being views of the buffer (read-only where the buffer is)."""
        import torch

        at = 0
        for name, shape, dtype_name in zip(self.names, self.shapes, self.dtypes, strict=True):
            dtype: torch.dtype = getattr(torch, dtype_name)
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            yield name, torch.from_numpy(self.buffer[at : at + size]).view(dtype).view(shape)
            at += size


@dataclass(frozen=True, slots=True)
class DirectWeights:
    """What a generator must know to fetch weights from a learner's GPU; travels in place of them.

    Attributes:
        update_info: what vLLM's transfer engine of that kind takes: names, dtypes, shapes, and handles where there are.
    """

    update_info: Mapping[str, Any]
    fingerprint: None = None
    """Nothing passes through the host, where it could be taken."""

    def check(self) -> None:
        """What arrives is seen by the GPU alone; that learner and generator agree is seen at the next update."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where learner rank 0 and the devices of all generators meet to make one NCCL group.

    Attributes:
        address, port: of learner rank 0.
        generators, tensor_parallel: how many generators, and devices of each.
    """

    address: str
    port: int
    generators: int
    tensor_parallel: int

    @property
    def world_size(self) -> int:
        """Members of the group."""
        return 1 + self.generators * self.tensor_parallel

    def of_generator(self, index: int) -> dict[str, Any]:
        """What vLLM's NCCL engine of the `index`-th generator takes. Rank 0 sends; each generator's devices follow."""
        return {
            "master_address": self.address,
            "master_port": self.port,
            "rank_offset": 1 + index * self.tensor_parallel,
            "world_size": self.world_size,
            "packed": True,
        }


def fingerprint_of(buffer: np.ndarray) -> int:
    """CRC-32 of a buffer: it finds what breaks by accident, at the speed of a copy."""
    return zlib.crc32(buffer.data)


def pack_weights(named: Iterable[tuple[str, torch.Tensor]]) -> PackedWeights:
    """Copy tensors into one buffer. A tied output head is written out: a generator keeps its own copy of it.

    vLLM on a CPU packs the output head apart from the embedding; weights that name only the embedding would leave the
    head stale, and log-probabilities would drift without an error.
    """
    tensors = [(name, tensor.detach()) for name, tensor in named]
    present = dict(tensors)
    if HEAD not in present and EMBEDDING in present:
        tensors.append((HEAD, present[EMBEDDING]))
    return pack_stream([form_of(name, tensor, tensor.shape) for name, tensor in tensors], tensors)


def pack_stream(forms: Sequence[TensorForm], tensors: Iterable[tuple[str, torch.Tensor]]) -> PackedWeights:
    """Copy tensors into one buffer as they come, from whatever device; none is held longer than its turn.

    Args:
        forms: what `tensors` will be, in the same order.
    """
    import torch

    buffer = np.empty(sum(form.size for form in forms), dtype=np.uint8)
    at = 0
    for form, (_, tensor) in zip(forms, tensors, strict=True):
        flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
        torch.from_numpy(buffer[at : at + form.size]).copy_(flat)
        at += form.size
    return PackedWeights(
        names=tuple(form.name for form in forms),
        shapes=tuple(form.shape for form in forms),
        dtypes=tuple(form.dtype for form in forms),
        buffer=buffer,
        fingerprint=fingerprint_of(buffer),
    )


def read_checkpoint(checkpoint: Path) -> Mapping[str, torch.Tensor]:
    """All tensors of a Hugging Face safetensors directory, sharded or not.

    Raises:
        ModelError: the directory has no safetensors weights.
    """
    from safetensors.torch import load_file

    index = checkpoint / "model.safetensors.index.json"
    if index.exists():
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    elif (checkpoint / "model.safetensors").exists():
        files = ["model.safetensors"]
    else:
        raise ModelError(
            f"{checkpoint} holds no model.safetensors and no model.safetensors.index.json; "
            "save the model with safe_serialization=True"
        )
    tensors: dict[str, torch.Tensor] = {}
    for name in files:
        tensors.update(load_file(checkpoint / name))
    return tensors
