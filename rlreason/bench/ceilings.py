"""How fast this machine multiplies the model's matrices and reads memory; what is to be multiplied is in `floor`.

Measured in the process that leads the benchmark, while every side is idle, once a round: so a machine that others slow
down is slow for its ceilings too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn.functional import linear

from rlreason.bench.floor import Ceilings, matrices
from rlreason.recipe.sizes import ModelShape

SECONDS = 0.15
"""How long one product is repeated; the fastest counts."""
LEAST_REPEATS = 3


@dataclass(frozen=True, slots=True)
class CeilingsProbe:
    """What to multiply and to read, with torch.

    Attributes:
        shape: of the model.
        wide_rows: tokens of a pass of the learner.
        decode_rows: completions that are decoded together.
        step_bytes: what a step of decoding reads. An array of that size is read: what fits a cache is read from it.
        threads: of an engine.
        dtype: of the weights.
        device: "cpu" or "cuda".
    """

    shape: ModelShape
    wide_rows: int
    decode_rows: int
    step_bytes: int
    threads: int
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    @property
    def sizes(self) -> dict[str, float]:
        """What is multiplied and read, for the figures."""
        return {"wide_rows": self.wide_rows, "decode_rows": self.decode_rows, "read_mib": self.step_bytes / 2**20}

    @torch.inference_mode()
    def measure(self) -> Ceilings:
        """Some seconds for 30M parameters, less for fewer."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            values = self._ones(max(1, self.step_bytes // self.dtype.itemsize))
            return Ceilings(
                wide_operations_per_s=self._multiply(self.wide_rows),
                decode_operations_per_s=self._multiply(self.decode_rows),
                bytes_per_s=values.nbytes / self._fastest_s(values.sum),
            )
        finally:
            torch.set_num_threads(before)

    def _multiply(self, rows: int) -> float:
        """Operations a second of one pass of `rows` rows through all matrices and the head."""
        operations, seconds = 0, 0.0
        for inputs, outputs, count in [*matrices(self.shape), (self.shape.width, self.shape.vocabulary, 1)]:
            product = partial(linear, self._ones(rows, inputs), self._ones(outputs, inputs))
            operations += 2 * rows * inputs * outputs * count
            seconds += count * self._fastest_s(product)
        return operations / seconds

    def _ones(self, *sizes: int) -> torch.Tensor:
        return torch.ones(sizes, dtype=self.dtype, device=self.device)

    def _fastest_s(self, work: Callable[[], Any]) -> float:
        """Seconds of the fastest call, of as many as fit in `SECONDS` but at least `LEAST_REPEATS`."""
        fastest, spent, calls = float("inf"), 0.0, 0
        while calls < LEAST_REPEATS or spent < SECONDS:
            begun = time.perf_counter()
            work()
            if self.device == "cuda":
                torch.cuda.synchronize()
            took = time.perf_counter() - begun
            fastest, spent, calls = min(fastest, took), spent + took, calls + 1
        return fastest
