"""A policy's weights as one flat buffer, the form in which they travel from learner to generator."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlreason.errors import ModelError

if TYPE_CHECKING:
    import torch

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


@dataclass(frozen=True, slots=True)
class PackedWeights:
    """Named tensors back to back in one byte buffer, so that a shared-memory store moves them without a copy.

    Attributes:
        names: parameter names in Hugging Face form.
        shapes: their shapes.
        dtypes: their torch dtypes by name ("float32", "bfloat16").
        buffer: [bytes] uint8.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    buffer: np.ndarray

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(name, tensor) pairs, the tensors being views of the buffer (read-only where the buffer is)."""
        import torch

        at = 0
        for name, shape, dtype_name in zip(self.names, self.shapes, self.dtypes, strict=True):
            dtype: torch.dtype = getattr(torch, dtype_name)
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            yield name, torch.from_numpy(self.buffer[at : at + size]).view(dtype).view(shape)
            at += size


def pack_weights(named: Iterable[tuple[str, torch.Tensor]]) -> PackedWeights:
    """Copy tensors into one buffer. A tied output head is written out: a generator keeps its own copy of it.

    vLLM on a CPU packs the output head apart from the embedding; weights that name only the embedding would leave the
    head stale, and log-probabilities would drift without an error.
    """
    import torch

    tensors = [(name, tensor.detach().to("cpu").contiguous()) for name, tensor in named]
    present = dict(tensors)
    if HEAD not in present and EMBEDDING in present:
        tensors.append((HEAD, present[EMBEDDING]))
    sizes = [tensor.numel() * tensor.element_size() for _, tensor in tensors]
    buffer = np.empty(sum(sizes), dtype=np.uint8)
    at = 0
    for (_, tensor), size in zip(tensors, sizes, strict=True):
        buffer[at : at + size] = tensor.view(-1).view(torch.uint8).numpy()
        at += size
    return PackedWeights(
        names=tuple(name for name, _ in tensors),
        shapes=tuple(tuple(tensor.shape) for _, tensor in tensors),
        dtypes=tuple(str(tensor.dtype).removeprefix("torch.") for _, tensor in tensors),
        buffer=buffer,
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
