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
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

ROPE_THETA = 1e6
"""Base of the rotary positions: most pairs of dimensions turn slowly, so that a match does not depend on distance."""
_TURNING_PAIRS = 4
"""Pairs of dimensions, fastest first, that tell neighbouring positions apart."""
_POSITION = 14.0
"""Size of the biases: a peak some 3 above its neighbours before the softmax, so that most attention is on one place."""
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


def start_at_look_up(model: PreTrainedModel, alike: Iterable[tuple[int, int]]) -> None:
    """Set a random model's weights as the module says, in place, from torch's own random state.

    Args:
        model: a Llama with biases in its attention, rotary base `ROPE_THETA` and tied embeddings, two layers and two
            heads at least, as many key-value heads as heads, and head size times heads equal to its width.
    """
    import torch

    config = model.config
    heads, width = config.num_attention_heads, config.hidden_size
    size = width // heads
    layers = model.model.layers
    with torch.no_grad():
        embeddings = model.model.embed_tokens.weight.normal_(0, 1)
        for one, other in alike:
            embeddings[one] = _ALIKE * embeddings[other] + (1 - _ALIKE**2) ** 0.5 * embeddings[one]
        model.model.norm.weight.fill_(width**-0.5)  # the output head is the embedding: logits of order sqrt(width)
        for layer in layers:
            layer.mlp.down_proj.weight.mul_(_QUIET)
            layer.self_attn.o_proj.weight.mul_(_QUIET)
        read = _orthonormal(width)
        written = [_orthonormal(width)[:, :size] for _ in range(heads)]
        turn = _orthonormal(size)
        slow = (torch.arange(size) % (size // 2) >= _TURNING_PAIRS).float()[:, None]
        first, second = layers[0].self_attn, layers[1].self_attn
        for head in range(heads):
            rows = slice(head * size, (head + 1) * size)
            _look_back(first, rows, head + 1)
            first.v_proj.weight[rows] = read[:size]
            first.o_proj.weight[:, rows] = _WRITTEN * written[head]
            one_back, two_back = written[0].T, written[1].T
            second.q_proj.weight[rows] = _MATCH * slow * (one_back + turn @ read[:size])
            second.k_proj.weight[rows] = _MATCH * slow * (two_back + turn @ one_back)
            second.v_proj.weight[rows] = read[rows]
            second.o_proj.weight[:, rows] = _COPIED * read[rows].T


def _orthonormal(size: int) -> torch.Tensor:
    """A random orthogonal matrix, [size, size]."""
    import torch

    return torch.linalg.qr(torch.randn(size, size))[0]


def _look_back(attention: torch.nn.Module, rows: slice, places: int) -> None:
    """Biases under which a head's score is highest `places` back, whatever stands there: rotary positions turn pair i
    of dimensions by theta^(-2i/d) a place, so a query turned back by that many places meets its key."""
    size = rows.stop - rows.start
    for pair in range(_TURNING_PAIRS):
        angle = places * ROPE_THETA ** (-2 * pair / size)
        cosine, sine = rows.start + pair, rows.start + pair + size // 2
        attention.k_proj.bias[cosine] = _POSITION
        attention.q_proj.bias[cosine] = _POSITION * math.cos(angle)
        attention.q_proj.bias[sine] = -_POSITION * math.sin(angle)
