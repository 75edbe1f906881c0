"""Equations and the questions that a list of them answers, as values and as text.

Used by the families to hand over what they drew, and by the task and the checker to write and read it. Every symbol,
number and mark stands between spaces, so that a word-level tokenizer knows all of a text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rlreason.tasks.complementary.text import ASK, CONCLUSION, REPLY

FORM_WORDS: tuple[str, ...] = ("Question", ":", "Answer", "So", ",", "the", "answer", "is", "=", ".")
"""Words and marks of the forms below."""


@dataclass(frozen=True, slots=True)
class Equation:
    """One operation of a gold derivation.

    Attributes:
        left: the operation with its operands written out, single spaces between words.
        right: its value.
    """

    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a family drew: an expression and the equations that evaluate it, innermost first.

    Attributes:
        expression: what is asked for; two questions with the same expression are the same question.
        given: operands that the expression itself holds: inputs and literals.
        equations: the last one's right side is the answer. No two have the same left side.
        preamble: what the prompt says before the question, such as a definition.
    """

    expression: str
    given: tuple[str, ...]
    equations: tuple[Equation, ...]
    preamble: str = ""

    @property
    def answer(self) -> str:
        return self.equations[-1].right

    @property
    def prompt(self) -> str:
        before = f"{self.preamble} " if self.preamble else ""
        return f"{before}{ASK}{self.expression}{REPLY}"

    @property
    def target(self) -> str:
        """The derivation that supervised training teaches, with its leading space."""
        return derivation(((equation.left, equation.right) for equation in self.equations), self.answer)


def derivation(equations: Iterable[tuple[str, str]], answer: str) -> str:
    """The text after a prompt: the equations in order, then the answer; a leading space."""
    lines = "".join(f" {left} = {right} ." for left, right in equations)
    return f"{lines} {CONCLUSION}{answer}"


def words_of(texts: Iterable[str]) -> list[str]:
    """The different words of texts that are written with spaces between them, in order of appearance."""
    return list(dict.fromkeys(word for text in texts for word in text.split()))
