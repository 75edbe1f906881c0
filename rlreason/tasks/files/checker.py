"""Judging a completion of a user's problem: its final answer, and its arithmetic where the gold derivation has any.

A step is an equation. It is wrong where it does not hold (one that the gold derivation says in the same words is taken
for right: people who write derivations round), unsupported where it uses a number that neither the question, nor an
earlier step, nor what the gold derivation brings in beside them (60 minutes an hour) gives, and repeated where it was
said before, more often than the gold derivation says it. Nothing else of a derivation is judged: not its words, nor
whether a sum was the right one to make; the derivation is right where its steps are, one of them gives the answer
(where the gold one's do), and the answer is right. Of problems without gold arithmetic no steps are checked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from rlreason.tasks.derivations import verdict
from rlreason.tasks.files.answers import GRADERS, Grade, find_answer, number_in
from rlreason.tasks.files.arithmetic import Equation, equations, numbers
from rlreason.types import DerivationCheck, Problem, Step

_WORD = re.compile(r"[a-z]+")
_COUNTED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NAMED: Mapping[str, tuple[Fraction, ...]] = {
    **{word: (Fraction(number),) for number, word in enumerate(_COUNTED, start=1)},
    "half": (Fraction(2), Fraction(1, 2)),
    "twice": (Fraction(2),),
    "double": (Fraction(2),),
    "triple": (Fraction(3),),
    "dozen": (Fraction(12),),
    "percent": (Fraction(100),),
}
"""Numbers that a question may say in words."""


@dataclass(frozen=True, slots=True)
class _Gold:
    """What a problem gives.

    Attributes:
        known: numbers of the question, and those that the gold derivation brings in.
        said: how often it says each equation.
        last: the value that a step must give: the answer's, where a step of the gold derivation gives it.
    """

    known: frozenset[Fraction]
    said: Mapping[str, int]
    last: Fraction | None


def check(problem: Problem, text: str, grade: Grade, *, steps: bool) -> DerivationCheck:
    """The verdict over a completion.

    Args:
        grade: how answers are compared.
        steps: whether arithmetic is checked.
    """
    answer = find_answer(text)
    right = answer is not None and GRADERS[grade](problem.answer, answer)
    gold = _gold(problem.prompt, problem.target, problem.answer) if steps else None
    if gold is None:
        return DerivationCheck(answer, right, None)
    found = list(equations(text))
    complete = gold.last is None or any(equation.result == gold.last for equation in found)
    # an answer that is right in another form is handed on in the gold one's
    same = problem.answer if right else answer
    judged = verdict(tuple(_judged(found, gold)), (), complete=complete, answer=same, gold=problem.answer)
    return replace(judged, answer=answer, answer_correct=right)


def _judged(found: list[Equation], gold: _Gold) -> Iterator[Step]:
    known, said = set(gold.known), Counter[str]()
    for equation in found:
        said[equation.words] += 1
        told = gold.said.get(equation.words, 0)
        if not (told or equation.holds):
            yield Step(equation.start, equation.end, "wrong", "format" if None in equation.values else "arithmetic")
        elif said[equation.words] > max(1, told):
            yield Step(equation.start, equation.end, "repeated", "repeated")
        elif not equation.operands <= known:
            yield Step(equation.start, equation.end, "unsupported", "premise")
        else:
            yield Step(equation.start, equation.end, "right", score=1.0)
        if equation.result is not None:
            known.add(equation.result)  # later steps are judged on their own, whatever came before


@lru_cache(maxsize=1024)
def _gold(prompt: str, target: str, answer: str) -> _Gold | None:
    """None where the gold derivation has no arithmetic."""
    found = list(equations(target))
    if not found:
        return None
    asked = numbers(prompt).union(*(_NAMED.get(word, ()) for word in _WORD.findall(prompt.lower())))
    known, results = set(asked), set[Fraction]()
    for equation in found:
        known |= equation.operands - results
        results |= {equation.result} if equation.result is not None else set()
    value = number_in(answer)
    said = Counter(equation.words for equation in found)
    return _Gold(frozenset(known), said, value if value in results else None)
