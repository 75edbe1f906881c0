"""Log-probabilities of given tokens from hidden states, without ever holding [all tokens, vocabulary] in float32."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 1 << 25
"""Logits held at a time (elements of float32): 128 MiB."""


def _chunk(
    hidden: torch.Tensor, targets: torch.Tensor, head: torch.nn.Module, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = head(hidden).float() / temperature
    normaliser = torch.logsumexp(logits, dim=-1)
    logprobs = logits.gather(1, targets[:, None]).squeeze(1) - normaliser
    with torch.no_grad():
        log_probabilities = logits - normaliser[:, None]
        entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
    return logprobs, entropy


def token_logprobs(
    hidden: torch.Tensor,
    targets: torch.Tensor,
    head: torch.nn.Module,
    temperature: float = 1.0,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each target under softmax(head(hidden) / temperature), and the entropy there.

    Args:
        hidden: [N, H], the hidden state that predicts each target.
        targets: [N] int64.
        head: maps [n, H] to [n, V] logits; recomputed in the backward pass where N needs more than one chunk.
        temperature: the sampling temperature, so that these are the logprobs the generator sampled with.
        chunk_elements: logits held at a time.
    Returns:
        (logprobs [N] float32 with gradient, entropy [N] float32 without), natural log.
    """
    vocabulary = getattr(head, "out_features", None) or head.weight.shape[0]
    size = max(1, chunk_elements // int(vocabulary))
    if len(targets) <= size:
        return _chunk(hidden, targets, head, temperature)
    parts = [
        checkpoint(_chunk, hidden[at : at + size], targets[at : at + size], head, temperature, use_reentrant=False)
        for at in range(0, len(targets), size)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
