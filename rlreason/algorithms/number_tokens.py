"""An auxiliary loss for supervised training that knows 7 is nearer to 8 than to 2. Pure torch.

Which tokens are numbers, and what they are worth, is the caller's to say: it needs a tokenizer.
"""

from __future__ import annotations

import torch


def number_token_loss(logits: torch.Tensor, labels: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Squared difference between the value that is expected and the label's, where the label is a number token.

    The expectation is under the softmax over the number tokens alone; other tokens' logits play no part and get no
    gradient. Added to the cross entropy, with a weight (the paper: 0.3).

    Args:
        logits: [N, V] float with gradient.
        labels: [N] int64; a negative one (ignored by the cross entropy) is no number.
        values: [V] float, what a number token stands for (digits: 0 to 9), NaN for all other tokens. Its dtype is that
            of the computation.
    Returns:
        Scalar, the mean over the positions whose label is a number; 0 (with a graph) where there is none.
    Source:
        Number Token Loss, Zausinger et al. 2024 (arXiv 2411.02083), the variant with the mean squared error.
    """
    numbers = torch.isfinite(values).nonzero().squeeze(1)
    targets = values[labels.clamp(min=0)]
    at = (labels >= 0) & torch.isfinite(targets)
    probabilities = torch.softmax(logits[at][:, numbers].to(values.dtype), dim=-1)
    errors = probabilities @ values[numbers] - targets[at]
    return (errors**2).sum() / max(len(errors), 1)
