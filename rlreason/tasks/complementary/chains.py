"""Chains: a path walked from a person, and the level to which each (path, start) pair belongs.

Between the world and the task. A chain never visits a person twice. Relations whose facts are not part of the world are
drawn anew here; the rest of the context is made in `contexts`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from rlreason.tasks.complementary.paths import Path, reverse, stable_share
from rlreason.tasks.complementary.relations import Relations
from rlreason.tasks.complementary.world import World

Bucket = Literal["train", "iid", "validation"]
_TRIES = 64


@dataclass(frozen=True, slots=True)
class Chain:
    """A path with the people it visits: `nodes` has one more entry than `path`; the last is the answer."""

    path: Path
    nodes: tuple[str, ...]

    @property
    def facts(self) -> list[tuple[str, str, str]]:
        """(head, relation, tail) of every hop."""
        return list(zip(self.nodes, self.path, self.nodes[1:], strict=False))


class ChainMaker:
    """Walks paths through a world.

    Args:
        iid, validation: shares of the (path, start) pairs that are kept from training for those levels.
        salt: makes the splits of different worlds different.
    """

    def __init__(self, relations: Relations, world: World, iid: float, validation: float, salt: str) -> None:
        self._relations = relations
        self._world = world
        self._iid = iid
        self._validation = validation
        self._salt = salt

    def walk(self, path: Path, rng: random.Random) -> Chain | None:
        """A chain from a random start, or None where it led to a person already visited or to nobody (walk again)."""
        groups, tails = self._relations.groups, self._world.tails
        head = rng.choice(self._world.known if groups[path[0]] == "parametric" else self._world.everyone)
        nodes = [head]
        for hop, name in enumerate(path):
            facts = tails.get(name)
            tail = facts.get(head) if facts is not None else self._draw_tail(path, hop, rng)
            if tail is None or tail in nodes:
                return None
            nodes.append(tail)
            head = tail
        return Chain(path, tuple(nodes))

    def _draw_tail(self, path: Path, hop: int, rng: random.Random) -> str:
        values = self._relations.by_name[path[hop]].values
        if values:
            return rng.choice(values)
        # only known people have the parametric facts that a next parametric hop asks for
        before_parametric = hop + 1 < len(path) and self._relations.groups[path[hop + 1]] == "parametric"
        return rng.choice(self._world.known if before_parametric else self._world.everyone)

    def bucket(self, chain: Chain) -> Bucket:
        """The level of a chain whose path training uses; where all its facts are fixed, its reverse has the same."""
        key = (*chain.path, chain.nodes[0])
        if all(name in self._world.tails for name in chain.path):
            back = reverse(chain.path, self._relations.twins)
            if back is not None:
                key = min(key, (*back, chain.nodes[-1]))
        share = stable_share(self._salt, "start", *key)
        if share < self._iid:
            return "iid"
        return "validation" if share < self._iid + self._validation else "train"

    def walkable(self, path: Path) -> bool:
        """Whether a chain along this path was found in a bounded, fixed series of tries."""
        rng = random.Random(f"{self._salt}/{path}")
        return any(self.walk(path, rng) is not None for _ in range(_TRIES))

    def trainable(self, path: Path) -> bool:
        """Whether a chain that training may use was found in a bounded, fixed series of tries."""
        rng = random.Random(f"{self._salt}/{path}")
        chains = (self.walk(path, rng) for _ in range(_TRIES))
        return any(chain is not None and self.bucket(chain) == "train" for chain in chains)
