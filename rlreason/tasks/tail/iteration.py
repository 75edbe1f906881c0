"""Iteration: the same update again and again. Growth of a population."""

from __future__ import annotations

from random import Random

from rlreason.tasks.tail.notation import Notation, digits
from rlreason.tasks.tail.states import Algorithm, Given, Machine, State


def _draw(size: int, rng: Random) -> Given:
    """No more are caught than are born in the first year, so that the population never shrinks."""
    start, every = rng.randint(20, 99), rng.randint(8, 20)
    return {"years": size, "start": start, "every": every, "caught": rng.randint(0, start // every)}


def _run(given: Given, notation: Notation) -> Machine:
    fish, every, caught = given["start"], given["every"], given["caught"]
    for year in range(1, given["years"] + 1):
        told = yield State(
            f"year {digits(year)} births",
            {"fish": fish, "every": every},
            "fish / every",
            {"born": fish // every},
            "count",
            outer=False,
        )
        born = told["born"]
        told = yield State(
            f"year {digits(year)} count",
            {"fish": fish, "born": born, "caught": caught},
            "fish + born - caught",
            {"fish": max(0, fish + born - caught)},
            "next year" if year < given["years"] else "stop",
        )
        fish = told["fish"]
    return digits(fish)


ALGORITHMS = (
    Algorithm(
        name="population_growth",
        paradigm="iteration",
        sizes={"s": (1, 10), "m": (11, 25), "l": (26, 50)},
        limits=(1, 99),
        draw=_draw,
        run=_run,
        slots=lambda given, notation: {name: digits(number) for name, number in given.items()},
        asks=(
            "A lake has {start} fish . Every year one is born for each full {every} fish , then {caught} are caught . "
            "How many fish are there after {years} years ?",
            "{start} fish live in a pond . A year brings one young for every full {every} fish and takes {caught} "
            "away . How many live there after year {years} ?",
            "Begin with {start} fish . Each year add one fish for every full {every} , then remove {caught} . What is "
            "the count after {years} years ?",
            "Over {years} years , a lake of {start} fish gains one fish a year for each full {every} and loses "
            "{caught} a year . How many are there in the end ?",
            "Fish in a lake : {start} . Births a year : one for each full {every} fish . Caught a year : {caught} . "
            "Years : {years} . How many fish are left ?",
        ),
        words="year births count fish every / born + - caught next stop",
        guesses=lambda size: 6.0 * size,
    ),
)
