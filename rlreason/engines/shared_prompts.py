"""A prompt computed once for all of its completions: a flat row without padding, and the attention that reads it.

The prompts of a micro-batch stand one after another in one row, each once, then all completions; positions restart, so
that every token stands where it would in a row of its own. Everything a transformer does to one token at a time then
costs what distinct tokens cost. Attention is the one thing that looks around: prompts attend to themselves, completions
to their own prompt and themselves, so log-probabilities and gradients are those of separate rows. Which sequences go
together is `algorithms.packing`'s affair, what is trained on them `policy`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

ATTENTION = "rlreason_shared_prompts"
"""The name under which transformers knows `attention`."""
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
"""Model types that are held to it by a test."""


@dataclass(frozen=True, slots=True)
class SharedPrompts:
    """How U prompts and S completions stand in a flat row of T tokens. Padding points at the first one, and is unseen.

    Attributes:
        positions: [1, T] int64, position of each token in its own sequence.
        prompts: [U, P] int64, places of each prompt's tokens in the row.
        queries: [S, C] int64, of each completion's tokens.
        keys: [S, K] int64, of the tokens of each whole sequence, prompt and completion.
        visible: [S, 1, C, K] bool, which keys a completion's token may see; [1, 1, C, K] where that is the same in all.
        outputs: [T] int64, where the row's tokens are in the flattened `prompts`, then `queries`.
    """

    positions: torch.Tensor
    prompts: torch.Tensor
    queries: torch.Tensor
    keys: torch.Tensor
    visible: torch.Tensor
    outputs: torch.Tensor


def can_share(model: Any) -> bool:
    """Whether a model is of a family that is known to give the same in a flat row, with nothing set that would not.

    In these families attention alone looks at other tokens, and sees all before it.
    """
    config = model.config
    return (
        config.model_type in FAMILIES
        and config._attn_implementation in ("sdpa", ATTENTION)
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and (hasattr(config, "layer_types") or getattr(config, "sliding_window", None) is None)
    )


def share_prompts(model: Any) -> None:
    """Make a model that `can_share` accept `shared_prompts=` in its decoder's call; without it, it is as before."""
    attend_by(model, ATTENTION, attention)


def attend_by(model: Any, name: str, function: Callable[..., tuple[torch.Tensor, None]]) -> None:
    """Make a model attend by a function that transformers then knows under this name."""
    from transformers import AttentionInterface

    AttentionInterface.register(name, function)
    model.set_attn_implementation(name)


def prompt_numbers(prompts: Sequence[np.ndarray]) -> list[int]:
    """[S] a number of each sequence's prompt, from 0 in order of appearance: equal tokens, equal number."""
    seen: dict[bytes, int] = {}
    return [seen.setdefault(prompt.tobytes(), len(seen)) for prompt in prompts]


def first_of_each(numbers: Sequence[int]) -> list[int]:
    """[U] the first sequence of every number of `prompt_numbers`."""
    return [int(first) for first in np.unique(numbers, return_index=True)[1]]


def flat_row(
    sequences: Sequence[np.ndarray], prompt_lengths: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray], list[int]]:
    """Sequences (prompt, then completion) in one row that holds each distinct prompt once.

    Returns:
        tokens [1, T]; for every sequence the places [its length] of its tokens; the number of its prompt [S].
    """
    split = [(own[:length], own[length:]) for own, length in zip(sequences, prompt_lengths, strict=True)]
    numbers = prompt_numbers([prompt for prompt, _ in split])
    firsts = first_of_each(numbers)
    parts = [split[first][0] for first in firsts] + [completion for _, completion in split]
    ends = np.cumsum([len(part) for part in parts])
    spans = [np.arange(end - len(part), end) for part, end in zip(parts, ends, strict=True)]
    places = [np.concatenate([spans[number], spans[len(firsts) + index]]) for index, number in enumerate(numbers)]
    return np.concatenate(parts)[None].astype(np.int64), places, numbers


def describe_row(
    places: Sequence[np.ndarray], prompt_lengths: np.ndarray, numbers: Sequence[int], device: torch.device
) -> SharedPrompts:
    """What attention must know of a `flat_row`."""
    firsts = first_of_each(numbers)
    prompts = padded([places[first][: prompt_lengths[first]] for first in firsts])
    own = [each[length:] for each, length in zip(places, prompt_lengths, strict=True)]
    queries, keys = padded(own), padded(places)
    tokens = max(int(each.max()) for each in places) + 1
    positions, outputs = np.zeros(tokens, dtype=np.int64), np.zeros(tokens, dtype=np.int64)
    for each in places:
        positions[each] = np.arange(len(each))
    for row, first in enumerate(firsts):
        outputs[places[first][: prompt_lengths[first]]] = row * prompts.shape[1] + np.arange(prompt_lengths[first])
    for row, each in enumerate(own):
        outputs[each] = prompts.size + row * queries.shape[1] + np.arange(len(each))
    alike = (prompt_lengths == prompt_lengths[0]).all()
    reach = (prompt_lengths[:1] if alike else prompt_lengths)[:, None] + np.arange(queries.shape[1])
    visible = np.arange(keys.shape[1]) <= reach[:, None, :, None]
    arrays = (positions[None], prompts, queries, keys, visible, outputs)
    return SharedPrompts(*(torch.from_numpy(array).to(device) for array in arrays))


def padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """[R, longest] int64, filled up with 0."""
    table = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table


def at(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """[T, heads, D] -> [A, heads, B, D] at places [A, B]."""
    return states.index_select(0, places.flatten()).unflatten(0, places.shape).transpose(1, 2)


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    shared_prompts: SharedPrompts | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' scaled dot product attention, of a flat row where one is described.

    Args:
        query: [1, heads, T, D] float; [R, heads, L, D] without `shared_prompts`.
        key, value: the same, with as many heads as the model has for them.
        attention_mask: None: the model makes no mask for an attention that it does not know.
    Returns:
        [1, T, heads, D] float, and None for the weights that nobody asked for.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    row = shared_prompts
    if row is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    prompts, _ = sdpa_attention_forward(
        module, *(at(each, row.prompts) for each in (query, key, value)), None, **options
    )
    keys, values = at(key, row.keys), at(value, row.keys)
    completions, _ = sdpa_attention_forward(module, at(query, row.queries), keys, values, row.visible, **options)
    both = torch.cat([prompts.flatten(0, 1), completions.flatten(0, 1)])
    return both.index_select(0, row.outputs)[None], None
