"""Judges derivations made of equations: executes every left side and asks where its operands come from.

The family says what a left side means (`execute`); nothing else is evaluated, and the work is bounded by the first
`MAX_STEPS` lines of at most `MAX_LINE` characters. Operations come in one order, that of the gold derivation, also
where another would do. The reward that follows from the verdicts is not decided here.

Kinds of a step that is not right: format (not an equation of the task), value (another right side than the left
side's value), order (an operation whose turn it is not, or a true one that is not asked for), premise (an operand that
is neither given nor an earlier result), carried (a true equation about an earlier result that is wrong or was not asked
for), repeated, stop (goes on past the last operation or after the answer). Two belong to the derivation as a whole:
stop (it ends early, or without an answer) and answer (right steps, but another answer than theirs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from rlreason.tasks.complementary.text import CONCLUSION
from rlreason.tasks.derivations import answer_after, pieces, verdict
from rlreason.types import DerivationCheck, Problem, Step, StepVerdict

MAX_STEPS = 64
MAX_LINE = 1_000
_CONCLUSION = CONCLUSION.rstrip()


class Execution(NamedTuple):
    """What a left side says: the operands that it names, and the value that it has."""

    operands: tuple[str, ...]
    value: str


Execute = Callable[[str], Execution | None]
"""Left side, with single spaces -> its execution; None where it is no operation of the task. Must not raise on any
text of up to `MAX_LINE` characters, and must be quick."""


@dataclass(slots=True)
class _Progress:
    """How far a derivation has come."""

    places: dict[str, int]
    """Left side -> its place in the gold order."""
    given: frozenset[str]
    expected: int = 0
    """Place of the operation whose turn it is."""
    results: set[str] = field(default_factory=set)
    """Right results of operations that are asked for."""
    claims: set[str] = field(default_factory=set)
    """Right sides of all other equations."""
    said: set[tuple[str, str]] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        return self.expected == len(self.places)


class Checker:
    """Checks derivations of one task.

    Args:
        execute: what a left side says and means.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """The verdict over one completion. The answer is what follows the first conclusion, up to a full stop.

        `problem.detail` holds given and equations, as `EquationTask.problem` writes them.
        """
        found = text.find(_CONCLUSION)
        gold = [left for left, _ in problem.detail["equations"]]
        places = {left: place for place, left in enumerate(gold)}
        progress = _Progress(places, frozenset(problem.detail["given"]))
        stop = found if found >= 0 else len(text)
        steps = [self._step(text, start, end, progress) for start, end in pieces(text, 0, stop, ".", MAX_STEPS)]
        answer, rest = answer_after(text, found + len(_CONCLUSION) if found >= 0 else -1, MAX_LINE)
        trailing = [Step(start, end, "wrong", "stop") for start, end in pieces(text, rest, len(text), ".", MAX_STEPS)]
        return verdict(steps, trailing, complete=progress.complete, answer=answer, gold=problem.answer)

    def _step(self, text: str, start: int, end: int, progress: _Progress) -> Step:
        sides = _sides(text[start:end]) if end - start <= MAX_LINE else None
        execution = self._execute(sides[0]) if sides else None
        if sides is None or execution is None:
            return Step(start, end, "wrong", "format")
        if sides in progress.said:
            return Step(start, end, "repeated", "repeated")
        progress.said.add(sides)
        found, kind = _judge(*sides, execution, progress)
        return Step(start, end, found, kind, float(found == "right"))


def _judge(left: str, right: str, execution: Execution, progress: _Progress) -> tuple[StepVerdict, str]:
    """Verdict and kind of an equation that was not said before. Takes note of it.

    An operation that comes too early counts as said; what was skipped for it is no longer expected.
    """
    known = progress.given | progress.results
    supported = known.issuperset(execution.operands)
    carried = not supported and (known | progress.claims).issuperset(execution.operands)
    true = right == execution.value
    place = progress.places.get(left)
    in_turn, complete = place == progress.expected, progress.complete
    if place is not None:
        progress.expected = max(progress.expected, place + 1)
    (progress.results if true and place is not None else progress.claims).add(right)

    if in_turn and supported:
        return ("right", "") if true else ("wrong", "value")
    found: StepVerdict = "wrong" if supported or carried else "unsupported"
    if complete:
        return found, "stop"
    if place is not None and not in_turn:
        return found, "order"
    if found == "unsupported":
        return found, "premise"
    if not true:
        return found, "value"
    return found, "carried" if carried else "order"


def _sides(line: str) -> tuple[str, str] | None:
    """Left and right side of a line, words separated by single spaces; None where it is no equation."""
    left, sign, right = line.removesuffix(".").partition("=")
    if not sign or "=" in right:
        return None
    return " ".join(left.split()), " ".join(right.split())
