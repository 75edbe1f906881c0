"""Policy-gradient losses a token. Pure torch: no model, no optimizer.

Each surrogate is a loss for N tokens, in any order, of any completions. What they are divided by is in `denominators`,
what is added (KL) in `kl`, what they are multiplied with where the generator is not the learner in `corrections`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlreason.algorithms.sequences import sequence_means


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """What a surrogate gives for N tokens.

    Attributes:
        loss: [N] float, to be weighted, summed and minimised.
        clipped: [N] bool, a clip decided this token's loss. Such a token passes no gradient; CISPO's passes its own.
    """

    loss: torch.Tensor
    clipped: torch.Tensor


def clipped_surrogate(
    learner_logprobs: torch.Tensor,
    generator_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> TokenLosses:
    """PPO's clipped objective a token, negated; clip_high > clip_low is DAPO's clip-higher.

    Args:
        learner_logprobs: [N] float with gradient, log-probability of each token under the policy being trained.
        generator_logprobs: [N] float, the same under the policy that sampled it.
        advantages: [N] float.
        clip_low, clip_high: the ratio is held within [1 - clip_low, 1 + clip_high] where that lowers the objective.
        dual_clip: where the advantage is negative, the loss is at most dual_clip * |advantage|, so that a token that
            became much likelier cannot outweigh all others. Greater than 1 + clip_high; None: no bound.
    Source:
        Schulman et al. 2017, equation 7; Yu et al. 2025 (DAPO), equation 8; dual clip: Ye et al. 2020
        (arXiv 1912.09729).
    """
    ratio = torch.exp(learner_logprobs - generator_logprobs)
    return _clipped(ratio, advantages, clip_low, clip_high, dual_clip)


def _clipped(
    ratio: torch.Tensor, advantages: torch.Tensor, clip_low: float, clip_high: float, dual_clip: float | None = None
) -> TokenLosses:
    plain = ratio * advantages
    held = ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages
    objective, clipped = torch.minimum(plain, held), held < plain
    if dual_clip is not None:
        bound = dual_clip * advantages
        beyond = (advantages < 0) & (objective < bound)
        objective, clipped = torch.where(beyond, bound, objective), clipped | beyond
    return TokenLosses(loss=-objective, clipped=clipped)


def cispo(
    learner_logprobs: torch.Tensor,
    generator_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    clip_low: float,
    clip_high: float,
) -> TokenLosses:
    """REINFORCE weighted by the clipped ratio, which itself is not trained: every token keeps a gradient.

    Args:
        learner_logprobs: [N] float with gradient.
        generator_logprobs, advantages: [N] float.
        clip_low, clip_high: the weight is the ratio within [1 - clip_low, 1 + clip_high]; with a clip_low of 1 it is
            bounded from above alone, as in the paper's runs.
    Source:
        CISPO, MiniMax-M1, MiniMax 2025 (arXiv 2506.13585).
    """
    ratio = torch.exp(learner_logprobs.detach() - generator_logprobs)
    weight = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    return TokenLosses(loss=-weight * advantages * learner_logprobs, clipped=(weight != ratio) & (advantages != 0))


def sequence_surrogate(
    learner_logprobs: torch.Tensor,
    generator_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    sequence: torch.Tensor,
    clip_low: float,
    clip_high: float,
) -> TokenLosses:
    """The clipped objective with one ratio a completion: the geometric mean of its tokens' ratios.

    A token's gradient flows through its own logprob alone (GSPO-token), so advantages may differ within a completion.
    Where they do not, and its tokens weigh the same, the sum over them has GSPO's value and gradient.

    Args:
        learner_logprobs: [N] float with gradient.
        generator_logprobs, advantages: [N] float.
        sequence: [N] int64, index of each token's completion; a completion is whole.
        clip_low, clip_high: as in `clipped_surrogate`, and far smaller: means of ratios are near 1.
    Source:
        GSPO and GSPO-token, Zheng et al. 2025 (arXiv 2507.18071).
    """
    log_ratio = sequence_means(learner_logprobs.detach() - generator_logprobs, sequence)
    # the second term is 0: the value is the sequence's, the gradient the token's
    ratio = torch.exp(log_ratio + (learner_logprobs - learner_logprobs.detach()))
    return _clipped(ratio, advantages, clip_low, clip_high)
