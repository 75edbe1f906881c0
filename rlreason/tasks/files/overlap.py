"""Questions that stand at two levels: the same, or with so many words in a row in common.

Words, numbers and symbols are compared, without case and the marks of sentences. Every question is turned into 64-bit
hashes, one of the whole and one of each run of words; those of one side are sorted, the other side's are looked up. Two
different runs share a hash once in 10^19 pairs; what is shown to a person is read from the texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_WORD = re.compile(r"\d+(?:[.,]\d+)*|\w+|[^\w\s.,;:!?'\"`\u2018\u2019\u201c\u201d]")
"""Numbers, words and symbols; not the marks of sentences."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_WHOLE = "whole question"


@dataclass(frozen=True, slots=True)
class Overlaps:
    """What two lists of questions share.

    Attributes:
        first, second: how many questions of each list are concerned.
        pairs: positions in both lists, of the first questions concerned.
    """

    first: int
    second: int
    pairs: tuple[tuple[int, int], ...]


def find_overlaps(
    first: Iterable[Sequence[str]], second: Iterable[Sequence[str]], run: int, shown: int = 3
) -> Overlaps:
    """
    Args:
        first: questions in pieces; their number bounds the time.
        second: the same; their hashes are held in memory, 12 bytes a word.
        run: words in a row that count as an overlap; 0: only whole questions are compared.
        shown: most pairs that are named.
    """
    pieces = [*_hashed(second, run)]
    hashes = np.concatenate([piece for piece, _ in pieces] or [np.zeros(0, np.uint64)])
    owners = np.concatenate([owner for _, owner in pieces] or [np.zeros(0, np.int32)])
    pieces.clear()
    # of equal hashes the earliest question comes first
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    concerned = np.zeros(len(hashes), bool)
    count, pairs = 0, dict[int, int]()
    for looked_up, asker in _hashed(first, run):
        places = np.searchsorted(hashes, looked_up)
        found = places < len(hashes)
        found[found] = hashes[places[found]] == looked_up[found]
        concerned[places[found]] = True
        count += len(np.unique(asker[found]))
        if len(pairs) < shown:
            for position, place in zip(asker[found].tolist(), places[found].tolist(), strict=True):
                if len(pairs) < shown:
                    pairs.setdefault(position, int(owners[place]))
    touched = owners[np.isin(hashes, hashes[concerned])]
    return Overlaps(count, len(np.unique(touched)), tuple(pairs.items()))


def shared_words(one: str, other: str) -> str:
    """The longest run of words that two questions share."""
    from difflib import SequenceMatcher

    left, right = _words(one), _words(other)
    match = SequenceMatcher(None, left, right, autojunk=False).find_longest_match()
    return " ".join(left[match.a : match.a + match.size])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _hashed(questions: Iterable[Sequence[str]], run: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each piece, hashes [M] uint64 and the positions [M] int32 of the questions that they are of."""
    start = 0
    for piece in questions:
        words = [_words(text) for text in piece]
        whole = np.array([hash((_WHOLE, *row)) for row in words], dtype=np.int64).view(np.uint64)
        owners = np.arange(start, start + len(piece), dtype=np.int32)
        start += len(piece)
        if run:
            runs, of = _runs(words, owners, run)
            yield np.concatenate([whole, runs]), np.concatenate([owners, of])
        else:
            yield whole, owners


def _runs(words: Sequence[Sequence[str]], owners: np.ndarray, run: int) -> tuple[np.ndarray, np.ndarray]:
    """The hash of every `run` words in a row of a question, and the question."""
    flat = np.array([hash(word) for row in words for word in row], dtype=np.int64).view(np.uint64)
    of = np.repeat(owners, [len(row) for row in words])
    count = max(0, len(flat) - run + 1)
    total = np.zeros(count, np.uint64)
    for offset in range(run):
        total = total * _FACTOR + flat[offset : offset + count]
    inside = of[:count] == of[run - 1 : run - 1 + count]
    return total[inside], of[:count][inside]
