"""Which paths belong to training, to composition and to zero_shot, for one cell.

Between `paths` and the task. Small cells are listed whole, so that the held-out share is exact and every relation of a
held-out path is seen to occur in training; large ones are decided path by path, by a stable hash. Which *starts* a
level may use is decided elsewhere (`chains`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Literal, Protocol

from rlreason.tasks.complementary.paths import Path, PathSpace, Twins, canonical, stable_share

Kind = Literal["seen", "composition", "zero_shot"]
LIST_AT_MOST = 20_000
"""Cells with more paths than this are not listed."""
_WITNESS_DRAWS = 5_000


class Split(Protocol):
    """The paths of one cell, by kind. `seen` paths have a training instance; `composition` paths are made of relations
    that training paths of the same cell use; `zero_shot` paths have a relation that they do not."""

    def draw(self, kind: Kind, rng: random.Random) -> Path | None:
        """A path of that kind, or None (draw again; always None where there are none)."""


class PathRules:
    """What a split asks about paths.

    Args:
        held_out: relations no training path may use; closed under twins.
        share: share of the other paths that is held out for composition, in [0, 1).
        salt: makes the splits of different worlds different.
        twins: of the relation table.
        trainable: whether a path has an instance that training may use.
        walkable: whether a path has any instance.
    """

    def __init__(
        self,
        held_out: frozenset[str],
        share: float,
        salt: str,
        twins: Twins,
        trainable: Callable[[Path], bool],
        walkable: Callable[[Path], bool],
    ) -> None:
        self.held_out = held_out
        self.share = share
        self.salt = salt
        self.twins = twins
        self.trainable = trainable
        self.walkable = walkable

    def rank(self, path: Path) -> float:
        """In [0, 1); the lowest ranks are held out first. A path and its reverse have the same."""
        return stable_share(self.salt, "path", *canonical(path, self.twins))


def make_split(training: PathSpace, everything: PathSpace, rules: PathRules) -> Split:
    """The split of a cell.

    Args:
        training: the cell's paths without held-out relations.
        everything: the cell's paths with them.
    """
    if everything.bound <= LIST_AT_MOST:
        return ListedSplit(training, everything, rules)
    return HashedSplit(training, everything, rules)


class ListedSplit:
    """Every path is looked at once; the held-out share is exact to one path."""

    def __init__(self, training: PathSpace, everything: PathSpace, rules: PathRules) -> None:
        paths = [path for path in training if rules.trainable(path)]
        held = _hold_out(paths, rules) if training.hops > 1 else frozenset()
        self.paths: dict[Kind, list[Path]] = {
            "seen": [path for path in paths if path not in held],
            "composition": [path for path in paths if path in held],
            "zero_shot": [path for path in everything if not rules.held_out.isdisjoint(path) and rules.walkable(path)],
        }

    def draw(self, kind: Kind, rng: random.Random) -> Path | None:
        paths = self.paths[kind]
        return rng.choice(paths) if paths else None


def _hold_out(paths: list[Path], rules: PathRules) -> frozenset[Path]:
    """About `share` of the paths, directions together, leaving every relation that they use on a path that stays."""
    directions: dict[Path, list[Path]] = {}
    for path in paths:
        directions.setdefault(canonical(path, rules.twins), []).append(path)
    quota = max(1, round(rules.share * len(directions))) if rules.share else 0
    uses = Counter(name for path in paths for name in set(path))
    held: list[Path] = []
    for key in sorted(directions, key=rules.rank):
        if quota == 0:
            break
        lost = Counter(name for path in directions[key] for name in set(path))
        if all(uses[name] > count for name, count in lost.items()):
            uses -= lost
            held.extend(directions[key])
            quota -= 1
    return frozenset(held)


class HashedSplit:
    """Each path is decided on its own when it is drawn; nothing is stored but the relations seen in training."""

    def __init__(self, training: PathSpace, everything: PathSpace, rules: PathRules) -> None:
        self._training = training
        self._everything = everything
        self._rules = rules
        self.trained = self._witness()

    def _witness(self) -> frozenset[str]:
        """Relations for which a training path was found."""
        rng = random.Random(f"{self._rules.salt}/witness")
        found: set[str] = set()
        for _ in range(_WITNESS_DRAWS):
            path = self.draw("seen", rng)
            if path is not None and not found.issuperset(path) and self._rules.trainable(path):
                found.update(path)
            if len(found) == len(self._training.lasts):
                break
        return frozenset(found)

    def draw(self, kind: Kind, rng: random.Random) -> Path | None:
        if kind == "zero_shot":
            path = self._everything.draw(rng)
            return path if path and not self._rules.held_out.isdisjoint(path) else None
        path = self._training.draw(rng)
        if path is None:
            return None
        held = self._rules.rank(path) < self._rules.share
        if kind == "seen":
            return None if held else path
        return path if held and self.trained.issuperset(path) else None
