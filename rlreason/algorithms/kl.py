"""How far the policy is from its reference, estimated from the tokens that were sampled. Pure torch.

All tokens are taken as drawn from the policy itself: what the estimates' means and gradients are is said for that case.
"""

from __future__ import annotations

from typing import Literal

import torch


def kl_estimate(
    learner_logprobs: torch.Tensor, reference_logprobs: torch.Tensor, estimator: Literal["k1", "k2", "k3"]
) -> torch.Tensor:
    """Estimate of KL(policy || reference) a token, with d = log policy - log reference.

    | | estimate | as a figure | its gradient, as a term of a loss, is on average that of |
    |---|---|---|---|
    | k1 | d | without bias; may be negative | nothing: 0 |
    | k2 | d^2 / 2 | biased; never negative | KL(policy, reference), the reverse KL |
    | k3 | exp(-d) - 1 + d | without bias; never negative | KL(reference, policy), the forward KL |

    So k1 belongs in a reward, and k2 in a loss that is to hold the policy by the KL of the name; k3 in a loss (GRPO's)
    pulls it to the reference too, by the other one.

    Args:
        learner_logprobs: [N] float with gradient, of the sampled tokens under the policy being trained.
        reference_logprobs: [N] float, of the same under the frozen reference.
        estimator: as above.
    Returns:
        [N] float with gradient.
    Source:
        Schulman 2020, "Approximating KL divergence"; GRPO, Shao et al. 2024, equation 4, uses k3 in the loss.
    """
    log_ratio = learner_logprobs - reference_logprobs
    if estimator == "k1":
        return log_ratio
    if estimator == "k2":
        return log_ratio**2 / 2
    return torch.expm1(-log_ratio) + log_ratio
