"""What makes supervised training on a CPU faster: attention within sequences, and the head on what is trained.

    python scripts/bench_supervised.py --size 0.4M --rows 14 --row-tokens 512 --sequences 20,60,100 --trained 0.33

The same forward and backward pass in turns: TRL's loss with a mask over whole rows; attention within the sequences of
the rows; and the trained tokens alone put through the head. Rows are filled with sequences of the given lengths in
equal numbers, the last part of each is trained. One thread, processor seconds; prints the ratio of each to the next.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlreason.algorithms.packing import pack_rows
from rlreason.bench.workload import SIZES
from rlreason.engines.models import load_for
from rlreason.engines.packed_rows import describe, pack_attention
from rlreason.engines.scratch import make_model
from rlreason.engines.trl_sft import score_what_is_trained
from rlreason.recipe.schema import Architecture

VOCABULARY = 700


def make_rows(lengths: list[int], rows: int, width: int, trained: float) -> tuple[torch.Tensor, ...]:
    """(tokens, labels, positions) [rows, width] int64 of packed sequences of these lengths in turn."""
    stream = lengths * (rows * width // sum(lengths) + len(lengths))
    tokens = torch.randint(2, VOCABULARY, (rows, width), generator=torch.Generator().manual_seed(0))
    labels, positions = torch.full_like(tokens, -100), torch.zeros_like(tokens)
    for row, held in enumerate(pack_rows(stream, width)[:rows]):
        at = 0
        for length in (stream[index] for index in held):
            begin = at + max(1, round(length * (1 - trained)))
            labels[row, begin : at + length] = tokens[row, begin : at + length]
            positions[row, at : at + length] = torch.arange(length)
            at += length
    return tokens, labels, positions


@dataclass(slots=True)
class Side:
    """A model with TRL's loss, and the processor seconds of its passes."""

    model: Any
    seconds: list[float] = field(default_factory=list)

    def update(self, tokens: torch.Tensor, labels: torch.Tensor, positions: torch.Tensor) -> float:
        """Forward and backward; returns the loss."""
        self.model.zero_grad()
        begun = time.process_time()
        found = self.model(input_ids=tokens, labels=labels, position_ids=positions, use_cache=False, fused_lm_head=True)
        loss = -found.log_probs.sum() / found.label_mask.sum()
        loss.backward()
        self.seconds.append(time.process_time() - begun)
        return float(loss.detach())


def make_sides(size: str, width: int) -> dict[str, Side]:
    """The three ways, from the same weights."""
    from trl.trainer.utils import add_fused_lm_head

    with tempfile.TemporaryDirectory(prefix="rlreason-bench-") as folder:
        shape = Architecture(**SIZES[size], max_positions=width)
        path = make_model(Path(folder) / "model", shape, [f"w{number}" for number in range(VOCABULARY)], seed=0)
        sides = {name: Side(load_for("next_token", path, torch.float32)) for name in ("masked", "within", "trained")}
    for name, side in sides.items():
        if name != "masked" and not pack_attention(side.model):
            raise SystemExit("what is measured is for a CPU alone; hide the GPU (CUDA_VISIBLE_DEVICES=)")
        add_fused_lm_head(side.model, outputs=("log_probs", "entropy", "is_top1"))
        if name == "trained":
            score_what_is_trained(side.model)
    return sides


def main() -> None:
    """Measure; the first turn warms up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="0.4M")
    parser.add_argument("--rows", type=int, default=14)
    parser.add_argument("--row-tokens", type=int, default=512)
    parser.add_argument("--sequences", default="20,60,100", metavar="TOKENS,...", help="lengths of sequences")
    parser.add_argument("--trained", type=float, default=0.33, help="share of a sequence's tokens, its last")
    parser.add_argument("--turns", type=int, default=5)
    said = parser.parse_args()
    torch.set_num_threads(1)
    lengths = [int(length) for length in said.sequences.split(",")]
    rows = make_rows(lengths, said.rows, said.row_tokens, said.trained)
    sides = make_sides(said.size, said.row_tokens)
    print(f"groups of about the same length: {len(describe(rows[2]).groups)}")
    for _ in range(said.turns + 1):
        first, *others = (side.update(*rows) for side in sides.values())
        np.testing.assert_allclose(others, first, rtol=1e-5)
    for slow, fast in pairwise(sides):
        pairs = zip(sides[slow].seconds[1:], sides[fast].seconds[1:], strict=True)
        ratios = [one / other for one, other in pairs]
        print(f"{slow} / {fast}: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {said.turns} turns")


if __name__ == "__main__":
    main()
