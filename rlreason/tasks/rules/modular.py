"""Modular arithmetic: chains of + - * modulo a prime, one of the primes never trained.

At zero_shot the modulus is the held-out prime, and the same expression modulo every prime of training comes to another
number: what is nearest never has the answer.

Source: named in arXiv 2603.17019 as a further test of the kind.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from rlreason.tasks.equations import Execution, Question
from rlreason.tasks.rules.chains import Operation, chain_question, run_chain
from rlreason.tasks.rules.rule import Rule

SIGNS: tuple[str, ...] = ("+", "-", "*")
_NUMBER = r"(0|[1-9][0-9]{0,3})"
_LEFT_SIDE = re.compile(rf"{_NUMBER} ([-+*]) {_NUMBER} mod {_NUMBER}")


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def apply(left: int, sign: str, right: int, modulus: int) -> int:
    return {"+": left + right, "-": left - right, "*": left * right}[sign] % modulus


class Modular(Rule):
    """Chains modulo a prime.

    Args:
        primes: moduli of training, and `held_out`.
        held_out: modulus of zero_shot.
    """

    def __init__(self, primes: Sequence[int], held_out: int) -> None:
        self._held_out = held_out
        self._trained = tuple(prime for prime in sorted(primes) if prime != held_out)

    def draw(self, size: int, held_out: bool, rng: random.Random) -> Question | None:
        """See `Rule.draw`. No value comes twice on the way."""
        modulus = self._held_out if held_out else rng.choice(self._trained)
        start = rng.randrange(modulus)
        operations = [(rng.choice(SIGNS), rng.randrange(1, modulus)) for _ in range(size)]
        values = _run(start, operations, modulus)
        if len(set(values)) < len(values):
            return None
        if held_out and any(_run(start, operations, other)[-1] == values[-1] for other in self._trained):
            return None
        return chain_question(
            start, operations, lambda left, sign, right: apply(left, sign, right, modulus), f" mod {modulus}"
        )

    def execute(self, left: str) -> Execution | None:
        """See `Rule.execute`. The modulus is part of the operation."""
        match = _LEFT_SIDE.fullmatch(left)
        if match is None or int(match[4]) not in (self._held_out, *self._trained):
            return None
        return Execution((match[1], match[3]), str(apply(int(match[1]), match[2], int(match[3]), int(match[4]))))

    def chance(self, size: int, held_out: bool) -> float:
        """A guess among the remainders of the modulus."""
        moduli = (self._held_out,) if held_out else self._trained
        return sum(1.0 / modulus for modulus in moduli) / len(moduli)

    def words(self) -> Sequence[str]:
        """See `Rule.words`."""
        return (*SIGNS, "mod", "(", ")", *map(str, range(max(self._trained) + 1)))

    @property
    def remedy(self) -> str:
        """See `Rule.remedy`."""
        return "add larger primes or ask for shorter chains"


def _run(start: int, operations: Sequence[Operation], modulus: int) -> list[int]:
    return run_chain(start, operations, lambda left, sign, right: apply(left, sign, right, modulus))
