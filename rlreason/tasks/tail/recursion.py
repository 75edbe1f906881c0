"""Recursion: a problem answered by calls on smaller ones. Finding a substring, counting derangements."""

from __future__ import annotations

from random import Random

from rlreason.tasks.tail.notation import SEQUENCES, Notation, digits
from rlreason.tasks.tail.states import Algorithm, Given, Machine, State

LETTERS = "abcd"
_LONG_TEXT = 6
"""Letters of a text from which on three letters are looked for in it, below it two."""


def _sought(size: int) -> int:
    return 3 if size >= _LONG_TEXT else 2


def _draw_substring(size: int, rng: Random) -> Given:
    """In three of four texts the pattern occurs for certain."""
    text, length = rng.choices(LETTERS, k=size), _sought(size)
    if rng.random() < 0.75:
        start = rng.randrange(size - length + 1)
        return {"text": text, "pattern": text[start : start + length]}
    return {"text": text, "pattern": rng.choices(LETTERS, k=length)}


def _run_substring(given: Given, notation: Notation) -> Machine:
    """Two recursions, find(place) and match(place, letter), with every call a state."""
    text, pattern = given["text"], given["pattern"]
    places = len(text) - len(pattern) + 1
    for place in range(1, places + 1):
        for letter in range(1, len(pattern) + 1):
            here, wanted = text[place + letter - 2], pattern[letter - 1]
            matched, last = here == wanted, letter == len(pattern)
            told = yield State(
                f"place {notation.at(place)} letter {notation.at(letter)}",
                {"text": here, "pattern": wanted},
                "text = pattern",
                {"same": "yes" if matched else "no"},
                ("found" if last else "call next letter")
                if matched
                else ("call next place" if place < places else "return none"),
                last or not matched,
            )
            if told["same"] != "yes":
                break
        else:
            return digits(place)
    return "none"


def _draw_derangement(size: int, rng: Random) -> Given:
    return {"items": size, "modulus": rng.randint(5, 30)}


def _run_derangement(given: Given, notation: Notation) -> Machine:
    """D(n) = (n - 1) (D(n - 1) + D(n - 2)), from the base up, so that every call finds its answers on the tape."""
    items, modulus = given["items"], given["modulus"]
    told = yield State("base", {"modulus": modulus}, "start", {"before": 0, "last": 1}, "return")
    before, last = told["before"], told["last"]
    for count in range(3, items + 1):
        told = yield State(
            f"call {digits(count)} add",
            {"last": last, "before": before, "modulus": modulus},
            "last + before mod modulus",
            {"sum": (last + before) % modulus},
            "multiply",
            outer=False,
        )
        told = yield State(
            f"call {digits(count)} multiply",
            {"factor": count - 1, "sum": told["sum"], "modulus": modulus},
            "factor * sum mod modulus",
            {"last": (count - 1) * told["sum"] % modulus},
            "return" if count < items else "stop",
        )
        before, last = last, told["last"]
    return digits(last)


ALGORITHMS = (
    Algorithm(
        name="any_substring",
        paradigm="recursion",
        sizes={"s": (3, 5), "m": (6, 9), "l": (10, 14)},
        limits=(3, 99),
        draw=_draw_substring,
        run=_run_substring,
        slots=lambda given, notation: {name: notation.row(given[name]) for name in ("text", "pattern")},
        asks=(
            "Where does {pattern} first occur in {text} ?",
            "At which place of {text} does {pattern} start for the first time ?",
            "Find the first place of {pattern} within {text} , or say none .",
            "Is {pattern} a substring of {text} , and from which place on ?",
            "The text is {text} . Search it for {pattern} and tell the place of the first match .",
        ),
        words=f"place letter text pattern = same yes no call next found return none {' '.join(LETTERS)}",
        guesses=lambda size: size - _sought(size) + 2.0,
        forms=SEQUENCES,
    ),
    Algorithm(
        name="derangement",
        paradigm="recursion",
        sizes={"s": (3, 30), "m": (31, 60), "l": (61, 100)},
        limits=(3, 200),
        draw=_draw_derangement,
        run=_run_derangement,
        slots=lambda given, notation: {name: digits(number) for name, number in given.items()},
        asks=(
            "In how many ways can {items} items all change places , mod {modulus} ?",
            "Count the derangements of {items} items modulo {modulus} .",
            "What is the number of derangements of {items} things , mod {modulus} ?",
            "{items} guests each take a hat that belongs to another guest . How many ways are there , mod {modulus} ?",
            "Find the remainder , on division by {modulus} , of the number of permutations of {items} items that "
            "leave none in place .",
        ),
        words="base start call add multiply last before modulus mod sum factor * + return stop",
        guesses=lambda size: 17.0,
    ),
)
