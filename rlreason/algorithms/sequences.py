"""Sums over the tokens of each completion where the tokens of several stand in one row. Pure torch."""

from __future__ import annotations

import torch


def sequence_totals(values: torch.Tensor, sequence: torch.Tensor) -> torch.Tensor:
    """The sum of `values` over a token's completion, given to each of its tokens.

    Args:
        values: [N] float, one a token; gradients flow through.
        sequence: [N] int64, index of each token's completion, in any order. A completion must be whole.
    Returns:
        [N] float.
    """
    count = int(sequence.max()) + 1 if len(sequence) else 0
    return values.new_zeros(count).index_add(0, sequence, values)[sequence]


def sequence_means(values: torch.Tensor, sequence: torch.Tensor) -> torch.Tensor:
    """The mean of `values` over a token's completion, given to each of its tokens; see `sequence_totals`."""
    return sequence_totals(values, sequence) / sequence_totals(torch.ones_like(values), sequence)
