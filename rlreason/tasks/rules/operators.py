"""Chains of seven integer operators under meaningless names, one of the 49 ordered pairs never trained.

Training meets both operators of the pair at every place of a chain, but never the one right after the other. At
zero_shot a chain has the pair, and every chain that training could have and that differs from it in one operator comes
to another number: what is nearest never has the answer.

Source: arXiv 2603.17019, experiment 2.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Sequence

from rlreason.tasks.equations import Execution, Question
from rlreason.tasks.rules.chains import Operation, chain_question, run_chain
from rlreason.tasks.rules.rule import Rule

OPERATORS: dict[str, Callable[[int, int], int]] = {
    "bim": lambda left, right: left + right,
    "dop": lambda left, right: abs(left - right),
    "fal": lambda left, right: left * right,
    "gev": lambda left, right: 2 * left + right,
    "hux": lambda left, right: left + 2 * right,
    "jat": lambda left, right: abs(left - 2 * right),
    "kol": lambda left, right: left // 2 + right,
}
"""Name -> operator on integers from 0."""
NAMES: tuple[str, ...] = tuple(OPERATORS)
_RIGHT = (2, 9)
"""Smallest and largest right operand."""
_TRIES = 20
"""Operands tried before operators are drawn anew, so that operators which grow quickly are not left out."""
_LEFT_SIDE = re.compile(r"(0|[1-9][0-9]{0,5}) ([a-z]+) (0|[1-9][0-9]{0,5})")


def apply(left: int, operator: str, right: int) -> int:
    return OPERATORS[operator](left, right)


class Operators(Rule):
    """Integer operator chains.

    Args:
        largest: largest number of any value.
        pair: the ordered pair of operators that no training chain has side by side.
    """

    def __init__(self, largest: int, pair: tuple[str, str]) -> None:
        self._largest = largest
        self._pair = pair

    def draw(self, size: int, held_out: bool, rng: random.Random) -> Question | None:
        """See `Rule.draw`. No value comes twice on the way."""
        names = rng.choices(NAMES, k=size)
        if held_out:
            place = rng.randrange(size - 1)
            names[place : place + 2] = self._pair
        elif self._has_pair(names):
            return None
        for _ in range(_TRIES):
            start = rng.randint(0, self._largest)
            operations = [(name, rng.randint(*_RIGHT)) for name in names]
            values = run_chain(start, operations, apply)
            if max(values) > self._largest or len(set(values)) < len(values):
                continue
            if held_out and self._neighbours_agree(start, operations, values[-1]):
                continue
            return chain_question(start, operations, apply)
        return None

    def _has_pair(self, names: Sequence[str]) -> bool:
        return self._pair in itertools.pairwise(names)

    def _neighbours_agree(self, start: int, operations: Sequence[Operation], answer: int) -> bool:
        """Whether a chain without the pair that differs in one operator has the same answer."""
        for place, (_, operand) in enumerate(operations):
            for name in NAMES:
                others = [*operations[:place], (name, operand), *operations[place + 1 :]]
                if not self._has_pair([other for other, _ in others]) and run_chain(start, others, apply)[-1] == answer:
                    return True
        return False

    def execute(self, left: str) -> Execution | None:
        """See `Rule.execute`."""
        match = _LEFT_SIDE.fullmatch(left)
        if match is None or match[2] not in OPERATORS:
            return None
        return Execution((match[1], match[3]), str(apply(int(match[1]), match[2], int(match[3]))))

    def chance(self, size: int, held_out: bool) -> float:
        """A guess among all numbers that occur."""
        return 1.0 / (self._largest + 1)

    def words(self) -> Sequence[str]:
        """See `Rule.words`."""
        return (*NAMES, "(", ")", *map(str, range(self._largest + 1)))

    @property
    def remedy(self) -> str:
        """See `Rule.remedy`."""
        return f"raise largest (now {self._largest}) or ask for shorter chains"

    def why_no_zero_shot(self, size: int) -> str:
        """See `Rule.why_no_zero_shot`."""
        return "" if size > 1 else "one operator makes no pair; ask for chains of two and more"
