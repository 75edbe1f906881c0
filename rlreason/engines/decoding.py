"""Decoding step by step: prompts computed once, their keys and values kept once a group, those of completions a row.

`Decoding` reads a prompt once for all of its completions (hydragen, arXiv 2402.05099): their queries meet its keys in
one matrix product. `PlainDecoding` has rows of their own, for models that `can_share` does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rlreason.engines.shared_prompts import attend_by, can_share, first_of_each, padded, prompt_numbers

ATTENTION = "rlreason_decoding"
"""The name under which transformers knows `attention`."""
ROOM = 16
"""Tokens that a cache takes room for ahead, or a quarter of what it holds where that is more."""


class Rows(Protocol):
    """Completions that are decoded together.

    Attributes:
        logits: [B, V] float, of the next token of each.
    """

    logits: torch.Tensor

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows [K] alone, ascending; the next is `step`."""

    def step(self, tokens: torch.Tensor) -> None:
        """Append a token to each row [B]; `logits` are then those after it."""


def start_decoding(model: Any, prompts: Sequence[np.ndarray]) -> Rows:
    """Compute the prompts, each distinct one once; a row for every one of them, in order."""
    device = next(model.parameters()).device
    numbers = prompt_numbers(prompts)
    distinct, which = [prompts[first] for first in first_of_each(numbers)], torch.tensor(numbers, device=device)
    if model.config._attn_implementation == ATTENTION:
        return Decoding(model, distinct, which)
    return PlainDecoding(model, distinct, which)


def prepare(model: Any) -> None:
    """Make a model that `can_share` decode with shared prompts; any other is left as it is."""
    if can_share(model):
        attend_by(model, ATTENTION, attention)


