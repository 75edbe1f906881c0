"""Dynamic programming: a table filled row by row. Knapsack, longest common subsequence, edit distance."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from rlreason.tasks.tail.notation import SEQUENCES, Notation, digits
from rlreason.tasks.tail.states import Algorithm, Given, Machine, State, Values

LETTERS = "abcd"
_MOST_ROOM = 12


def _draw_items(size: int, rng: Random) -> Given:
    """About half of the weight fits."""
    weights = [rng.randint(1, 5) for _ in range(size)]
    room = min(_MOST_ROOM, max(sum(weights) // 2, min(weights)))
    return {"weights": weights, "values": [rng.randint(1, 9) for _ in range(size)], "room": room}


def _run_knapsack(given: Given, notation: Notation) -> Machine:
    """`best[w]`, the most value in room w with the items so far; a row an item."""
    room, items = given["room"], list(zip(given["weights"], given["values"], strict=True))
    best = [0] * (room + 1)
    for item, (weight, value) in enumerate(items, 1):
        before, best = best, [0] * (room + 1)
        for size in range(1, room + 1):
            label = f"item {notation.at(item)} room {digits(size)}"
            last = size == room
            control = "next room" if not last else "next item" if item < len(items) else "stop"
            without = before[size]
            if weight > size:
                fetch: Values = {"weight": weight, "without": without}
                told = yield State(label, fetch, "too heavy so without", {"best": without}, control, last)
            else:
                rest = before[size - weight]
                fetch = {"weight": weight, "without": without, "rest": rest, "value": value}
                most = {"best": max(without, rest + value)}
                told = yield State(label, fetch, "max ( without , rest + value )", most, control, last)
            best[size] = told["best"]
    return digits(best[room])


def _draw_strings(size: int, rng: Random) -> Given:
    """The longer has `size` letters, the other at most one fewer; either comes first."""
    strings = [rng.choices(LETTERS, k=length) for length in (size, rng.randint(max(1, size - 1), size))]
    first, second = rng.sample(strings, 2)
    return {"first": first, "second": second}


Choice = Callable[[bool, int, int, int], tuple[tuple[str, ...], str, int]]
"""(letters are the same, diagonal, up, left) -> names of the neighbours that count, the operation, its result."""


def _table(given: Given, notation: Notation, edge: Callable[[int], int], choose: Choice) -> Machine:
    """A table over two strings; row 0 and column 0 hold `edge`. The answer is its last entry."""
    first, second = given["first"], given["second"]
    above = [edge(column) for column in range(len(second) + 1)]
    for row, here in enumerate(first, 1):
        entries = [edge(row)]
        for column, there in enumerate(second, 1):
            around = {"diagonal": above[column - 1], "up": above[column], "left": entries[-1]}
            names, operation, entry = choose(here == there, *around.values())
            last = column == len(second)
            told = yield State(
                f"row {notation.at(row)} column {notation.at(column)}",
                {"first": here, "second": there, **{name: around[name] for name in names}},
                operation,
                {"entry": entry},
                "next column" if not last else "next row" if row < len(first) else "stop",
                last,
            )
            entries.append(told["entry"])
        above = entries
    return digits(above[-1])


def _longest(same: bool, diagonal: int, up: int, left: int) -> tuple[tuple[str, ...], str, int]:
    if same:
        return ("diagonal",), "same so diagonal + 1", diagonal + 1
    return ("up", "left"), "max ( up , left )", max(up, left)


def _fewest(same: bool, diagonal: int, up: int, left: int) -> tuple[tuple[str, ...], str, int]:
    if same:
        return ("diagonal",), "same so diagonal", diagonal
    return ("diagonal", "up", "left"), "min ( diagonal , up , left ) + 1", min(diagonal, up, left) + 1


def _run_lcs(given: Given, notation: Notation) -> Machine:
    return _table(given, notation, lambda index: 0, _longest)


def _run_levenshtein(given: Given, notation: Notation) -> Machine:
    return _table(given, notation, lambda index: index, _fewest)


def _strings(given: Given, notation: Notation) -> dict[str, str]:
    return {name: notation.row(given[name]) for name in ("first", "second")}


ALGORITHMS = (
    Algorithm(
        name="knapsack",
        paradigm="dynamic programming",
        sizes={"s": (2, 3), "m": (4, 5), "l": (6, 8)},
        limits=(1, 20),
        draw=_draw_items,
        run=_run_knapsack,
        slots=lambda given, notation: {
            "weights": notation.row(given["weights"], " , "),
            "values": notation.row(given["values"], " , "),
            "room": digits(given["room"]),
        },
        asks=(
            "Items weigh {weights} and are worth {values} . What is the most value that fits into room {room} ?",
            "A bag holds {room} . With item weights {weights} and values {values} , what is the best total value ?",
            "Solve the knapsack with weights {weights} , values {values} and capacity {room} .",
            "Each item may be taken once . Weights : {weights} . Values : {values} . Limit : {room} . What value can "
            "be reached at most ?",
            "A thief can carry {room} . Loot weighs {weights} and is worth {values} . How much worth fits ?",
        ),
        words="item room weight without rest value best too heavy so max ( , ) + next stop",
        guesses=lambda size: 5.0 * size,
        forms=SEQUENCES,
    ),
    Algorithm(
        name="lcs",
        paradigm="dynamic programming",
        sizes={"s": (2, 6), "m": (7, 9), "l": (10, 12)},
        limits=(1, 20),
        draw=_draw_strings,
        run=_run_lcs,
        slots=_strings,
        asks=(
            "How long is the longest common subsequence of {first} and {second} ?",
            "Find the length of the longest subsequence that {first} and {second} share .",
            "What is the most letters that can be kept , in order , in both {first} and {second} ?",
            "Give the length of the longest common subsequence . First : {first} ; second : {second} .",
            "Cross out letters of {first} and of {second} until they agree . How many letters can remain at most ?",
        ),
        words=f"row column first second diagonal up left same so + 1 max ( , ) entry next stop {' '.join(LETTERS)}",
        guesses=lambda size: size + 1.0,
        forms=SEQUENCES,
        twin=("first", "second"),
    ),
    Algorithm(
        name="levenshtein",
        paradigm="dynamic programming",
        sizes={"s": (2, 4), "m": (5, 7), "l": (8, 9)},
        limits=(1, 20),
        draw=_draw_strings,
        run=_run_levenshtein,
        slots=_strings,
        asks=(
            "What is the edit distance between {first} and {second} ?",
            "How many letters must be inserted , deleted or replaced to turn {first} into {second} ?",
            "Find the Levenshtein distance of {first} and {second} .",
            "Give the fewest edits that lead from {first} to {second} .",
            "One edit inserts , deletes or replaces a letter . How many edits lie between {first} and {second} ?",
        ),
        words=f"row column first second diagonal up left same so + 1 min ( , ) entry next stop {' '.join(LETTERS)}",
        guesses=lambda size: size + 1.0,
        forms=SEQUENCES,
        twin=("first", "second"),
    ),
)
