"""Attention over packed rows that computes what a sequence sees of itself, and nothing else.

A packed row holds several sequences; a token may see those before it in its own. With a mask over whole rows, attention
computes every pair of a row's tokens and throws most of them away. Here sequences of about the same length are taken
out of their rows, attend among themselves by the causal kernel, and are put back: log-probabilities and gradients are
those of the masked rows. On a CPU, where no kernel takes the borders of sequences, this is most of attention's cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from rlreason.engines.shared_prompts import at, attend_by, can_share

ATTENTION = "rlreason_packed_rows"
"""The name under which transformers knows `attention`."""
LENGTHS_A_DOUBLING = 2
"""Sequences go together whose lengths are at most a factor 2 ** (1 / this) apart: what is padded is a sixth or so of
attention alone, and a pass over rows of up to 512 tokens has fewer than twenty parts."""


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Where the sequences of rows [R, L] are, in the flattened rows.

    Attributes:
        groups: each [S, C] int64, the places of S sequences' tokens; one that is shorter than C ends in padding, which
            the causal kernel hides from it.
        outputs: [R * L] int64, where the rows' tokens are in the flattened groups, one after another.
    """

    groups: tuple[torch.Tensor, ...]
    outputs: torch.Tensor


def describe(positions: torch.Tensor) -> PackedRows:
    """What attention must know of rows.

    Args:
        positions: [R, L] int64, 0 at the start of every row and of every sequence.
    """
    flat = positions.flatten()
    starts = (flat == 0).nonzero().squeeze(1)
    lengths = torch.diff(starts, append=starts.new_tensor([len(flat)]))
    sizes = (lengths.double().log2() * LENGTHS_A_DOUBLING).ceil()
    groups, outputs, before = [], torch.empty_like(flat), 0
    for size in sizes.unique():
        own, long = starts[sizes == size, None], lengths[sizes == size, None]
        columns = torch.arange(int(long.max()), device=flat.device)
        held = columns < long
        places = own + columns * held
        groups.append(places)
        outputs[places[held]] = before + held.flatten().nonzero().squeeze(1)
        before += places.numel()
    return PackedRows(tuple(groups), outputs)


def pack_attention(model: Any) -> bool:
    """Make a model attend so wherever it is given `position_ids`, if it is of a family that is known to give the same.

    Returns:
        Whether it is, and stays on a CPU: where there is a GPU, to which it may be on its way, nothing is changed.
    """
    if model.device.type != "cpu" or torch.cuda.is_available() or not can_share(model):
        return False
    attend_by(model, ATTENTION, attention)
    model.base_model.register_forward_pre_hook(_described, with_kwargs=True)
    return True


def _described(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    positions = named.get("position_ids")
    return arguments, named if positions is None else {**named, "packed_rows": describe(positions)}


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    packed_rows: PackedRows | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' scaled dot product attention, within the sequences of packed rows where they are described.

    Args:
        query: [R, heads, L, D] float.
        key, value: the same, with as many heads as the model has for them.
        attention_mask: None: the model makes no mask for an attention that it does not know.
    Returns:
        [R, L, heads, D] float, and None for the weights that nobody asked for.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if packed_rows is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    rows, _, width, _ = query.shape
    flat = [states.transpose(1, 2).flatten(0, 1) for states in (query, key, value)]
    found = []
    for places in packed_rows.groups:
        states, _ = sdpa_attention_forward(module, *(at(each, places) for each in flat), None, **options)
        found.append(states.flatten(0, 1))
    return torch.cat(found).index_select(0, packed_rows.outputs).unflatten(0, (rows, width)), None
