"""A few packed rows small enough to check by eye, for supervised stages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlreason.engines.protocols import SupervisedRows

SEQUENCES = ((11, 12, 13, 14, 1), (21, 22, 1), (31, 32, 33, 34, 35, 36, 1), (41, 42, 43, 1), (51, 52, 53, 54, 1))
PROMPT = 2
"""Tokens of each sequence that are not trained."""
ROWS, WIDTH = ((0, 1), (2,), (3, 4)), 10
"""Sequences of each row, and its tokens."""


def make_rows(repeats: int = 1, sequences: Sequence[Sequence[int]] = SEQUENCES) -> SupervisedRows:
    """The sequences packed as in ROWS, `repeats` times over."""
    shape = (len(ROWS), WIDTH)
    tokens, labels = np.zeros(shape, np.int32), np.full(shape, -100, np.int32)
    positions = np.zeros(shape, np.int32)
    for row, held in enumerate(ROWS):
        at = 0
        for index in held:
            length = len(sequences[index])
            tokens[row, at : at + length] = sequences[index]
            labels[row, at + PROMPT : at + length] = sequences[index][PROMPT:]
            positions[row, at : at + length] = np.arange(length)
            at += length
        positions[row, at:] = np.arange(WIDTH - at)
    return SupervisedRows(*(np.tile(array, (repeats, 1)) for array in (tokens, labels, positions)))


def make_step_rows(repeats: int = 1) -> SupervisedRows:
    """The same rows with steps to classify: the third token of each sequence ends a right one, the last a wrong one."""
    rows = make_rows(repeats)
    labels = np.full_like(rows.labels, -100)
    labels[(rows.positions == PROMPT) & (rows.tokens != 0)] = 1
    labels[rows.tokens == 1] = 0
    return SupervisedRows(rows.tokens, labels, rows.positions)
