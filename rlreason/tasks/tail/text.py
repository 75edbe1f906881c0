"""States as lines of text, with or without each of the three modules, and lines read back into their parts.

With all modules a line reads

    place 2 : first 7 , second 5 , carry 0 ; first + second + carry gives carry 1 , digit 2 ; next place

label, operands, operation with its result, control. `linear_expansion` writes a line for every state; without it only
the states that end a turn of the outer loop are told. `atomic_state` tells the one operation and the control; without
it a line jumps from the operands to the result. `tape_review` writes the operands out again where they are used;
without it they must be looked up where they stand. Without any module there are no lines, only the answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple, get_args

from rlreason.tasks.complementary.text import ASK, CONCLUSION, REPLY
from rlreason.tasks.tail.states import State, Values, show

Module = Literal["linear_expansion", "atomic_state", "tape_review"]
MODULES: tuple[Module, ...] = get_args(Module)

FRAMES: tuple[str, ...] = (
    "{ask}",
    "Work this out step by step . {ask}",
    "Here is a task for you . {ask}",
    "{ask} Write down every step .",
    "Please answer the following . {ask}",
)
"""What a question may stand in; every form of an algorithm's question goes with every frame."""

LINE_WORDS = (":", ",", ";", "|", "gives", *"0123456789")
_TOKEN = re.compile(r"[^\W\d_]+|\d|\S")
_SLOT = re.compile(r"\{\w+\}")


class Parts(NamedTuple):
    """A line taken apart; what the modules in use leave out is ""."""

    label: str
    fetch: str
    operation: str
    result: str
    control: str


class Writer:
    """Writes and reads the lines of one choice of modules."""

    def __init__(self, modules: Collection[Module]) -> None:
        self._expand = "linear_expansion" in modules
        self._atomic = "atomic_state" in modules
        self._review = "tape_review" in modules
        self._any = bool(modules)

    def tells(self, state: State) -> bool:
        """Whether the state has a line."""
        return self._expand or (self._any and state.outer)

    def line(self, state: State) -> str:
        """The state's line."""
        outcome = _pairs(state.result)
        if self._atomic:
            outcome = f"{state.operation} gives {outcome} ; {state.control}"
        if self._review:
            return f"{state.label} : {_pairs(state.fetch)} ; {outcome}"
        return f"{state.label} : {outcome}"

    def derivation(self, states: Sequence[State], answer: str) -> str:
        """What supervised training teaches after a prompt."""
        lines = [self.line(state) for state in states if self.tells(state)]
        return "".join([f"\n{line}" for line in (*lines, f"{CONCLUSION}{answer}")])

    def parts(self, line: str) -> Parts | None:
        """A canonical line taken apart; None where it has not the form of a line."""
        label, colon, rest = line.partition(" : ")
        pieces = rest.split(" ; ")
        if not colon or len(pieces) != 1 + self._review + self._atomic:
            return None
        fetch = pieces.pop(0) if self._review else ""
        operation, control = "", ""
        if self._atomic:
            operation, gives, pieces[0] = pieces[0].partition(" gives ")
            control = pieces[1]
            if not gives:
                return None
        return Parts(label, fetch, operation, pieces[0], control)


def _pairs(values: Values) -> str:
    return " , ".join([f"{name} {show(value)}" for name, value in values.items()])


def canonical(text: str) -> str:
    """The text with single spaces between its words, digits and punctuation marks."""
    return " ".join(_TOKEN.findall(text))


def prompt(ask: str, frame: str) -> str:
    """A question in its frame, from "Question:" to "Answer:"."""
    return f"{ASK}{frame.format(ask=ask)}{REPLY}"


def text_words(texts: Iterable[str]) -> list[str]:
    """Words and punctuation marks of forms, their slots aside, each once, in the order they occur."""
    return list(dict.fromkeys(word for text in texts for word in _TOKEN.findall(_SLOT.sub(" ", text))))
