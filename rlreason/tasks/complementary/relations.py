"""The relations of the world, as data: which there are, which group each is in, which undo each other.

First in the flow: everything else of this package asks a `Relations` table. It knows no people and no facts. Two
disjoint groups: parametric relations are told in biographies, contextual ones only in prompts. Of 39 relations 16 lead
from a person to a person (8 symmetric, 4 pairs of inverses; both members of a pair are in one group) and 23 to a value.
All are functions: a person has at most one tail for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Group = Literal["parametric", "contextual"]
Unit = tuple[str, ...]
"""One symmetric relation, or two that are each other's inverse: what is taken or held out as a whole."""

GROUPS: tuple[Group, Group] = ("parametric", "contextual")

PERSON_UNITS: Mapping[Group, tuple[Unit, ...]] = {
    "parametric": (("spouse",), ("child", "parent"), ("friend",), ("boss", "assistant"), ("sibling",), ("neighbor",)),
    "contextual": (
        ("rival",),
        ("mentor", "student"),
        ("roommate",),
        ("idol", "admirer"),
        ("classmate",),
        ("colleague",),
    ),
}
"""Person-to-person relations in the order in which a world takes them."""

_VALUES: Mapping[Group, Mapping[str, str]] = {
    "parametric": {
        "city": "Lisbon Oslo Cairo Lima Kyoto Quito Dublin Prague Hanoi Nairobi Turin Seville",
        "occupation": "baker nurse pilot tailor farmer lawyer plumber teacher dentist butcher judge miner",
        "university": "Oxford Yale Bologna Leiden Uppsala Heidelberg Coimbra Padua Kazan Lund Delft Basel",
        "major": "physics law history music biology geology botany drama logic algebra rhetoric optics",
        "pet": "cat dog parrot hamster rabbit turtle goldfish ferret pony gecko canary lizard",
        "hobby": "chess sailing painting knitting hiking fishing pottery gardening archery origami surfing yoga",
        "company": "Acme Borealis Corvus Deltron Everglow Fernhill Granite Helix Ironwood Juniper Kestrel Lumina",
        "birthmonth": "january february march april may june july august september october november december",
        "language": "Finnish Latin Greek Welsh Danish Hindi Korean Dutch Czech Basque Swahili Tamil",
        "instrument": "piano violin flute cello harp drum guitar oboe trumpet banjo organ tuba",
        "color": "red blue green yellow purple orange black white brown pink gray teal",
        "sport": "tennis rugby hockey soccer golf boxing rowing cycling judo fencing polo cricket",
    },
    "contextual": {
        "award": "medal trophy ribbon plaque crown laurel cup badge scroll star ring shield",
        "phone": "4821 7350 1968 6043 2597 8136 3702 9415 5289 1674 7926 4058",
        "email": "bluebird starfish redwood moonbeam snowfall driftwood sunrise rainbow thunder pebble comet ember",
        "car": "sedan coupe wagon hatchback roadster pickup limousine minivan jeep convertible buggy truck",
        "drink": "tea coffee cocoa cider lemonade milk juice soda wine beer water punch",
        "snack": "popcorn pretzel cookie muffin almond raisin cracker waffle bagel donut walnut toffee",
        "flower": "tulip daisy orchid lily poppy iris peony lotus jasmine violet dahlia aster",
        "hotel": "Ritz Savoy Plaza Astoria Carlton Metropole Bristol Regent Majestic Imperial Excelsior Waldorf",
        "street": "Broadway Kingsway Strand Piccadilly Ringstrasse Rambla Prado Corso Kurfurst Nevsky Arbat Ginza",
        "team": "eagles lions tigers sharks bears wolves falcons hornets bulls cobras ravens panthers",
        "fruit": "apple pear plum cherry mango banana grape peach lemon papaya apricot melon",
    },
}
VALUES: Mapping[Group, Mapping[str, tuple[str, ...]]] = {
    group: {name: tuple(words.split()) for name, words in table.items()} for group, table in _VALUES.items()
}
"""Value relations in the order in which a world takes them. No value stands under two relations."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation.

    Attributes:
        name: one word, as it stands in sentences.
        group: where its facts are told.
        twin: the relation that leads back: itself where symmetric, None where it leads to a value.
        values: what it may lead to; empty where it leads to a person.
    """

    name: str
    group: Group
    twin: str | None
    values: tuple[str, ...] = ()


def take_units(units: Iterable[Unit], count: int) -> tuple[Unit, ...]:
    """The first units, in order, that fit into `count` relations; a pair that does not fit whole is passed over.

    Where only pairs are left and one relation is still missing, a pair is taken: the result may then hold one relation
    more than `count`, never one less unless the units run out.
    """
    units = tuple(units)
    taken: list[Unit] = []
    for unit in units:
        if sum(map(len, taken)) + len(unit) <= count:
            taken.append(unit)
    if sum(map(len, taken)) < count:
        taken.extend([unit for unit in units if unit not in taken][:1])
    return tuple(taken)


class Relations:
    """The relations of one world: the first person and value relations of each group.

    Args:
        person: person-to-person relations a group. Pairs of inverses are taken whole.
        value: value relations a group.
    """

    def __init__(self, person: Mapping[Group, int], value: Mapping[Group, int]) -> None:
        self.units = {group: take_units(PERSON_UNITS[group], person[group]) for group in GROUPS}
        table: list[Relation] = []
        for group in GROUPS:
            for unit in self.units[group]:
                # a symmetric unit reversed is itself; a pair reversed maps each member to the other
                table.extend(Relation(name, group, twin) for name, twin in zip(unit, reversed(unit), strict=True))
            names = list(VALUES[group])[: value[group]]
            table.extend(Relation(name, group, None, VALUES[group][name]) for name in names)
        self.by_name: dict[str, Relation] = {relation.name: relation for relation in table}

    @cached_property
    def twins(self) -> dict[str, str | None]:
        """Name of each relation -> name of the relation that leads back."""
        return {name: relation.twin for name, relation in self.by_name.items()}

    @cached_property
    def groups(self) -> dict[str, Group]:
        """Name of each relation -> its group."""
        return {name: relation.group for name, relation in self.by_name.items()}

    def in_group(self, group: Group) -> tuple[Relation, ...]:
        """Relations of one group, person-to-person ones first."""
        return tuple(relation for relation in self.by_name.values() if relation.group == group)
