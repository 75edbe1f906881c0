"""What an algorithm is here: a way to make inputs, and a machine that runs through states to an answer.

A machine is a generator. It yields a `State`, is sent back the values that were written down for it, and goes on from
those: from the state's own values in a gold derivation, from what the text says where a derivation is checked. So a
slip is judged once, and what follows from it is judged by whether it follows. How states look as text is in `text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Literal, NamedTuple

from rlreason.tasks.tail.notation import Form, Notation, digits

Value = Any
"""An int from 0 on, a word, or a list of one of the two."""
Values = Mapping[str, Value]
Given = Mapping[str, Any]
"""An algorithm's input: plain JSON values, so that it travels in `Problem.detail`."""
Size = Literal["s", "m", "l"]
MAX_STATES = 1024
"""States after which a run counts as lost. Gold runs at the table's sizes have at most a quarter of them; numbers that
a derivation made up may lead a machine round and round."""
_MAX_DIGITS = 100


class State(NamedTuple):
    """One state of a run. A tuple, and no dataclass, because a problem has dozens.

    Attributes:
        label: where the machine is; no two states of a run have the same.
        fetch: the operands, by name, as they stand on the tape.
        operation: what is done with them, in their names; one operation.
        result: what is written on the tape, by name.
        control: where the machine goes next.
        outer: the state ends a turn of the outer loop (of a single loop: every other turn), and is told even where
            loops are not expanded.
    """

    label: str
    fetch: Values
    operation: str
    result: Values
    control: str
    outer: bool = True


Machine = Generator[State, Values, str]
"""Yields states, is sent the values written for each (same names, same types as its result), returns the answer."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One of the tasks of the table.

    Attributes:
        name, paradigm: as cells and documentation call them.
        sizes: size -> smallest and largest n, both included.
        limits: smallest and largest n that the algorithm is made for.
        draw: (n, rng) -> an input of size n.
        run: (input, notation) -> the machine.
        slots: (input, notation) -> what fills the slots of `asks`.
        asks: forms of the question, the plainest first.
        words: what its states and answers are worded with, numbers aside; split at spaces.
        guesses: n -> about how many answers a question leaves open to somebody who reads it and cannot solve it.
        forms: notations that it can be asked in.
        twin: names of two inputs that may change places without changing the problem, or none.
    """

    name: str
    paradigm: str
    sizes: Mapping[Size, tuple[int, int]]
    limits: tuple[int, int]
    draw: Callable[[int, Random], Given]
    run: Callable[[Given, Notation], Machine]
    slots: Callable[[Given, Notation], Mapping[str, str]]
    asks: tuple[str, ...]
    words: str
    guesses: Callable[[int], float]
    forms: tuple[Form, ...] = ("plain",)
    twin: tuple[str, str] | None = None


def execute(
    algorithm: Algorithm, given: Given, notation: Notation, told: Mapping[int, Values] | None = None
) -> tuple[list[State], str]:
    """The states of a run, and its answer.

    Args:
        told: index of a state -> the values that were written for it instead of its own.
    Returns:
        At most `MAX_STATES` states; an answer of "" where that was not enough.
    """
    told = told or {}
    states: list[State] = []
    machine = algorithm.run(given, notation)
    state = next(machine)
    while len(states) < MAX_STATES:
        states.append(state)
        try:
            state = machine.send(told.get(len(states) - 1, state.result))
        except StopIteration as stop:
            return states, stop.value
    return states, ""


def show(value: Value) -> str:
    """A value as text: numbers digit by digit, lists with bars between their items."""
    if isinstance(value, int):
        return digits(value)
    if isinstance(value, str):
        return value
    return " | ".join([digits(item) if isinstance(item, int) else item for item in value]) or "nothing"


def read(text: str, like: Value) -> Value | None:
    """A value of the same type (a list: of the same length) as `like` from its text; None where it is none."""
    if isinstance(like, int):
        return _number(text)
    if isinstance(like, str):
        return text if text.isalpha() else None
    parts = text.split(" | ")
    items = [read(part, like[0]) for part in parts] if len(parts) == len(like) else [None]
    return None if None in items else items


_NUMBER = re.compile(r"[0-9](?: [0-9])*")


@lru_cache(maxsize=1024)
def _number(text: str) -> int | None:
    if len(text) > 2 * _MAX_DIGITS or not _NUMBER.fullmatch(text):
        return None
    return int(text.replace(" ", ""))


def every_other(turn: int, turns: int) -> bool:
    """Whether a turn of a single loop is told where loops are not expanded; the last one is."""
    return (turns - turn) % 2 == 0
