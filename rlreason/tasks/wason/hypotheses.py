"""The rules that there are, cell by cell, and what tells them apart: the ground on which questions are judged.

A cell's rules are finitely many, each with the triples it holds of. A question is worth asking as long as it splits
those that still fit what was answered. Which rules training has is decided here too: some conditions are held out, and
of the pairs of trained conditions some are never trained together.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product

import numpy as np

from rlreason.tasks.wason.language import Grid, read_rule

COMPOSITION, ZERO_SHOT = "composition", "zero_shot"
TRAINED = ("train", "validation", "iid")
LEVELS = (*TRAINED, COMPOSITION, ZERO_SHOT)
BOTH = "both"
LEAST_PROBES = 48
"""Questions that gold episodes choose from, at least."""
RAREST, COMMONEST = 0.03, 0.6
"""Share of the triples that a pair of conditions may hold of: a rule that next to nothing fits cannot be shown."""
NEVER_TOGETHER = 0.25
"""Share of the pairs of trained conditions that only the level composition has."""


def conditions(largest: int) -> dict[str, tuple[str, ...]]:
    """Kind of rule -> its conditions, in the form in which `ast` writes them."""
    middle, third, gap = 3 * largest // 2, largest // 3, largest // 4
    order = [f"{one} {sign} {two}" for one, two in combinations("abc", 2) for sign in ("<", ">", "==", "!=")]
    sums = [f"{one} + {two} {sign} {three}" for one, two, three in ("abc", "bca", "acb") for sign in ("<", ">")]
    gaps = [f"{one} - {two} > {gap}" for one, two in ("ba", "cb", "ca", "ab")]
    twice = [f"{one} > 2 * {two}" for one, two in ("ab", "bc", "ca")]
    total = [f"a + b + c {sign} {middle}" for sign in ("<", ">")]
    halves = [f"{value} % 2 == {rest}" for value in "abc" for rest in (0, 1)]
    thirds = [f"{value} % 3 == 0" for value in "abc"]
    added = [f"({value}) % 2 == 0" for value in ("a + b", "b + c", "a + c", "a + b + c")]
    outermost = [f"{choice}(a, b, c) == {one}" for choice in ("max", "min") for one in "abc"]
    bounds = [
        f"max(a, b, c) < {largest - gap}",
        f"min(a, b, c) > {gap}",
        f"max(a, b, c) - min(a, b, c) < {largest // 2}",
    ]
    outside = ["max(a, b) < c", "max(b, c) < a", "min(a, b) > c", "min(b, c) > a", f"min(a, b) > {third}"]
    return {
        "order": tuple(order),
        "arithmetic": (*sums, *gaps, *twice, *total),
        "remainder": (*halves, *thirds, *added),
        "extremes": (*outermost, *bounds, *outside),
    }


@dataclass(frozen=True)
class Split:
    """Which conditions of each kind are held out."""

    trained: Mapping[str, tuple[str, ...]]
    held_out: Mapping[str, tuple[str, ...]]

    @staticmethod
    def draw(largest: int, held_out: int, salt: str) -> Split:
        """`held_out` conditions of each kind, drawn by `salt`."""
        every = conditions(largest)
        out = {kind: set(random.Random(f"{salt}/{kind}").sample(own, held_out)) for kind, own in every.items()}
        return Split(
            {kind: tuple(one for one in own if one not in out[kind]) for kind, own in every.items()},
            {kind: tuple(one for one in own if one in out[kind]) for kind, own in every.items()},
        )


class Rules:
    """The rules of a cell.

    Attributes:
        texts: [H].
        holds: [H, G] bool, the triples of the grid that each holds of.
        pools: level -> [R] int, the rules that its problems hide; empty where there are none.
    """

    def __init__(self, found: Sequence[tuple[str, str]], grid: Grid, salt: str) -> None:
        """`found`: (text, the level that hides it: "train" for all three that do); equal rules are taken once."""
        first: dict[bytes, tuple[str, str, np.ndarray]] = {}
        for text, level in found:
            read = read_rule(text, grid)
            assert read is not None, f"{text!r} is of the language"
            first.setdefault(read[1].tobytes(), (text, level, read[1]))
        self.grid = grid
        self.texts = tuple(text for text, _, _ in first.values())
        self.holds = np.stack([holds for _, _, holds in first.values()])
        levels = np.array([level for _, level, _ in first.values()])
        self.pools = {level: np.flatnonzero(levels == ("train" if level in TRAINED else level)) for level in LEVELS}
        self._salt = salt

    @cached_property
    def probes(self) -> np.ndarray:
        """[Q] int, places on the grid of questions that together tell all rules apart; the same for every problem."""
        order = list(range(self.grid.size))
        random.Random(f"{self._salt}/probes").shuffle(order)
        chosen: list[int] = []
        classes = np.zeros(len(self.texts), dtype=np.int64)
        for place in order:
            finer = np.unique(2 * classes + self.holds[:, place], return_inverse=True)[1]
            if finer.max() > classes.max():
                chosen.append(place)
                classes = finer
        others = [place for place in order if place not in chosen]
        return np.array(chosen + others[: max(0, LEAST_PROBES - len(chosen))])

    def best_question(self, fitting: np.ndarray) -> int:
        """The probe that comes nearest to halving the rules [K] that still fit, K > 1; the first of those."""
        yes = self.holds[np.ix_(fitting, self.probes)].sum(axis=0)
        return int(self.probes[np.argmin(np.abs(2 * yes - len(fitting)))])

    def questions(self, rule: int, shown: int) -> Iterator[int]:
        """Places of the triples that a good questioner asks until one rule is left, after `shown`, which fits."""
        fitting = np.flatnonzero(self.holds[:, shown])
        while len(fitting) > 1:
            place = self.best_question(fitting)
            yield place
            fitting = fitting[self.holds[fitting, place] == self.holds[rule, place]]


def single_rules(kind: str, split: Split, grid: Grid, salt: str) -> Rules:
    """One condition of a kind."""
    trained = [(text, "train") for text in split.trained[kind]]
    return Rules([*trained, *((text, ZERO_SHOT) for text in split.held_out[kind])], grid, f"{salt}/{kind}")


def paired_rules(split: Split, grid: Grid, salt: str) -> Rules:
    """Two conditions of different kinds, both to be met, neither of which says the other already."""
    known = {
        text: read_rule(text, grid) for own in (split.trained, split.held_out) for of in own.values() for text in of
    }
    holds = {text: read[1] for text, read in known.items() if read is not None}
    random_pairs = random.Random(f"{salt}/pairs")
    found = []
    for one, other in combinations(split.trained, 2):
        firsts, seconds = split.trained[one] + split.held_out[one], split.trained[other] + split.held_out[other]
        for first, second in product(firsts, seconds):
            apart = random_pairs.random() < NEVER_TOGETHER
            both = holds[first] & holds[second]
            narrower = min(holds[first].sum(), holds[second].sum())
            if not RAREST <= both.mean() <= COMMONEST or both.sum() == narrower:
                continue
            new = first in split.held_out[one] or second in split.held_out[other]
            found.append((f"{first} and {second}", ZERO_SHOT if new else COMPOSITION if apart else "train"))
    return Rules(found, grid, f"{salt}/{BOTH}")
