"""Log-probabilities of given tokens from hidden states, without ever holding [all tokens, vocabulary] in float32."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 1 << 25
"""Logits held at a time (elements of float32): 128 MiB."""


def _within_nucleus(logits: torch.Tensor, targets: torch.Tensor, top_p: float) -> torch.Tensor:
    """The logits [n, V] of the most likely tokens that hold top_p between them, and of the target; -inf elsewhere."""
    with torch.no_grad():
        probabilities, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
        outside = torch.zeros_like(logits, dtype=torch.bool)
        outside.scatter_(1, order, probabilities.cumsum(dim=-1) - probabilities >= top_p)
        # a token that was sampled under weights a little older must keep a finite log-probability
        outside.scatter_(1, targets[:, None], False)
    return logits.masked_fill(outside, -torch.inf)


def _chunk(
    hidden: torch.Tensor,
    targets: torch.Tensor,
    head: torch.nn.Module,
    temperature: float,
    top_p: float,
    entropy_gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    # the fewest walks over [n, V]: each costs as much as the head's own product where the model is small
    logits = head(hidden).float()
    if temperature != 1.0:
        logits = logits / temperature
    if top_p < 1:
        logits = _within_nucleus(logits, targets, top_p)
    log_probabilities = torch.log_softmax(logits, dim=-1)
    logprobs = log_probabilities.gather(1, targets[:, None]).squeeze(1)
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        if top_p < 1:
            # finite where the probability is 0, so that 0 x log 0 is 0 and so is its gradient
            log_probabilities = log_probabilities.clamp_min(torch.finfo(logits.dtype).min)
        entropy = -torch.linalg.vecdot(log_probabilities.exp(), log_probabilities)
    return logprobs, entropy


def token_logprobs(
    hidden: torch.Tensor,
    targets: torch.Tensor,
    head: torch.nn.Module,
    temperature: float = 1.0,
    top_p: float = 1.0,
    entropy_gradient: bool = False,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each target under softmax(head(hidden) / temperature), and the entropy there.

    Args:
        hidden: [N, H], the hidden state that predicts each target.
        targets: [N] int64.
        head: maps [n, H] to [n, V] logits; recomputed in the backward pass where N needs more than one chunk.
        temperature, top_p: the generator's, so that these are the logprobs it sampled with: the nucleus is cut from the
            model's own probabilities, and the target belongs to it.
        entropy_gradient: whether the entropy is to be trained.
        chunk_elements: logits held at a time.
    Returns:
        (logprobs [N] float32 with gradient, entropy [N] float32), natural log.
    """
    vocabulary = getattr(head, "out_features", None) or head.weight.shape[0]
    size = max(1, chunk_elements // int(vocabulary))
    if len(targets) <= size:
        return _chunk(hidden, targets, head, temperature, top_p, entropy_gradient)
    parts = [
        checkpoint(
            _chunk,
            hidden[at : at + size],
            targets[at : at + size],
            head,
            temperature,
            top_p,
            entropy_gradient,
            use_reentrant=False,
        )
        for at in range(0, len(targets), size)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
