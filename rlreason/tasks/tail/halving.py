"""Divide and conquer: half of what is left is ruled out at a time. Binary search."""

from __future__ import annotations

from random import Random

from rlreason.tasks.tail.notation import SEQUENCES, Notation, digits
from rlreason.tasks.tail.states import Algorithm, Given, Machine, State


def _draw(size: int, rng: Random) -> Given:
    """Three of four lists hold the number; where it stands is as likely anywhere."""
    values = sorted(rng.sample(range(1, 4 * size), size))
    missing = sorted(set(range(1, 4 * size)).difference(values))
    return {"values": values, "wanted": rng.choice(values if rng.random() < 0.75 else missing)}


def _run(given: Given, notation: Notation) -> Machine:
    values, wanted = given["values"], given["wanted"]
    low, high, turn = 1, len(values), 0
    while low <= high:
        turn += 1
        middle = (low + high) // 2
        told = yield State(
            f"turn {digits(turn)} middle",
            {"low": low, "high": high},
            "( low + high ) / 2",
            {"middle": middle},
            "compare",
            outer=False,
        )
        if low <= told["middle"] <= high:
            middle = told["middle"]
        value = values[middle - 1]
        order = "same" if value == wanted else "less" if value < wanted else "more"
        told = yield State(
            f"turn {digits(turn)} compare",
            {"place": notation.at(middle), "value": value, "wanted": wanted},
            "compare value wanted",
            {"order": order},
            {"same": "found", "less": "go right", "more": "go left"}[order],
            order == "same",
        )
        if told["order"] == "same":
            return digits(middle)
        rightwards = told["order"] == "less"
        name, bound = ("low", middle + 1) if rightwards else ("high", middle - 1)
        left = high - bound if rightwards else bound - low
        told = yield State(
            f"turn {digits(turn)} move",
            {"middle": middle},
            "middle + 1" if rightwards else "middle - 1",
            {name: bound},
            "next turn" if left >= 0 else "return none",
        )
        if rightwards:
            low = told["low"] if low < told["low"] <= high else bound
        else:
            high = told["high"] if low <= told["high"] < high else bound
    return "none"


ALGORITHMS = (
    Algorithm(
        name="binary_search",
        paradigm="divide and conquer",
        sizes={"s": (5, 20), "m": (21, 40), "l": (41, 70)},
        limits=(1, 100),
        draw=_draw,
        run=_run,
        slots=lambda given, notation: {
            "values": notation.row(given["values"], " , "),
            "wanted": digits(given["wanted"]),
        },
        asks=(
            "At which place of {values} is {wanted} ?",
            "Find the place of {wanted} in the sorted list {values} , or say none .",
            "Search {values} for {wanted} by halving . Where does it stand ?",
            "The sorted numbers are {values} . Which place has {wanted} ?",
            "Use binary search to look for {wanted} in {values} . What is its place ?",
        ),
        words="turn middle compare move low high ( + ) / 2 1 - place value wanted order same less more go left right "
        "found next return none",
        guesses=lambda size: size + 1.0,
        forms=SEQUENCES,
    ),
)
