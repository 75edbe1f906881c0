"""Policy-gradient losses a token, and what they are divided by. Pure torch: no model, no optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

Denominator = Literal["tokens", "sequences", "constant"]


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """What a surrogate gives for N tokens.

    Attributes:
        loss: [N] float, to be weighted, summed and minimised.
        clipped: [N] bool, the clip decided this token's loss (it passes no gradient).
    """

    loss: torch.Tensor
    clipped: torch.Tensor


def clipped_surrogate(
    learner_logprobs: torch.Tensor,
    generator_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    clip_low: float,
    clip_high: float,
) -> TokenLosses:
    """PPO's clipped objective a token, negated; clip_high > clip_low is DAPO's clip-higher.

    Args:
        learner_logprobs: [N] float with gradient, log-probability of each token under the policy being trained.
        generator_logprobs: [N] float, the same under the policy that sampled it.
        advantages: [N] float.
        clip_low, clip_high: the ratio is held within [1 - clip_low, 1 + clip_high] where that lowers the objective.
    Source:
        Schulman et al. 2017, equation 7; Yu et al. 2025 (DAPO), equation 8.
    """
    ratio = torch.exp(learner_logprobs - generator_logprobs)
    plain = ratio * advantages
    held = ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages
    return TokenLosses(loss=-torch.minimum(plain, held), clipped=held < plain)


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
