"""Transduction by a context-free grammar whose productions are a marker and a constructor, some pairs never trained.

    E -> marker constructor ( E , E )  |  two or three letters

Each marker and each constructor has its own effect on the output: the constructor puts the outputs of the two parts
together, then the marker rearranges what came of it. A held-out production is a pair whose marker and constructor both
occur in training, with others. At zero_shot an expression has such a production, and putting any training production
with the same marker or constructor in its place gives another output: what is nearest never has the answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import comb, factorial
from string import ascii_lowercase

from rlreason.tasks.equations import Equation, Execution, Question
from rlreason.tasks.rules.rule import Rule


def _weave(first: str, second: str) -> str:
    shared = min(len(first), len(second))
    woven = "".join(one + two for one, two in zip(first, second, strict=False))
    return woven + first[shared:] + second[shared:]


def _nest(first: str, second: str) -> str:
    middle = len(first) // 2
    return first[:middle] + second + first[middle:]


def _swap_neighbours(text: str) -> str:
    pairs = [text[place : place + 2] for place in range(0, len(text), 2)]
    return "".join(pair[::-1] for pair in pairs)


CONSTRUCTORS: dict[str, Callable[[str, str], str]] = {
    "blick": lambda first, second: first + second,
    "dax": lambda first, second: second + first,
    "wug": _weave,
    "zup": _nest,
}
MARKERS: dict[str, Callable[[str], str]] = {
    "fep": lambda text: text,
    "kiv": lambda text: text[::-1],
    "lorp": lambda text: text[1:] + text[:1],
    "tam": _swap_neighbours,
}
PRODUCTIONS: tuple[str, ...] = tuple(f"{marker} {constructor}" for marker in MARKERS for constructor in CONSTRUCTORS)
_LETTERS = frozenset(ascii_lowercase)
_LEAF = (2, 3)
"""Fewest and most letters of a leaf."""
MAX_SIZE = len(ascii_lowercase) // _LEAF[1] - 1
"""Most productions of an expression whose letters all differ."""

Part = str | int
"""A leaf's letters, or the index of an earlier production of the expression."""


def combine(production: str, first: str, second: str) -> str:
    """Output of a production on the outputs of its parts."""
    marker, constructor = production.split()
    return MARKERS[marker](CONSTRUCTORS[constructor](first, second))


def outputs(productions: Sequence[str], parts: Sequence[tuple[Part, Part]]) -> list[str]:
    """Output of every production of an expression, innermost first.

    Args:
        productions: of the expression, innermost first.
        parts: what each is applied to.
    """
    values: list[str] = []
    for production, (first, second) in zip(productions, parts, strict=True):
        values.append(combine(production, _value(first, values), _value(second, values)))
    return values


def _value(part: Part, values: Sequence[str]) -> str:
    return values[part] if isinstance(part, int) else part


def _related(production: str) -> frozenset[str]:
    """Productions with the same marker or the same constructor, itself included."""
    return frozenset(other for other in PRODUCTIONS if not set(production.split()).isdisjoint(other.split()))


def lost_by(held_out: Sequence[str]) -> list[str]:
    """Markers and constructors that no production of training would have."""
    kept = {word for production in PRODUCTIONS if production not in held_out for word in production.split()}
    return [word for word in (*MARKERS, *CONSTRUCTORS) if word not in kept]


class Grammar(Rule):
    """Transduction of nested expressions.

    Args:
        held_out: productions that no training expression has.
    """

    def __init__(self, held_out: Sequence[str]) -> None:
        self._held_out = tuple(held_out)
        self._trained = tuple(production for production in PRODUCTIONS if production not in held_out)
        self._substitutes = {
            production: tuple(other for other in self._trained if other in _related(production))
            for production in held_out
        }

    def draw(self, size: int, held_out: bool, rng: random.Random) -> Question | None:
        """See `Rule.draw`. No letter comes twice."""
        letters = iter(rng.sample(ascii_lowercase, len(ascii_lowercase)))
        parts: list[tuple[Part, Part]] = []
        _grow(size, letters, parts, rng)
        productions = rng.choices(PRODUCTIONS if held_out else self._trained, k=size)
        if held_out:
            productions[rng.randrange(size)] = rng.choice(self._held_out)
        values = outputs(productions, parts)
        if held_out and self._neighbours_agree(productions, parts, values[-1]):
            return None
        return _question(productions, parts, values)

    def _neighbours_agree(self, productions: Sequence[str], parts: Sequence[tuple[Part, Part]], answer: str) -> bool:
        """Whether a training production instead of a held-out one leads to the same answer."""
        for place, production in enumerate(productions):
            for other in self._substitutes.get(production, ()):
                if outputs([*productions[:place], other, *productions[place + 1 :]], parts)[-1] == answer:
                    return True
        return False

    def execute(self, left: str) -> Execution | None:
        """See `Rule.execute`."""
        production, _, rest = left.partition(" ( ")
        if production not in PRODUCTIONS or not rest.endswith(" )"):
            return None
        operands = tuple(rest.removesuffix(" )").split(" , "))
        symbols = [operand.split(" ") for operand in operands]
        if len(operands) != 2 or not all(letter in _LETTERS for part in symbols for letter in part):
            return None
        return Execution(operands, " ".join(combine(production, *("".join(part) for part in symbols))))

    def chance(self, size: int, held_out: bool) -> float:
        """A guess among the orders of the prompt's letters; leaves have two or three, each as often."""
        leaves = size + 1
        return sum(comb(leaves, threes) / 2**leaves / factorial(2 * leaves + threes) for threes in range(leaves + 1))

    def words(self) -> Sequence[str]:
        """See `Rule.words`."""
        return (*MARKERS, *CONSTRUCTORS, "(", ",", ")", *ascii_lowercase)

    @property
    def remedy(self) -> str:
        """See `Rule.remedy`."""
        return f"hold out fewer productions (now {len(self._held_out)} of {len(PRODUCTIONS)})"


def _grow(size: int, letters: Iterator[str], parts: list[tuple[Part, Part]], rng: random.Random) -> Part:
    """A part made of `size` productions of random shape, added to `parts`; returns how others refer to it."""
    if size == 0:
        return "".join(islice(letters, rng.randint(*_LEAF)))
    inner = rng.randrange(size)
    first = _grow(inner, letters, parts, rng)
    second = _grow(size - 1 - inner, letters, parts, rng)
    parts.append((first, second))
    return len(parts) - 1


def _question(productions: Sequence[str], parts: Sequence[tuple[Part, Part]], values: Sequence[str]) -> Question:
    expressions: list[str] = []
    equations: list[Equation] = []
    for production, pair, value in zip(productions, parts, values, strict=True):
        asked = [expressions[part] if isinstance(part, int) else " ".join(part) for part in pair]
        operands = [" ".join(_value(part, values)) for part in pair]
        expressions.append(f"{production} ( {' , '.join(asked)} )")
        equations.append(Equation(f"{production} ( {' , '.join(operands)} )", " ".join(value)))
    given = tuple(" ".join(part) for pair in parts for part in pair if isinstance(part, str))
    return Question(expressions[-1], given, tuple(equations))
