"""How sequences of different lengths share rows, micro-batches and ranks. Pure numpy; only lengths go in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

import numpy as np

Batch = list[int]
"""Indices of the sequences that go through the model together."""


WASTE = 0.05
"""Share of padding above which passes are made smaller."""
SMALLEST = 4
"""Smallest passes are one of this many parts of the budget: below it, the passes' own cost outgrows the padding's."""
COPIES = 8
"""A token that is computed holds activations of about 16 times the model's width in a layer; a copy of its key and
value, which attention needs once for every completion, holds two: one of this many parts."""


def balanced_micro_batches(lengths: Sequence[int] | np.ndarray, ranks: int, budget: int) -> list[list[Batch]]:
    """Sequences to ranks and micro-batches, so that little is padded and every rank makes equally many passes.

    Sequences are sorted by length and dealt to the ranks in turn (so ranks hold nearly the same tokens); each rank then
    cuts its sorted list into as few passes of nearly equal padded size (rows x longest) as the budget allows. Where
    more than `WASTE` would be padding, passes are halved, down to a `SMALLEST`th of the budget. All ranks end with the
    same number of micro-batches, some possibly empty: with ZeRO 2 and 3 every pass is a collective.

    Args:
        lengths: [S] int, tokens of each sequence.
        ranks: learner ranks.
        budget: padded tokens a micro-batch may have; a single longer sequence stands alone.
    Returns:
        One list a rank, of micro-batches, each a list of sequence indices.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    shares = [[int(index) for index in order[rank::ranks]] for rank in range(ranks)]
    size = budget
    plans = [_equal_passes(partial(_cut, share, lengths), size) for share in shares]
    while padded_share(lengths, list(chain(*plans))) > WASTE and size // 2 >= max(1, budget // SMALLEST):
        size //= 2
        plans = [_equal_passes(partial(_cut, share, lengths), size) for share in shares]
    passes = max(1, *(len(batches) for batches in plans))
    return [batches + [[] for _ in range(passes - len(batches))] for batches in plans]


def shared_micro_batches(
    prompts: Sequence[int],
    prompt_lengths: Sequence[int] | np.ndarray,
    lengths: Sequence[int] | np.ndarray,
    ranks: int,
    budget: int,
) -> list[list[Batch]]:
    """As `balanced_micro_batches`, for passes that compute a prompt once for all its completions, and pad nothing.

    The completions of a prompt stay together as far as the budget, and an even share of every rank, allow. Prompts with
    long completions come first, so that the completions of a pass are of similar length.

    Args:
        prompts: [S], a number of each sequence's prompt: equal prompts, equal number.
        prompt_lengths, lengths: [S] int, tokens of the prompt, of the completion.
        ranks: learner ranks.
        budget: tokens a pass may have: its distinct ones, and 1 / `COPIES` of those of its whole sequences. A single
            larger sequence stands alone.
    Returns:
        As there.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    costs = lengths + (np.asarray(prompt_lengths) + lengths) // COPIES
    groups: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(prompt, []).append(index)
    ordered = sorted(groups.values(), key=lambda group: -max(lengths[group]))

    def cut(size: int) -> list[Batch]:
        batches: list[Batch] = []
        room = 0
        for group in ordered:
            prompt = int(prompt_lengths[group[0]])
            begin = prompt + costs[group].sum() > room
            room -= prompt
            for index in group:
                if begin or costs[index] > room:
                    batches.append([])
                    room, begin = size - prompt, False
                batches[-1].append(index)
                room -= int(costs[index])
        return batches

    batches = _equal_passes(cut, budget, ranks)
    passes = max(1, -(-len(batches) // ranks))
    batches += [[] for _ in range(passes * ranks - len(batches))]
    return [batches[rank::ranks] for rank in range(ranks)]


def _equal_passes(cut: Callable[[int], list[Batch]], budget: int, ranks: int = 1) -> list[Batch]:
    """As few passes of every rank as the budget allows, by the smallest budget that does: so they are nearly equal."""
    passes = -(-len(cut(budget)) // ranks) * ranks
    low, high = 1, budget
    while low < high:
        middle = (low + high) // 2
        if len(cut(middle)) > passes:
            low = middle + 1
        else:
            high = middle
    return cut(high)


def _cut(indices: Sequence[int], lengths: Sequence[int] | np.ndarray, budget: int) -> list[Batch]:
    """Sequences, from long to short, cut where the padded size (rows x longest) would pass the budget."""
    batches: list[Batch] = []
    for index in indices:
        # sorted from long to short: the first of a batch is its longest
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def pack_rows(lengths: Sequence[int], width: int, open_rows: int = 64) -> list[list[int]]:
    """Sequences to rows of at most `width` tokens, first fit over a window of open rows.

    The window keeps the stream's order roughly (a row closes once `open_rows` newer ones are open), so a mixture stays
    mixed and the stream can be endless.

    Args:
        lengths: tokens of each sequence, each at most `width`.
        width: tokens of a row.
        open_rows: rows that still accept sequences at any time.
    Returns:
        Rows in the order they were opened, each a list of sequence indices in stream order.
    Raises:
        ValueError: a sequence is longer than a row.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index, length in enumerate(lengths):
        if length > width:
            raise ValueError(f"sequence {index} has {length} tokens, more than a row's {width}; raise row_tokens")
        first_open = max(0, len(rows) - open_rows)
        for row in range(first_open, len(rows)):
            if room[row] >= length:
                rows[row].append(index)
                room[row] -= length
                break
        else:
            rows.append([index])
            room.append(width - length)
    return rows


def padded_share(lengths: Sequence[int] | np.ndarray, batches: Sequence[Batch]) -> float:
    """Share of the positions computed that are padding, in [0, 1)."""
    held = sum(sum(int(lengths[index]) for index in batch) for batch in batches)
    computed = sum(len(batch) * max(int(lengths[index]) for index in batch) for batch in batches if batch)
    return 1.0 - held / computed if computed else 0.0
