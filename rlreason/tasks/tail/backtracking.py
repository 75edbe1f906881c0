"""Backtracking: choices made, followed to their end and taken back. Palindromes from given letters."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from random import Random
from string import ascii_lowercase

from rlreason.tasks.tail.notation import Notation, digits
from rlreason.tasks.tail.states import Algorithm, Given, Machine, State

LETTERS = ascii_lowercase[:12]


def _draw(size: int, rng: Random) -> Given:
    """Four of five sets of letters have a palindrome."""
    half = rng.choices(LETTERS, k=size // 2)
    letters = half + half + rng.choices(LETTERS, k=size % 2)
    if rng.random() < 0.2:
        letters[:2] = rng.sample(LETTERS, 2)
    rng.shuffle(letters)
    return {"letters": letters}


def _run(given: Given, notation: Notation) -> Machine:
    """Counts first, then the first halves in the order of the alphabet: each goes back only as far as it must."""
    letters: list[str] = []
    middle: list[str] = []
    odd = 0
    counts: list[tuple[str, int]] = sorted(Counter(given["letters"]).items())
    for index, (letter, count) in enumerate(counts, 1):
        alone = odd + count % 2
        told = yield State(
            f"letter {letter}",
            {"count": count, "odd": odd},
            "count / 2",
            {"pairs": count // 2, "odd": alone},
            "next letter" if index < len(counts) else "choose" if alone < 2 else "return none",
        )
        letters += [letter] * min(told["pairs"], count // 2)
        middle += [letter] * (count % 2)
        odd = told["odd"]
    if odd > 1:
        return "none"
    halves = sorted(set(permutations(letters)))
    step = 0
    before: tuple[str, ...] = ()
    found: list[str] = []
    for half in halves:
        kept = next((depth for depth, letter in enumerate(before) if letter != half[depth]), len(before))
        for depth in range(kept, len(half)):
            step += 1
            yield State(
                f"step {digits(step)} choose",
                {"half": [*half[:depth]], "left": sorted(half[depth:])},
                "append letter",
                {"letter": half[depth]},
                "choose" if depth < len(half) - 1 else "mirror",
                outer=False,
            )
        step += 1
        told = yield State(
            f"step {digits(step)} mirror",
            {"half": [*half], "middle": [*middle]},
            "half middle back",
            {"word": [*half, *middle, *reversed(half)]},
            "back" if half != halves[-1] else "stop",
        )
        found.append(" ".join(told["word"]))
        before = half
    return " , ".join(found)


ALGORITHMS = (
    Algorithm(
        name="palindromes",
        paradigm="backtracking",
        sizes={"s": (2, 4), "m": (5, 6), "l": (7, 8)},
        limits=(2, 9),
        draw=_draw,
        run=_run,
        slots=lambda given, notation: {"letters": " ".join(given["letters"])},
        asks=(
            "Which palindromes can be made from all of the letters {letters} ?",
            "List every palindrome that uses each of {letters} once , in the order of the alphabet .",
            "Rearrange {letters} into palindromes . Which ones are there ?",
            "Find all ways to order {letters} so that they read the same backwards , or say none .",
            "The letters are {letters} . Give all their palindromes .",
        ),
        words="letter count odd pairs / 2 next choose return none step left half append middle mirror back word stop "
        f"nothing , {' '.join(LETTERS)}",
        guesses=lambda size: size + 1.0,
    ),
)
