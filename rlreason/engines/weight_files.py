"""Weights through a folder that learner and generators see: the way of last resort, where no memory is shared.

A file is safetensors, so that other tools read it too, and holds a `PackedWeights`' buffer as it is; it is mapped into
memory, not read through.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlreason.engines.weights import PackedWeights
from rlreason.errors import EngineFailed

KEPT = 2
"""Files that stay: the newest, and the one that a generator may still be reading."""
_DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "float64": "F64", "int64": "I64"}
_NAMES = {stored: name for name, stored in _DTYPES.items()}
_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """A file of weights, and their fingerprint as they were packed: what travels in place of them."""

    path: Path
    fingerprint: int

    def check(self) -> None:
        """
        Raises:
            StaleWeights: the file does not hold what was packed.
            EngineFailed: as `open`.
        """
        self.open().check()

    def open(self) -> PackedWeights:
        """The weights, their buffer mapped from the file.

        Raises:
            EngineFailed: the file is not there, or not whole.
        """
        try:
            with self.path.open("rb") as file:
                length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
                entries = sorted(json.loads(file.read(length)).items(), key=lambda item: item[1]["data_offsets"][0])
            buffer = np.memmap(self.path, dtype=np.uint8, mode="r", offset=_LENGTH_BYTES + length)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise EngineFailed(
                f"weights file {self.path} cannot be read here: {error}; with resources.weight_sync files every node "
                "must see the run's folder at the same path"
            ) from error
        return PackedWeights(
            names=tuple(name for name, _ in entries),
            shapes=tuple(tuple(form["shape"]) for _, form in entries),
            dtypes=tuple(_NAMES[form["dtype"]] for _, form in entries),
            buffer=buffer,
            fingerprint=self.fingerprint,
        )


class WeightFiles:
    """Writes one file a sync into a folder, and takes the old ones away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._kept: deque[Path] = deque()

    def write(self, weights: PackedWeights) -> StoredWeights:
        """Store the weights under the next number; whoever is told of the file finds it whole."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"sync-{os.getpid()}-{next(self._numbers)}.safetensors"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(_header(weights))
            weights.buffer.tofile(file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        self._kept.append(path)
        if len(self._kept) > KEPT:
            self._kept.popleft().unlink(missing_ok=True)
        return StoredWeights(path, weights.fingerprint)


def _header(weights: PackedWeights) -> bytes:
    """The length of the description, and the description, padded to a multiple of 8 as safetensors asks."""
    described, at = {}, 0
    for (name, tensor), dtype in zip(weights, weights.dtypes, strict=True):
        size = tensor.numel() * tensor.element_size()
        described[name] = {"dtype": _DTYPES[dtype], "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text
