"""Losses of preference pairs. Pure torch: no model, no optimizer."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def dpo_margins(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """How much more a policy prefers each chosen completion to the rejected one than its reference does.

    Args:
        chosen, rejected: [N] float, log-probability of each completion (summed over its tokens) under the policy.
        reference_chosen, reference_rejected: [N] float, the same under the reference.
        beta: strength of the reference.
    Returns:
        [N] float, the difference of the implicit rewards beta (log policy - log reference); 0 where policy and
        reference are the same.
    Source:
        Rafailov et al. 2023, section 4.
    """
    return beta * ((chosen - reference_chosen) - (rejected - reference_rejected))


def dpo_losses(margins: torch.Tensor) -> torch.Tensor:
    """-log sigmoid of the margins [N], to be averaged over pairs and minimised; log 2 at the start.

    Source:
        Rafailov et al. 2023 (DPO), equation 7.
    """
    return -logsigmoid(margins)
