"""Paths: sequences of relations. Which exist, which count as the same, and how they are listed or drawn.

Between the relation table and the splits (`splits`): no people here. A path of h hops has h-1 person-to-person
relations and a last one of any kind. Read backwards through inverses, a path without values asks about the same facts,
so the two directions are one path to a split: `canonical` names them both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import pairwise

from rlreason.tasks.complementary.relations import Relation

Path = tuple[str, ...]
Twins = Mapping[str, str | None]


def stable_share(*words: str) -> float:
    """A number in [0, 1) that follows from the words alone, the same on every machine and in every process."""
    digest = blake2b("\x1f".join(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def reverse(path: Path, twins: Twins) -> Path | None:
    """The path that leads from the end back to the start; None where the path ends at a value."""
    back: list[str] = []
    for name in reversed(path):
        twin = twins[name]
        if twin is None:
            return None
        back.append(twin)
    return tuple(back)


def canonical(path: Path, twins: Twins) -> Path:
    """One name for a path and its reverse: the smaller of the two."""
    back = reverse(path, twins)
    return path if back is None else min(path, back)


class PathSpace:
    """All paths with a number of hops. No relation is followed by its own twin: that would lead straight back.

    Args:
        hops: relations on a path, at least 1.
        relations: those a path may use.
        repeats: whether a relation may occur twice on a path.
        mixed: whether a path must use both groups.
    """

    def __init__(self, hops: int, relations: tuple[Relation, ...], repeats: bool, mixed: bool) -> None:
        self.hops = hops
        self.links = tuple(relation.name for relation in relations if relation.twin is not None)
        self.lasts = tuple(relation.name for relation in relations)
        self._mixed = mixed
        self._repeats = repeats
        self._twins = {relation.name: relation.twin for relation in relations}
        self._groups = {relation.name: relation.group for relation in relations}

    @property
    def bound(self) -> int:
        """An upper bound on the number of paths."""
        starts: int = len(self.links) ** (self.hops - 1)
        return starts * len(self.lasts)

    def __iter__(self) -> Iterator[Path]:
        """Every path once, in a stable order."""
        return self._extend(())

    def _extend(self, path: Path) -> Iterator[Path]:
        if len(path) == self.hops:
            if not self._mixed or len({self._groups[name] for name in path}) == 2:
                yield path
            return
        for name in self.lasts if len(path) == self.hops - 1 else self.links:
            back = bool(path) and self._twins[path[-1]] == name
            if not back and (self._repeats or name not in path):
                yield from self._extend((*path, name))

    def draw(self, rng: random.Random) -> Path | None:
        """A path, each as likely as any other, or None where the draw was not a path (draw again)."""
        if self._repeats:
            path: Path = (*rng.choices(self.links, k=self.hops - 1), rng.choice(self.lasts))
        else:
            if len(self.links) < self.hops - 1:
                return None
            path = (*rng.sample(self.links, self.hops - 1), rng.choice(self.lasts))
            if path[-1] in path[:-1]:
                return None
        groups, twins = self._groups, self._twins
        if self._mixed and len({groups[name] for name in path}) < 2:
            return None
        if any(twins[name] == following for name, following in pairwise(path)):
            return None
        return path
