"""Simulation: a procedure that people carry out by hand. Addition, division, bubble sort, word flip, comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random

from rlreason.tasks.tail.notation import FORMS, SEQUENCES, Notation
from rlreason.tasks.tail.states import Algorithm, Given, Machine, State, every_other, show

_VOCABULARY = (
    "apple river stone cloud tiger lemon chair violin garden pepper window candle forest ladder mirror pencil rocket "
    "saddle tunnel velvet walnut anchor basket camera dragon engine feather hammer island jacket kettle lantern magnet "
    "needle orange parrot quartz ribbon shovel tomato button castle desert funnel goblet helmet insect jungle"
)
WORDS = _VOCABULARY.split()


def number_of(places: int, rng: Random) -> int:
    """A number of that many digits."""
    return rng.randrange(10 ** (places - 1) if places > 1 else 0, 10**places)


def _draw_addition(size: int, rng: Random) -> Given:
    """The longer number has `size` digits, the other up to two fewer; either comes first."""
    longer, shorter = number_of(size, rng), number_of(rng.randint(max(1, size - 2), size), rng)
    first, second = rng.sample((longer, shorter), 2)
    return {"first": first, "second": second}


def _run_addition(given: Given, notation: Notation) -> Machine:
    first, second = (str(given[name])[::-1] for name in ("first", "second"))
    places = max(len(first), len(second))
    carry, written = 0, []
    for place in range(1, places + 1):
        upper, lower = (int(number[place - 1]) if place <= len(number) else 0 for number in (first, second))
        total = upper + lower + carry
        told = yield State(
            f"place {notation.at(place)}",
            {"first": upper, "second": lower, "carry": carry},
            "first + second + carry",
            {"carry": total // 10, "digit": total % 10},
            "next place" if place < places else "join",
            every_other(place, places),
        )
        carry = told["carry"]
        written.append(told["digit"])
    written = written[::-1]
    told = yield State(
        "join",
        {"carry": carry, "digits": written},
        "join carry digits",
        {"sum": int("".join(map(str, (carry, *written))))},
        "stop",
    )
    return notation.number(told["sum"])


def _draw_division(size: int, rng: Random) -> Given:
    return {"dividend": number_of(size, rng), "divisor": rng.randint(2, 9)}


def _run_division(given: Given, notation: Notation) -> Machine:
    dividend, divisor = str(given["dividend"]), given["divisor"]
    rest, written = 0, []
    for place, digit in zip(range(len(dividend), 0, -1), dividend, strict=True):
        number = 10 * rest + int(digit)
        told = yield State(
            f"place {notation.at(place)}",
            {"rest": rest, "digit": int(digit), "divisor": divisor},
            "rest digit / divisor",
            {"quotient": number // divisor, "rest": number % divisor},
            "next place" if place > 1 else "join",
            every_other(len(dividend) - place + 1, len(dividend)),
        )
        rest = told["rest"]
        written.append(told["quotient"])
    told = yield State(
        "join",
        {"digits": written, "rest": rest},
        "join digits",
        {"quotient": int("".join(map(str, written))), "rest": rest},
        "stop",
    )
    return f"{notation.number(told['quotient'])} remainder {notation.number(told['rest'])}"


def _draw_values(size: int, rng: Random) -> Given:
    return {"values": [rng.randrange(100) for _ in range(size)]}


def _run_bubble_sort(given: Given, notation: Notation) -> Machine:
    values, count = list(given["values"]), len(given["values"])
    for turn in range(1, count):
        swapped = "no"
        for pair in range(1, count - turn + 1):
            left, right = values[pair - 1], values[pair]
            told = yield State(
                f"pass {notation.at(turn)} pair {notation.at(pair)}",
                {"left": left, "right": right, "swapped": swapped},
                "order left right",
                {"left": min(left, right), "right": max(left, right), "swapped": "yes" if left > right else swapped},
                "next pair" if pair < count - turn else "end pass",
                outer=False,
            )
            values[pair - 1], values[pair], swapped = told["left"], told["right"], told["swapped"]
        going_on = swapped == "yes" and turn < count - 1
        told = yield State(
            f"pass {notation.at(turn)} end",
            {"list": list(values), "swapped": swapped},
            "copy list",
            {"list": list(values)},
            "next pass" if going_on else "stop",
        )
        values = list(told["list"])
        if not going_on:
            break
    return " , ".join(map(show, values))


def _draw_words(size: int, rng: Random) -> Given:
    return {"words": rng.choices(WORDS, k=size)}


def _run_word_flip(given: Given, notation: Notation) -> Machine:
    words, flipped = given["words"], []
    for place in range(len(words), 0, -1):
        word = words[place - 1]
        told = yield State(
            f"word {notation.at(place)}",
            {"word": word},
            "append word",
            {"out": word},
            "next word" if place > 1 else "stop",
            every_other(len(words) - place + 1, len(words)),
        )
        flipped.append(told["out"])
    return " ".join(flipped)


def _draw_comparison(size: int, rng: Random) -> Given:
    """Equal, more or less, each as often; the first difference stands at any place."""
    first = str(number_of(size, rng))
    answer = rng.choice(("first", "second", "equal"))
    if answer == "equal":
        return {"first": int(first), "second": int(first)}
    place = rng.randrange(size)
    low, high = sorted(rng.sample(range(0 if place or size == 1 else 1, 10), 2))
    ends = ["".join(rng.choices("0123456789", k=size - place - 1)) for _ in range(2)]
    smaller, larger = (int(first[:place] + str(digit) + end) for digit, end in zip((low, high), ends, strict=True))
    return {"first": larger, "second": smaller} if answer == "first" else {"first": smaller, "second": larger}


def _run_comparison(given: Given, notation: Notation) -> Machine:
    first, second = str(given["first"]), str(given["second"])
    for place, upper, lower in zip(range(len(first), 0, -1), first, second, strict=True):
        order = "same" if upper == lower else "more" if upper > lower else "less"
        told = yield State(
            f"place {notation.at(place)}",
            {"first": int(upper), "second": int(lower)},
            "compare first second",
            {"order": order},
            "stop" if order != "same" or place == 1 else "next place",
            every_other(len(first) - place + 1, len(first)) or order != "same",
        )
        if told["order"] != "same":
            return "first" if told["order"] == "more" else "second"
    return "equal"


def _numbers(given: Given, notation: Notation) -> Mapping[str, str]:
    return {name: notation.number(number) for name, number in given.items()}


ALGORITHMS = (
    Algorithm(
        name="addition",
        paradigm="simulation",
        sizes={"s": (10, 30), "m": (31, 40), "l": (41, 50)},
        limits=(1, 99),
        draw=_draw_addition,
        run=_run_addition,
        slots=_numbers,
        asks=(
            "What is {first} + {second} ?",
            "Add {first} and {second} .",
            "Find the sum of {first} and {second} .",
            "How much is {first} plus {second} ?",
            "Two numbers are {first} and {second} . What do they add up to ?",
        ),
        words="place first second carry + digit digits join sum next stop",
        guesses=lambda size: 9.0 * 10 ** (size - 1),
        forms=FORMS,
        twin=("first", "second"),
    ),
    Algorithm(
        name="division",
        paradigm="simulation",
        sizes={"s": (2, 5), "m": (6, 10), "l": (11, 20)},
        limits=(1, 99),
        draw=_draw_division,
        run=_run_division,
        slots=lambda given, notation: {
            "dividend": notation.number(given["dividend"]),
            "divisor": notation.number(given["divisor"]),
        },
        asks=(
            "What is {dividend} / {divisor} with its remainder ?",
            "Divide {dividend} by {divisor} and give quotient and remainder .",
            "How often does {divisor} go into {dividend} , and what is left over ?",
            "Find quotient and remainder of {dividend} divided by {divisor} .",
            "Share {dividend} coins fairly among {divisor} people . How many does each get , and how many remain ?",
        ),
        words="place rest digit divisor / quotient join digits next stop remainder",
        guesses=lambda size: 10.0**size,
        forms=FORMS,
    ),
    Algorithm(
        name="bubble_sort",
        paradigm="simulation",
        sizes={"s": (2, 4), "m": (5, 6), "l": (7, 8)},
        limits=(2, 20),
        draw=_draw_values,
        run=_run_bubble_sort,
        slots=lambda given, notation: {"values": notation.row(given["values"], " , ")},
        asks=(
            "Sort {values} from small to large .",
            "Put these numbers in ascending order : {values} .",
            "Use bubble sort on {values} . What comes out ?",
            "Order the list {values} , smallest first .",
            "The numbers are {values} . How do they read once sorted upwards ?",
        ),
        words="pass pair end left right swapped yes no order copy list next stop",
        guesses=lambda size: float(math.factorial(size)),
        forms=SEQUENCES,
    ),
    Algorithm(
        name="word_flip",
        paradigm="simulation",
        sizes={"s": (10, 20), "m": (21, 50), "l": (51, 100)},
        limits=(2, 100),
        draw=_draw_words,
        run=_run_word_flip,
        slots=lambda given, notation: {"words": notation.row(given["words"])},
        asks=(
            "Reverse the order of these words : {words} .",
            "Say these words backwards , last word first : {words} .",
            "Flip this line of words : {words} .",
            "The words are {words} . Write them from the last to the first .",
            "How does the line {words} read when its words stand in reverse order ?",
        ),
        words=f"word append out next stop {_VOCABULARY}",
        guesses=lambda size: float(math.factorial(size)),
        forms=SEQUENCES,
    ),
    Algorithm(
        name="compare_numbers",
        paradigm="simulation",
        sizes={"s": (5, 10), "m": (11, 20), "l": (21, 50)},
        limits=(1, 99),
        draw=_draw_comparison,
        run=_run_comparison,
        slots=_numbers,
        asks=(
            "Which is larger , first : {first} or second : {second} ?",
            "Compare first : {first} and second : {second} . Is the first larger , the second , or are they equal ?",
            "The first number is {first} and the second is {second} . Which one is the larger ?",
            "Tell which number is larger . First : {first} ; second : {second} .",
            "Between the first number {first} and the second number {second} , which is greater ?",
        ),
        words="place first second compare order same more less next stop equal",
        guesses=lambda size: 3.0,
        forms=FORMS,
        twin=("first", "second"),
    ),
)
