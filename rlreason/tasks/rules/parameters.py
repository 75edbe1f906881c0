"""What a recipe may say about a `rules` task, and what is refused before anything is built.

Four rules share one model; a parameter of another rule than the one named is refused rather than ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from rlreason.errors import one_of
from rlreason.tasks.equations import EquationParameters
from rlreason.tasks.rules import grammar, modular, operators, rule90

RuleName = Literal["rule90", "operators", "modular", "grammar"]
_OWNERS: dict[str, RuleName] = {
    "width": "rule90",
    "held_out_neighbourhoods": "rule90",
    "largest": "operators",
    "held_out_pair": "operators",
    "primes": "modular",
    "held_out_prime": "modular",
    "held_out_productions": "grammar",
}
_SIZES: dict[RuleName, tuple[int, ...]] = {
    "rule90": (1, 2),
    "operators": (1, 2, 3),
    "modular": (1, 2, 3),
    "grammar": (1, 2, 3),
}
_MOST: dict[RuleName, int] = {"rule90": 6, "operators": 6, "modular": 6, "grammar": grammar.MAX_SIZE}


class RulesParameters(EquationParameters):
    """Parameters of the `rules` task."""

    rule: RuleName
    """rule90, operators, modular or grammar."""
    sizes: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """Number of operations of each cell: steps (rule90), operators of a chain (operators, modular), productions
    (grammar). None: 1 and 2 for rule90, else 1 to 3."""
    width: Annotated[int, Field(ge=5, le=64)] = 16
    """rule90: cells of the ring. With fewer than 5 a cell's neighbours are each other's; more than 64 make lines too
    long to learn from."""
    held_out_neighbourhoods: Annotated[tuple[str, ...], Field(min_length=1)] = ("101", "111")
    """rule90: neighbourhoods (left, cell, right) that no starting row of training has. The nearest that stay must all
    have the other outcome."""
    largest: Annotated[int, Field(ge=20, le=999)] = 99
    """operators: largest number that a chain may come to. Below 20 most chains leave it at once; up to 999, because
    every number is a word of the vocabulary."""
    held_out_pair: tuple[str, str] = ("dop", "gev")
    """operators: two operators that no training chain has in this order, side by side."""
    primes: Annotated[tuple[Annotated[int, Field(ge=5, le=997)], ...], Field(min_length=2)] = (
        11,
        13,
        17,
        19,
        23,
        29,
        31,
    )
    """modular: moduli, the held-out one among them."""
    held_out_prime: Annotated[int, Field(validate_default=True)] = 19
    """modular: modulus of zero_shot. Not the largest, whose numbers training would not know."""
    held_out_productions: Annotated[tuple[str, ...], Field(min_length=1)] = ("kiv dax", "tam wug")
    """grammar: productions, each a marker and a constructor, that no training expression has."""

    @property
    def cell_sizes(self) -> tuple[int, ...]:
        """`sizes`, or the rule's own."""
        return self.sizes if self.sizes is not None else _SIZES[self.rule]

    @field_validator("rule", mode="before")
    @classmethod
    def _rule_known(cls, rule: object) -> object:
        if not isinstance(rule, str) or rule not in _SIZES:
            raise ValueError(one_of("rule", rule, _SIZES))
        return rule

    @field_validator("sizes")
    @classmethod
    def _sizes_in_range(cls, sizes: tuple[int, ...] | None, context: ValidationInfo) -> tuple[int, ...] | None:
        rule = context.data.get("rule")
        if sizes is None or rule is None:
            return sizes
        if not sizes or len(set(sizes)) < len(sizes) or max(sizes) > _MOST[rule]:
            raise ValueError(f"rule {rule!r} takes different sizes from 1 to {_MOST[rule]}, at least one")
        return sizes

    @field_validator("held_out_neighbourhoods")
    @classmethod
    def _neighbours_disagree(cls, held_out: tuple[str, ...]) -> tuple[str, ...]:
        _known("neighbourhood", held_out, rule90.NEIGHBOURHOODS)
        misleading = rule90.misleading_neighbour(held_out)
        if misleading is not None:
            missing, known = misleading
            raise ValueError(
                f"{missing} could be guessed by similarity from {known}, which stays in training and has the same "
                f"outcome {rule90.outcome(missing)}; hold out both or neither"
            )
        return held_out

    @field_validator("held_out_pair")
    @classmethod
    def _operators_known(cls, pair: tuple[str, str]) -> tuple[str, str]:
        _known("operator", pair, operators.NAMES)
        return pair

    @field_validator("primes")
    @classmethod
    def _all_prime(cls, primes: tuple[int, ...]) -> tuple[int, ...]:
        composite = [number for number in primes if not modular.is_prime(number)]
        if composite or len(set(primes)) < len(primes):
            named = f"{composite[0]} is no prime" if composite else "a prime is named twice"
            raise ValueError(f"{named}; name different primes")
        return primes

    @field_validator("held_out_prime")
    @classmethod
    def _some_prime_held_out(cls, held_out: int, context: ValidationInfo) -> int:
        primes = context.data.get("primes", ())
        if primes and held_out not in primes:
            raise ValueError(one_of("held-out prime", held_out, map(str, sorted(primes))))
        if primes and held_out == max(primes):
            raise ValueError(
                f"{held_out} is the largest of primes: training would not know the numbers up to it; hold out a "
                "smaller one or add a larger prime"
            )
        return held_out

    @field_validator("held_out_productions")
    @classmethod
    def _parts_stay_known(cls, held_out: tuple[str, ...]) -> tuple[str, ...]:
        _known("production", held_out, grammar.PRODUCTIONS)
        lost = grammar.lost_by(held_out)
        if lost:
            raise ValueError(f"they leave {lost[0]!r} in no training production; hold out fewer that have it")
        return held_out

    @model_validator(mode="after")
    def _of_this_rule(self) -> RulesParameters:
        for key, owner in _OWNERS.items():
            if owner != self.rule and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} belongs to rule {owner!r}, but rule is {self.rule!r}; drop it")
        return self


def _known(what: str, names: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(one_of(what, name, allowed))
