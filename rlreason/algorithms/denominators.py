"""What an update's loss is divided by, as a weight for every token. numpy alone: the driver, which makes the weights,
imports no torch."""

from __future__ import annotations

from typing import Literal

import numpy as np

Denominator = Literal["tokens", "sequences", "constant"]


def token_weights(lengths: np.ndarray, denominator: Denominator, max_new_tokens: int) -> np.ndarray:
    """Weight of every token of each sequence, so that the update's loss is one weighted sum over all its tokens.

    Because the weights are fixed by the whole update before it is cut into micro-batches, rows and ranks, none of these
    cuts changes the loss.

    Args:
        lengths: [S] int, trained tokens of each sequence of the update (0 allowed: an unscored rollout).
        denominator: "tokens": 1 / all trained tokens; "sequences": mean over a sequence's tokens, then over the
            sequences that have any; "constant": 1 / (S x max_new_tokens), which favours no length (Dr. GRPO).
        max_new_tokens: completion budget, for "constant".
    Returns:
        [S] float64, the weight that each token of sequence s carries; 0 for an empty sequence.
    """
    lengths = np.asarray(lengths, dtype=np.float64)
    present = lengths > 0
    if not present.any():
        return np.zeros_like(lengths)
    if denominator == "tokens":
        weights = np.full_like(lengths, 1.0 / lengths.sum())
    elif denominator == "sequences":
        weights = 1.0 / (np.maximum(lengths, 1.0) * present.sum())
    else:
        weights = np.full_like(lengths, 1.0 / (len(lengths) * max_new_tokens))
    return np.where(present, weights, 0.0)
