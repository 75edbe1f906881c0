"""Rule 90: each cell of a ring becomes the exclusive or of its two neighbours. Some neighbourhoods are never trained.

A neighbourhood is three symbols: left, cell, right. Those held out are chosen so that the ones nearest to them that
stay (the fewest symbols differ) all have the other outcome: whoever goes by similarity is wrong at every one of them. A
starting row belongs to training where it has no held-out neighbourhood, to zero_shot where it has one.

Held-out neighbourhoods turn up again after the first step: the default ones always, since any lone one becomes two at
distance two. So a derivation of several steps shows them: supervised stages that must not see them train on rule90/1,
and stages that learn from outcomes may use the longer cells, whose answers are the only evidence of what is missing.
After an even number of steps a cell depends on cells that lie four or more apart, of which training rows have every
combination: there nothing is held out (kernel ridge regression is always right), so zero_shot takes odd numbers.

Source: arXiv 2603.17019, experiment 1.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise, product

from rlreason.tasks.equations import Equation, Execution, Question
from rlreason.tasks.rules.rule import Rule

NEIGHBOURHOODS: tuple[str, ...] = tuple("".join(symbols) for symbols in product("01", repeat=3))


def outcome(neighbourhood: str) -> str:
    """What becomes of the cell in the middle: "0" or "1"."""
    return "1" if neighbourhood[0] != neighbourhood[2] else "0"


def neighbourhoods(row: str) -> list[str]:
    """Of every cell of a ring, from the first."""
    around = row[-1] + row + row[0]
    return [around[place : place + 3] for place in range(len(row))]


def step(row: str) -> str:
    """The ring after one step."""
    return "".join(map(outcome, neighbourhoods(row)))


def misleading_neighbour(held_out: Sequence[str]) -> tuple[str, str] | None:
    """A held-out neighbourhood and one of the nearest that stay with the same outcome; None where there is none."""
    kept = [known for known in NEIGHBOURHOODS if known not in held_out]
    for missing in held_out:
        distances = {known: sum(one != two for one, two in zip(missing, known, strict=True)) for known in kept}
        nearest = min(distances.values(), default=0)
        for known, distance in distances.items():
            if distance == nearest and outcome(known) == outcome(missing):
                return missing, known
    return None


class Rule90(Rule):
    """Rows of a ring, some steps on.

    Args:
        width: cells of the ring.
        held_out: neighbourhoods that no starting row of training has.
    """

    def __init__(self, width: int, held_out: Sequence[str]) -> None:
        self._width = width
        self._held_out = frozenset(held_out)
        self._completions = lru_cache(maxsize=None)(self._count_completions)

    def draw(self, size: int, held_out: bool, rng: random.Random) -> Question | None:
        """See `Rule.draw`. No row comes twice on the way."""
        row = "".join(rng.choices("01", k=self._width)) if held_out else self._trained_row(rng)
        if row is None or held_out == self._held_out.isdisjoint(neighbourhoods(row)):
            return None
        rows = [row]
        for _ in range(size):
            rows.append(step(rows[-1]))
        if len(set(rows)) < len(rows):
            return None
        written = [" ".join(row) for row in rows]
        equations = [Equation(f"next ( {before} )", after) for before, after in pairwise(written)]
        expression = f"{'next ( ' * size}{written[0]}{' )' * size}"
        return Question(expression, (written[0],), tuple(equations))

    def _trained_row(self, rng: random.Random) -> str | None:
        """A row without held-out neighbourhoods, each equally likely; None where there is none."""
        pairs = ["00", "01", "10", "11"]
        weights = [self._completions(pair, pair, self._width - 2) for pair in pairs]
        if not any(weights):
            return None
        start = rng.choices(pairs, weights)[0]
        row = start
        while len(row) < self._width:
            options = [symbol for symbol in "01" if row[-2:] + symbol not in self._held_out]
            left = self._width - len(row) - 1
            weights = [self._completions(start, row[-1] + symbol, left) for symbol in options]
            row += rng.choices(options, weights)[0]
        return row

    def _count_completions(self, start: str, end: str, left: int) -> int:
        """Rows without held-out neighbourhoods that begin with `start`, have `end` so far and `left` symbols to go."""
        if left == 0:
            return int(self._held_out.isdisjoint((end + start[0], end[1] + start)))
        return sum(
            self._completions(start, end[1] + symbol, left - 1) for symbol in "01" if end + symbol not in self._held_out
        )

    def execute(self, left: str) -> Execution | None:
        """See `Rule.execute`."""
        if not (left.startswith("next ( ") and left.endswith(" )")):
            return None
        written = left.removeprefix("next ( ").removesuffix(" )")
        symbols = written.split(" ")
        if not all(symbol in ("0", "1") for symbol in symbols):
            return None
        return Execution((written,), " ".join(step("".join(symbols))))

    def chance(self, size: int, held_out: bool) -> float:
        """A guess at every cell."""
        return 0.5**self._width

    def why_no_zero_shot(self, size: int) -> str:
        """See `Rule.why_no_zero_shot`."""
        if size % 2:
            return ""
        return (
            "after an even number of steps a cell depends on cells four and more apart, of which training has every "
            "combination; ask for an odd number"
        )

    def words(self) -> Sequence[str]:
        """See `Rule.words`."""
        return ("next", "(", ")", "0", "1")

    @property
    def remedy(self) -> str:
        """See `Rule.remedy`."""
        return f"raise width (now {self._width}), or hold out fewer of {', '.join(sorted(self._held_out))}"
