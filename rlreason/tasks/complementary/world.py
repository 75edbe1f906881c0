"""The people of a world and the facts about them that hold in every problem.

Built once from the parameters. Known people have parametric facts, which biographies tell. Contextual facts are part
of the world only where a recipe asks for that; otherwise each problem draws its own (`contexts`). Paths and text are
not here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rlreason.errors import TaskError
from rlreason.tasks.complementary.names import FIRST, LAST
from rlreason.tasks.complementary.relations import Relation, Relations

Tails = dict[str, str]
"""Head -> tail, of one relation. A head without a fact is absent."""


def draw_names(count: int, words: int | None, seed: int, where: str) -> tuple[str, ...]:
    """`count` different names in an order that follows from the seed.

    Args:
        words: words a name; None: one while the list lasts, else two.
        where: how an error calls the task.
    Raises:
        TaskError: there are not that many names.
    """
    if words is None:
        words = 1 if count <= len(FIRST) else 2
    most = len(FIRST) if words == 1 else len(FIRST) * len(LAST)
    if count > most:
        raise TaskError(
            f"{where}: people + new_people = {count}, but there are {most} names of {words} word(s); "
            f"lower them to at most {most}" + (" or set name_words: 2" if words == 1 else "")
        )
    picks = random.Random(f"{seed}/names").sample(range(most), count)
    if words == 1:
        return tuple(FIRST[pick] for pick in picks)
    return tuple(f"{FIRST[pick // len(LAST)]} {LAST[pick % len(LAST)]}" for pick in picks)


class World:
    """Names and fixed facts.

    Args:
        relations: the table.
        names: of everybody, the known first.
        known: how many are known.
        contextual_too: whether contextual facts are part of the world.
        seed: the world's seed. Each relation has its own generator, so taking one more changes no other's facts.
    """

    def __init__(self, relations: Relations, names: Sequence[str], known: int, contextual_too: bool, seed: int) -> None:
        self.everyone = tuple(names)
        self.known = self.everyone[:known]
        self.tails: dict[str, Tails] = {}
        people = {"parametric": self.known, "contextual": self.everyone}
        for relation in relations.by_name.values():
            if relation.name in self.tails or (relation.group == "contextual" and not contextual_too):
                continue
            rng = random.Random(f"{seed}/facts/{relation.name}")
            tails = _draw_tails(relation, people[relation.group], rng)
            self.tails[relation.name] = tails
            if relation.twin not in (None, relation.name):
                self.tails[str(relation.twin)] = {tail: head for head, tail in tails.items()}


def _draw_tails(relation: Relation, people: Sequence[str], rng: random.Random) -> Tails:
    """A value for each; a matching where symmetric (an odd person has none); else one cycle through everybody."""
    if relation.values:
        return {person: rng.choice(relation.values) for person in people}
    order = rng.sample(people, len(people))
    if relation.twin == relation.name:
        pairs = list(zip(order[::2], order[1::2], strict=False))
        return dict(pairs) | {second: first for first, second in pairs}
    return dict(zip(order, order[1:] + order[:1], strict=True))
