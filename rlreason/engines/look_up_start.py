"""Weights that start out able to look a fact up, for a small model that is made from scratch.

A look-up in a told triple ("Ada boss Bob.") takes three attention steps that depend on each other: find what stands one
and two places back, find where the same person and relation were told, copy what follows there. From random weights
the relation alone is soon looked up, and the person is not within any budget that two CPU cores have
(docs/results.md). So these weights start near all three, as mimetic initialisation starts attention near what trained
models show (Trockman and Kolter 2023, arXiv 2305.09828). Training does the rest; nothing is frozen, no fact is known.

What is set, and why:

- the first layer's heads look 1, 2, 3 ... places back, by biases of queries and keys that rotary positions turn into a
  peak at that distance. All copy the same projection of what they see, each into a subspace of its own: if they
  projected differently, a name seen one place back could not be recognised as the same name seen two places back;
- the second layer's heads compare (own token, one back) with (one back, two back), and copy all of what they find;
- a word at the start of a text and the same word after a space are two tokens: they start alike;
- embeddings have unit variance and feed-forward parts start small, so that neither is drowned by what random
  feed-forward parts write: that alone makes a look-up by relation form several times sooner.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

STEPS = ("scale", "look_back", "match")
ROPE_THETA = 1e6
"""Base of the rotary positions: most pairs of dimensions turn slowly, so that a match does not depend on distance."""
_TURNING_PAIRS = 4
"""Pairs of dimensions, fastest first, that tell neighbouring positions apart. Matches use the others."""
_POSITION = 14.0
"""Size of the biases: nearly all attention is on one place."""
_WRITTEN = 1.5
"""What a place back writes into the residual stream, per unit of what it reads."""
_MATCH = 2.0
"""Queries and keys of the second layer, per unit of what they compare."""
_COPIED = 6.0
"""What the second layer writes of what it finds, per unit."""
_QUIET = 0.1
"""Share that is left of what random weights write."""
_ALIKE = 0.8
"""Cosine between a word at the start of a text and the same word after a space, which are two tokens."""


def start_at_look_up(model: PreTrainedModel, alike: Iterable[tuple[int, int]], steps: Collection[str] = STEPS) -> None:
    """Set a random model's weights as the module says, in place, from torch's own random state.

    Args:
        model: a Llama with biases in its attention, rotary base `ROPE_THETA` and tied embeddings, two layers and two
            heads at least, as many key-value heads as heads, and head size times heads equal to its width.
        alike: pairs of tokens that are the same word.
        steps: some of `STEPS`, for comparisons (scripts/compare_starts.py).
    """
    import torch

    config = model.config
    size = config.hidden_size // config.num_attention_heads
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    with torch.no_grad():
        if "scale" in steps:
            _scale(model, alike)
        read = _orthonormal(config.hidden_size)
        written = [_orthonormal(config.hidden_size)[:, :size] for _ in range(config.num_attention_heads)]
        if "look_back" in steps:
            _look_back(first, read[:size], written)
        if "match" in steps:
            _match(second, read, written)


def _scale(model: PreTrainedModel, alike: Iterable[tuple[int, int]]) -> None:
    embeddings = model.model.embed_tokens.weight.normal_(0, 1)
    for one, other in alike:
        embeddings[one] = _ALIKE * embeddings[other] + (1 - _ALIKE**2) ** 0.5 * embeddings[one]
    model.model.norm.weight.fill_(model.config.hidden_size**-0.5)  # the head is the embedding: logits of order sqrt(H)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.mul_(_QUIET)
        layer.self_attn.o_proj.weight.mul_(_QUIET)


def _look_back(attention: Any, read: torch.Tensor, written: Sequence[torch.Tensor]) -> None:
    """Head h looks h + 1 places back, whatever stands there: rotary positions turn pair i of dimensions by
    theta^(-2i/size) a place, so a query turned back by that many places meets its key.

    Args:
        read: [size, H], what each head reads.
        written: [H, size] a head, where it writes that.
    """
    size = len(read)
    for head, into in enumerate(written):
        start = head * size
        for pair in range(_TURNING_PAIRS):
            angle = (head + 1) * ROPE_THETA ** (-2 * pair / size)
            cosine, sine = start + pair, start + pair + size // 2
            attention.k_proj.bias[cosine] = _POSITION
            attention.q_proj.bias[cosine] = _POSITION * math.cos(angle)
            attention.q_proj.bias[sine] = -_POSITION * math.sin(angle)
        attention.v_proj.weight[start : start + size] = read
        attention.o_proj.weight[:, start : start + size] = _WRITTEN * into


def _match(attention: Any, read: torch.Tensor, written: Sequence[torch.Tensor]) -> None:
    """Every head compares (one back, own token) of its place with (two back, one back) of the others.

    Args:
        read: [H, H] orthonormal; its first rows are what `_look_back` read.
        written: as there.
    """
    import torch

    one_back, two_back = written[0].T, written[1].T
    size = len(one_back)
    turn = _orthonormal(size)
    slow = (torch.arange(size) % (size // 2) >= _TURNING_PAIRS).float()[:, None]
    for head in range(len(written)):
        rows = slice(head * size, (head + 1) * size)
        attention.q_proj.weight[rows] = _MATCH * slow * (one_back + turn @ read[:size])
        attention.k_proj.weight[rows] = _MATCH * slow * (two_back + turn @ one_back)
        attention.v_proj.weight[rows] = read[rows]
        attention.o_proj.weight[:, rows] = _COPIED * read[rows].T


def _orthonormal(size: int) -> torch.Tensor:
    """A random orthogonal matrix, [size, size]."""
    import torch

    return torch.linalg.qr(torch.randn(size, size))[0]
