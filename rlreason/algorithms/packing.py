"""How sequences of different lengths share rows, micro-batches and ranks. Pure numpy; only lengths go in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

Batch = list[int]
"""Indices of the sequences that go through the model together."""


WASTE = 0.05
"""Share of padding above which passes are made smaller."""
SMALLEST = 4
"""Smallest passes are one of this many parts of the budget: below it, the passes' own cost outgrows the padding's."""


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
    plans = [_equal_passes(share, lengths, size) for share in shares]
    while padded_share(lengths, list(chain(*plans))) > WASTE and size // 2 >= max(1, budget // SMALLEST):
        size //= 2
        plans = [_equal_passes(share, lengths, size) for share in shares]
    passes = max(1, *(len(batches) for batches in plans))
    return [batches + [[] for _ in range(passes - len(batches))] for batches in plans]


def _equal_passes(indices: Sequence[int], lengths: Sequence[int] | np.ndarray, budget: int) -> list[Batch]:
    """As few passes as the budget allows, cut by the smallest budget that needs no more: so they are nearly equal."""
    passes = len(_cut(indices, lengths, budget))
    low, high = 1, budget
    while low < high:
        middle = (low + high) // 2
        if len(_cut(indices, lengths, middle)) > passes:
            low = middle + 1
        else:
            high = middle
    return _cut(indices, lengths, high)


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
