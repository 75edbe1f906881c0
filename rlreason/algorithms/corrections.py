"""The generator and the learner do not give the same token the same probability: other kernels, stale weights.

What importance weights make of that, and how large it is. Pure torch; nothing here carries a gradient. The ratio that a
loss clips (after a step of the optimizer against before it) is another one, and the loss's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from rlreason.algorithms.sequences import sequence_totals


@torch.no_grad()
def importance_weights(
    learner_logprobs: torch.Tensor,
    generator_logprobs: torch.Tensor,
    sequence: torch.Tensor,
    method: Literal["truncate", "mask"],
    level: Literal["token", "sequence"],
    low: float,
    high: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Learner's probability over the generator's, kept from growing beyond use.

    Args:
        learner_logprobs: [N] float, of the sampled tokens under the learner before it learns from them.
        generator_logprobs: [N] float, of the same under the generator that sampled them.
        sequence: [N] int64, index of each token's completion; a completion is whole.
        method: "truncate": weights above `high` become `high`, `low` plays no part; "mask": weights outside
            [low, high] become 0, so nothing is learned there.
        level: "token": a token's own ratio; "sequence": the product over its completion, the same for all its tokens.
        low, high: bounds of the weight.
    Returns:
        (weights [N] without gradient, share of the tokens whose weight was bounded, a scalar; 0 where N is 0).
    Source:
        Truncated importance sampling: Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL
        training". Masked, sequence level: Liu et al. 2025, "When speed kills stability"; masked, token level: IcePop,
        Ling team 2025.
    """
    log_ratio = learner_logprobs - generator_logprobs
    weights = torch.exp(log_ratio if level == "token" else sequence_totals(log_ratio, sequence))
    if method == "truncate":
        bounded, kept = weights > high, weights.clamp(max=high)
    else:
        bounded = (weights < low) | (weights > high)
        kept = weights.masked_fill(bounded, 0.0)
    return kept, bounded.sum() / max(len(bounded), 1)


@dataclass(frozen=True, slots=True)
class MismatchFigures:
    """How far generator and learner are apart on the same tokens; all 0 where there are none.

    Attributes:
        mean_difference: mean |learner - generator| logprob.
        kl: estimate of KL(generator || learner) a token (k3: never negative), natural log.
        largest_ratio: of the learner's probability of a token to the generator's.
    """

    mean_difference: float
    kl: float
    largest_ratio: float


@torch.no_grad()
def mismatch_figures(learner_logprobs: torch.Tensor, generator_logprobs: torch.Tensor) -> MismatchFigures:
    """The figures for N tokens that the generator sampled; both arguments are [N] float."""
    if not len(learner_logprobs):
        return MismatchFigures(0.0, 0.0, 0.0)
    # in float64: near agreement, exp(d) - 1 - d is a difference of nearly equal numbers
    log_ratio = learner_logprobs.double() - generator_logprobs.double()
    return MismatchFigures(
        mean_difference=float(log_ratio.abs().mean()),
        kl=float((torch.expm1(log_ratio) - log_ratio).mean()),
        largest_ratio=float(log_ratio.max().exp()),
    )