class RoomyLayer(DynamicLayer):
    """transformers' growing layer [B, heads, tokens, D], whose keys and values are the filled part of larger tensors.

    The original concatenates at every step: it reads and writes the whole cache, and where its tensors are so large
    that the allocator gives them back to the system, every page of them is a fault as well.
    """

    keys: torch.Tensor
    values: torch.Tensor
    _roomy: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values [B, heads, new tokens, D]; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        filled = self.get_seq_length()
        length = filled + key_states.shape[2]
        if self._roomy is None or self._roomy[0].shape[2] < length:
            self._roomy = (
                self._with_room(self.keys, key_states, length),
                self._with_room(self.values, value_states, length),
            )
        self.keys, self.values = (held[:, :, :length] for held in self._roomy)
        self.keys[:, :, filled:] = key_states
        self.values[:, :, filled:] = value_states
        return self.keys, self.values

    @staticmethod
    def _with_room(held: torch.Tensor, new: torch.Tensor, length: int) -> torch.Tensor:
        room = new.new_empty(*new.shape[:2], length + max(ROOM, length // 4), new.shape[3])
        if held.numel():
            room[:, :, : held.shape[2]] = held
        return room

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows and their room, so that the next token finds it."""
        if self._roomy is None:
            super().batch_select_indices(indices)
            return
        filled = self.get_seq_length()
        self._roomy = self._roomy[0][indices], self._roomy[1][indices]
        self.keys, self.values = (held[:, :, :filled] for held in self._roomy)


def roomy_cache(config: Any) -> Cache:
    """An empty cache for a model; transformers' own where its layers keep something else than all keys and values."""
    usual = DynamicCache(config=config)
    if usual.layers and all(type(layer) is DynamicLayer for layer in usual.layers):
        return Cache(layers=[RoomyLayer() for _ in usual.layers])
    return usual


class PlainDecoding:
    """Rows with a cache of their own: prompts on the left, filled up before their first token."""

    def __init__(self, model: Any, prompts: Sequence[np.ndarray], which: torch.Tensor) -> None:
        """
        Args:
            prompts: distinct.
            which: [B] int64, the prompt of each row.
        """
        self._model = model
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=which.device)
        tokens = torch.from_numpy(padded([prompt[::-1] for prompt in prompts])).to(which.device).flip(1)
        mask = (torch.arange(tokens.shape[1], device=which.device) < lengths[:, None]).flip(1).long()
        output = model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            past_key_values=roomy_cache(model.config),
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache, self._mask = output.past_key_values, mask[which]
        self._cache.batch_select_indices(which)
        self.logits = output.logits[which, -1]

    def keep(self, rows: torch.Tensor) -> None:
        """See `Rows.keep`."""
        self._cache.batch_select_indices(rows)
        self._mask = self._mask[rows]

    def step(self, tokens: torch.Tensor) -> None:
        """See `Rows.step`."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        self.logits = self._model(
            input_ids=tokens[:, None],
            attention_mask=self._mask,
            position_ids=(self._mask.sum(dim=1) - 1)[:, None],
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows ask the same prompt: B rows on N lines of G places. A place beyond a line's rows points at row 0.

    Attributes:
        rows: [N, G] int64, the row at each place.
        places: [B] int64, where each row stands in the flattened `rows`.
        keys, values: of each layer [N, heads, P, D], of each line's prompt; P tokens, filled up on the right.
        unseen: [N, 1, 1, P] bool, what is no token of the prompt; None: every prompt has P tokens.
    """

    rows: torch.Tensor
    places: torch.Tensor
    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    unseen: torch.Tensor | None


def lines_of(which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a prompt each [B], on lines of one prompt: (rows [N, G], places [B], prompt [N]), as in `Groups`.

    G is the mean number of rows of a prompt, rounded up; a prompt with more has several lines. So of groups of one size
    each is a line, and of uneven ones there are at most two lines a prompt, and three places a row.
    """
    prompts, counts = np.unique(which, return_counts=True)
    width = -(-len(which) // len(prompts))
    lines = -(-counts // width)
    order = np.argsort(which, kind="stable")
    nth = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)  # among the rows of its prompt
    first = np.repeat((np.cumsum(lines) - lines) * width, counts)  # place
    places = np.empty(len(which), dtype=np.int64)
    places[order] = first + nth
    rows = np.zeros(int(lines.sum()) * width, dtype=np.int64)
    rows[places] = np.arange(len(which))
    return rows.reshape(-1, width), places, np.repeat(prompts, lines)


class Decoding:
    """Rows that share their prompts' keys and values, and have a cache of what they sampled."""

    def __init__(self, model: Any, prompts: Sequence[np.ndarray], which: torch.Tensor) -> None:
        """See `PlainDecoding`."""
        self._model, self._which, device = model, which, which.device
        tokens = torch.from_numpy(padded(prompts)).to(device)
        cache = DynamicCache(config=model.config)
        # What stands on the right is behind every token of the prompt, so that none of them sees it.
        hidden = model.get_decoder()(input_ids=tokens, past_key_values=cache, use_cache=True).last_hidden_state
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        last = hidden[torch.arange(len(prompts), device=device), lengths - 1]
        self.logits = model.get_output_embeddings()(last)[which]
        self._prompts = [(layer.keys, layer.values) for layer in cache.layers]
        beyond = torch.arange(tokens.shape[1], device=device) >= lengths[:, None]
        self._unseen = beyond[:, None, None] if bool(beyond.any()) else None
        self._positions = lengths[which]
        self._own = roomy_cache(model.config)
        self._groups = self._group()

    def _group(self) -> Groups:
        rows, places, prompt = lines_of(self._which.cpu().numpy())
        device, among = self._which.device, torch.from_numpy(prompt).to(self._which.device)
        as_they_are = np.array_equal(prompt, np.arange(len(self._prompts[0][0])))
        held = self._prompts if as_they_are else [(keys[among], values[among]) for keys, values in self._prompts]
        return Groups(
            torch.from_numpy(rows).to(device),
            torch.from_numpy(places).to(device),
            [keys for keys, _ in held],
            [values for _, values in held],
            None if self._unseen is None else self._unseen[among],
        )

    def keep(self, rows: torch.Tensor) -> None:
        """See `Rows.keep`."""
        self._own.batch_select_indices(rows)
        self._which, self._positions = self._which[rows], self._positions[rows]
        self._groups = self._group()

    def step(self, tokens: torch.Tensor) -> None:
        """See `Rows.step`."""
        hidden = self._model.get_decoder()(
            input_ids=tokens[:, None],
            position_ids=self._positions[:, None],
            past_key_values=self._own,
            use_cache=True,
            groups=self._groups,
        ).last_hidden_state
        self.logits = self._model.get_output_embeddings()(hidden[:, -1])
        self._positions = self._positions + 1


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    groups: Groups | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' scaled dot product attention, of one token a row to its group's prompt and its own where given.

    Args:
        query: [B, heads, 1, D] float; [U, heads, P, D] without `groups`.
        key, value: of the rows themselves, with as many heads as the model has for them.
        attention_mask: None: the model makes no mask for an attention that it does not know.
    Returns:
        [B, 1, heads, D] float, and None for the weights that nobody asked for.
    """
    if groups is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    batch, heads, _, width = query.shape
    line = groups.rows.shape[1]
    prompt_keys, prompt_values = groups.keys[module.layer_idx], groups.values[module.layer_idx]
    kinds = key.shape[1]
    asked = (query * (width**-0.5 if scaling is None else scaling)).view(batch, kinds, heads // kinds, width)

    def together(rows: torch.Tensor) -> torch.Tensor:
        """[B, kinds, heads a kind, X] -> [lines, kinds, line x heads a kind, X]."""
        return rows[groups.rows].transpose(1, 2).flatten(2, 3)

    def apart(found: torch.Tensor) -> torch.Tensor:
        """The way back."""
        return found.unflatten(2, (line, heads // kinds)).transpose(1, 2).flatten(0, 1)[groups.places]

    of_prompt = together(asked) @ prompt_keys.transpose(2, 3)
    if groups.unseen is not None:
        of_prompt = of_prompt.masked_fill(groups.unseen, -torch.inf)
    scores = torch.cat([apart(of_prompt), asked @ key.transpose(2, 3)], dim=-1)
    shares = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    split = prompt_keys.shape[2]
    found = apart(together(shares[..., :split]) @ prompt_values) + shares[..., split:] @ value
    return found.reshape(batch, 1, heads, width), None
