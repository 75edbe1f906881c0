"""Enumeration: every candidate in turn. Counting letters, a linear Diophantine equation, searching primes."""

from __future__ import annotations

from random import Random
from string import ascii_lowercase

from rlreason.tasks.tail.notation import SEQUENCES, Notation, digits
from rlreason.tasks.tail.states import Algorithm, Given, Machine, State, every_other, show

_DIVISORS = (2, 3, 5, 7, 11, 13, 17)
"""Enough for numbers below 19 squared."""
_TRIES = 50


def _draw_letters(size: int, rng: Random) -> Given:
    """Every count from none to all is as likely, so that no guess is good."""
    wanted, *others = rng.sample(ascii_lowercase, 6)
    count = rng.randint(0, size)
    letters = [wanted] * count + rng.choices(others, k=size - count)
    rng.shuffle(letters)
    return {"letters": letters, "wanted": wanted}


def _run_count(given: Given, notation: Notation) -> Machine:
    count, letters, wanted = 0, given["letters"], given["wanted"]
    for place, letter in enumerate(letters, 1):
        told = yield State(
            f"place {notation.at(place)}",
            {"letter": letter, "wanted": wanted, "count": count},
            "count + ( letter = wanted )",
            {"count": count + (letter == wanted)},
            "next place" if place < len(letters) else "stop",
            every_other(place, len(letters)),
        )
        count = told["count"]
    return digits(count)


def _solution(first: int, second: int, total: int) -> int | None:
    return next((x for x in range(total // first + 1) if (total - first * x) % second == 0), None)


def _draw_equation(size: int, rng: Random) -> Given:
    """Four of five have a solution."""
    solvable = rng.random() < 0.8
    for _ in range(_TRIES):
        first, second = rng.sample(range(3, 13), 2)
        if (_solution(first, second, size) is not None) == solvable:
            break
    return {"first": first, "second": second, "total": size}


def _run_equation(given: Given, notation: Notation) -> Machine:
    first, second, left, x = given["first"], given["second"], given["total"], 0
    while True:
        rest = left % second
        told = yield State(
            f"try {digits(x)} divide",
            {"left": left, "second": second},
            "left / second",
            {"quotient": left // second, "rest": rest},
            "found" if rest == 0 else "subtract" if left >= first else "return none",
        )
        if told["rest"] == 0:
            return f"x {digits(x)} , y {digits(told['quotient'])}"
        if left < first:
            return "none"
        told = yield State(
            f"try {digits(x)} subtract",
            {"left": left, "first": first},
            "left - first",
            {"left": left - first},
            "next try",
            outer=False,
        )
        left, x = told["left"], x + 1


def _draw_candidates(size: int, rng: Random) -> Given:
    """`size` is the largest. Not a whole range: there the answer of a similar question would often do."""
    others = rng.sample(range(2, size), min(size - 2, rng.randint(3, 6)))
    return {"numbers": sorted([*others, size])}


def _run_primes(given: Given, notation: Notation) -> Machine:
    primes: list[int] = []
    for number in given["numbers"]:
        rest: int | None = None
        divisors = [divisor for divisor in _DIVISORS if divisor * divisor <= number]
        for divisor in divisors:
            left = number % divisor
            told = yield State(
                f"number {digits(number)} divisor {digits(divisor)}",
                {"number": number, "divisor": divisor},
                "number mod divisor",
                {"rest": left},
                "next divisor" if left and divisor != divisors[-1] else "decide",
                outer=False,
            )
            rest = told["rest"]
            if rest == 0:
                break
        told = yield State(
            f"number {digits(number)} decide",
            {"rest": "none" if rest is None else rest},
            "rest is not 0",
            {"prime": "no" if rest == 0 else "yes"},
            "next number" if number < given["numbers"][-1] else "stop",
        )
        if told["prime"] == "yes":
            primes.append(number)
    return " , ".join(map(show, primes)) or "none"


ALGORITHMS = (
    Algorithm(
        name="count_letters",
        paradigm="enumeration",
        sizes={"s": (2, 6), "m": (7, 10), "l": (11, 20)},
        limits=(1, 99),
        draw=_draw_letters,
        run=_run_count,
        slots=lambda given, notation: {"letters": notation.row(given["letters"]), "wanted": given["wanted"]},
        asks=(
            "How often does {wanted} occur in {letters} ?",
            "Count the letter {wanted} in {letters} .",
            "The letters are {letters} . How many of them are {wanted} ?",
            "Find how many times {wanted} stands in {letters} .",
            "Spelled out , a word is {letters} . What is the number of {wanted} in it ?",
        ),
        words=f"place letter wanted count + ( = ) next stop {' '.join(ascii_lowercase)}",
        guesses=lambda size: size + 1.0,
        forms=SEQUENCES,
    ),
    Algorithm(
        name="diophantine",
        paradigm="enumeration",
        sizes={"s": (10, 50), "m": (51, 100), "l": (101, 200)},
        limits=(3, 500),
        draw=_draw_equation,
        run=_run_equation,
        slots=lambda given, notation: {name: digits(number) for name, number in given.items()},
        asks=(
            "Which x and y , none negative and x smallest , solve {first} x + {second} y = {total} ?",
            "Solve {first} x + {second} y = {total} in whole numbers that are not negative , with the smallest x .",
            "Find x and y from 0 on with {first} x + {second} y = {total} and x as small as can be , or say none .",
            "Pens cost {first} and books {second} . With x pens and y books , and x smallest , how can exactly "
            "{total} be spent ?",
            "The equation is {first} x + {second} y = {total} . Give whole x and y , not negative , x smallest .",
        ),
        words="try divide subtract left first second / - quotient rest found return none next x y ,",
        guesses=lambda size: size / 8 + 1.0,
    ),
    Algorithm(
        name="prime_search",
        paradigm="enumeration",
        sizes={"s": (5, 100), "m": (101, 200), "l": (201, 300)},
        limits=(5, 360),
        draw=_draw_candidates,
        run=_run_primes,
        slots=lambda given, notation: {"numbers": " , ".join(map(show, given["numbers"]))},
        asks=(
            "Which of the numbers {numbers} are prime ?",
            "Search {numbers} for primes .",
            "List the primes among {numbers} , or say none .",
            "Some of {numbers} have no divisor but 1 and themselves . Which ones ?",
            "Find every prime number in this list : {numbers} .",
        ),
        words="number divisor decide mod rest is not prime yes no none next stop ,",
        guesses=lambda size: 32.0,
    ),
)
