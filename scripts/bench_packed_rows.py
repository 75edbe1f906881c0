"""What it saves supervised training to attend within the sequences of packed rows instead of over whole rows.

    python scripts/bench_packed_rows.py --size 0.4M --rows 14 --row-tokens 512 --sequences 20,60,100

The same update in turns: attention over rows, with a mask; within sequences. Rows are filled with sequences of the
given lengths in equal numbers. One thread, processor seconds; prints the ratio of the first to the second.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlreason.algorithms.packing import pack_rows
from rlreason.bench.workload import SIZES
from rlreason.engines.models import load_for
from rlreason.engines.packed_rows import describe, pack_attention
from rlreason.engines.scratch import make_model
from rlreason.recipe.schema import Architecture

VOCABULARY = 700


def make_positions(lengths: list[int], rows: int, width: int) -> torch.Tensor:
    """[rows, width] int64: positions in sequences of these lengths in turn, packed; 0 in what is left of a row."""
    stream = lengths * (rows * width // sum(lengths) + len(lengths))
    positions = torch.zeros(rows, width, dtype=torch.int64)
    for row, held in enumerate(pack_rows(stream, width)[:rows]):
        filled = torch.cat([torch.arange(stream[index]) for index in held])
        positions[row, : len(filled)] = filled
    return positions


@dataclass(slots=True)
class Side:
    """A model, and the processor seconds of its updates."""

    model: Any
    seconds: list[float] = field(default_factory=list)

    def update(self, tokens: torch.Tensor, positions: torch.Tensor) -> float:
        """Forward and backward; returns the loss."""
        self.model.zero_grad()
        begun = time.process_time()
        loss = self.model(input_ids=tokens, labels=tokens, position_ids=positions, use_cache=False).loss
        loss.backward()
        self.seconds.append(time.process_time() - begun)
        return float(loss.detach())


def main() -> None:
    """Measure; the first pair warms up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="0.4M")
    parser.add_argument("--rows", type=int, default=14)
    parser.add_argument("--row-tokens", type=int, default=512)
    parser.add_argument("--sequences", default="20,60,100", metavar="TOKENS,...", help="lengths of sequences")
    parser.add_argument("--pairs", type=int, default=5)
    said = parser.parse_args()
    torch.set_num_threads(1)
    positions = make_positions([int(length) for length in said.sequences.split(",")], said.rows, said.row_tokens)
    tokens = torch.randint(2, VOCABULARY, positions.shape, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory(prefix="rlreason-bench-") as folder:
        shape = Architecture(**SIZES[said.size], max_positions=said.row_tokens)
        path = make_model(Path(folder) / "model", shape, [f"w{number}" for number in range(VOCABULARY)], seed=0)
        masked, within = (Side(load_for("next_token", path, torch.float32)) for _ in range(2))
    if not pack_attention(within.model):
        raise SystemExit(
            "attention within sequences is for a CPU alone; hide the GPU (CUDA_VISIBLE_DEVICES=) to measure"
        )
    print(
        f"{int((positions == 0).sum())} sequences in {len(describe(positions).groups)} groups of about the same length"
    )
    for _ in range(said.pairs + 1):
        one, other = (side.update(tokens, positions) for side in (masked, within))
        np.testing.assert_allclose(other, one, rtol=1e-5)
    ratios = [one / other for one, other in zip(masked.seconds[1:], within.seconds[1:], strict=True)]
    print(f"masked / within: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {said.pairs} pairs")


if __name__ == "__main__":
    main()
