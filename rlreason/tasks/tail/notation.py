"""How numbers, places and sequences are written in a question, so that a word-level tokenizer reads them.

Numbers are digits with spaces between them, one token each. Two notations are known baselines for length
generalisation: index hints put a mark, a word of its own, before every place of a sequence (of a number: counted from
the ones), and states then name places by the same marks; reversed digits write numbers from the ones up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

Form = Literal["plain", "index_hint", "reversed_digits"]
FORMS: tuple[Form, ...] = get_args(Form)
SEQUENCES: tuple[Form, ...] = ("plain", "index_hint")

MARKS = tuple(f"{first}{second}k" for first in "bcdfghjklmnpqrstvwxz" for second in "aeiou")
"""Words for the places 1 to 100."""


@lru_cache(maxsize=4096)
def digits(number: int) -> str:
    """A number as its digits with spaces between them."""
    return " ".join(str(number))


@dataclass(frozen=True, slots=True)
class Notation:
    """How one task writes."""

    form: Form = "plain"
    skipped: int = 0
    """Marks before that of the first place."""

    def at(self, place: int) -> str:
        """A place, counted from 1: its number, or its mark."""
        return self._mark(place) if self.form == "index_hint" else digits(place)

    def number(self, number: int) -> str:
        """An operand or an answer of a task about digits."""
        text = str(number)
        if self.form == "plain":
            return " ".join(text)
        if self.form == "reversed_digits":
            return " ".join(reversed(text))
        return " ".join([f"{self._mark(len(text) - index)} {digit}" for index, digit in enumerate(text)])

    def row(self, items: Sequence[int] | Sequence[str], between: str = " ") -> str:
        """A sequence, each item behind its mark where there are marks."""
        texts = [digits(item) if isinstance(item, int) else item for item in items]
        if self.form == "index_hint":
            texts = [f"{self._mark(place)} {text}" for place, text in enumerate(texts, 1)]
        return between.join(texts)

    def _mark(self, place: int) -> str:
        return MARKS[self.skipped + place - 1]
