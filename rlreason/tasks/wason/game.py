"""An episode of Wason's task: what a turn says, what it is answered, and what its questions were worth.

Every turn is a question, which is a step of the derivation, or states the rule, which ends the episode. A question is
right where its answer could not be known before: it splits the rules of the cell that still fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from rlreason.tasks.wason.hypotheses import Rules
from rlreason.tasks.wason.language import read_rule
from rlreason.types import DerivationCheck, Step, StepVerdict

YES, NO, INVALID = "yes", "no", "invalid"
ANSWERS = (YES, NO, INVALID)
_TRY = re.compile(r"\s*Try\s?:\s?([0-9]{1,4})\s?,\s?([0-9]{1,4})\s?,\s?([0-9]{1,4})\s?\.?\s*", re.ASCII)
_RULE = re.compile(r"\s*Rule\s?:(.*)", re.DOTALL)
_MARK = re.compile(rf"(?:Try|Rule)\s?:|\b(?P<answer>{'|'.join(ANSWERS)})\b")


def question(triple: tuple[int, int, int]) -> str:
    """The turn that asks about a triple."""
    return "Try: {}, {}, {}".format(*triple)


def statement(rule: str) -> str:
    """The turn that states a rule."""
    return f"Rule: {rule}"


def observed(answer: str) -> str:
    """What stands between two turns."""
    return f"\n{answer}\n"


class Game:
    """See `rlreason.tasks.environment.Environment`."""

    def __init__(self, rules: Rules, rule: str, shown: tuple[int, int, int]) -> None:
        """
        Args:
            rules: of the problem's cell.
            rule: the hidden one, one of their texts.
            shown: the triple that the prompt says fits.
        """
        self._rules = rules
        self._hidden = rules.holds[rules.texts.index(rule)]
        place = rules.grid.place(shown)
        self._fitting = np.flatnonzero(rules.holds[:, place])
        self._asked = {place}
        self._turns: list[str] = []
        self._answers: list[str] = []
        self._judged: list[tuple[StepVerdict, str]] = []
        self._statement: str | None = None

    @property
    def done(self) -> bool:
        """Whether the rule was stated."""
        return self._statement is not None

    def act(self, text: str) -> None:
        """Ask, or state the rule; anything else is a wrong question."""
        assert not self.done, "the episode is over"
        self._turns.append(text)
        stated = _RULE.fullmatch(text)
        if stated:
            self._statement = stated.group(1)
            return
        answer, verdict, kind = self._ask(_TRY.fullmatch(text))
        self._answers.append(answer)
        self._judged.append((verdict, kind))

    def _ask(self, asked: re.Match[str] | None) -> tuple[str, StepVerdict, str]:
        """(answer, verdict on the question, what is wrong with it)."""
        if asked is None:
            return INVALID, "wrong", "format"
        a, b, c = map(int, asked.groups())
        if max(a, b, c) > self._rules.grid.largest:
            return INVALID, "wrong", "range"
        place = self._rules.grid.place((a, b, c))
        fits = bool(self._hidden[place])
        answer = YES if fits else NO
        if place in self._asked:
            return answer, "repeated", "repeated"
        self._asked.add(place)
        left = self._fitting[self._rules.holds[self._fitting, place] == fits]
        if len(left) == len(self._fitting):
            return answer, "wrong", "known"
        self._fitting = left
        return answer, "right", ""

    def observe(self) -> str:
        """The answer to the last question."""
        return observed(self._answers[-1])

    def score(self) -> DerivationCheck:
        """See `Environment.score`."""
        said = [text + observed(answer) for text, answer in zip(self._turns, self._answers, strict=False)]
        return self.verdict(np.cumsum([0, *map(len, said)]).tolist())

    def verdict(self, starts: Sequence[int]) -> DerivationCheck:
        """The verdict, the turns beginning at `starts` in the text."""
        steps = tuple(
            _step(start, turn, *judged) for start, turn, judged in zip(starts, self._turns, self._judged, strict=False)
        )
        stated = None if self._statement is None else read_rule(self._statement, self._rules.grid)
        right = stated is not None and bool(np.array_equal(stated[1], self._hidden))
        error = next((index for index, step in enumerate(steps) if step.verdict != "right"), None)
        kind = ""
        if error is not None:
            kind = steps[error].kind
        elif not right or len(self._fitting) > 1:
            error, kind = len(steps), self._missed(stated is not None, right)
        return DerivationCheck(
            answer=None if stated is None else stated[0],
            answer_correct=right,
            derivation_correct=error is None,
            steps=steps,
            first_error=error,
            first_error_kind=kind,
        )

    def _missed(self, stated: bool, right: bool) -> str:
        """What is wrong where every question was right: a rule that is right may still be a guess."""
        if not self.done:
            return "stop"
        return "format" if not stated else "guess" if right else "answer"


def _step(start: int, turn: str, verdict: StepVerdict, kind: str) -> Step:
    """The step of a question that stands at `start`, without the space around it."""
    said = turn.strip()
    first = start + turn.find(said)
    return Step(first, first + len(said), verdict, kind, float(verdict == "right"))


def turns_of(text: str) -> Iterator[tuple[int, int]]:
    """Where the turns stand in a transcript whose answers are told from them by their words alone.

    An answer to nothing is a turn too, one that says no more than "yes".
    """
    at = 0
    for mark in _MARK.finditer(text):
        before = bool(text[at : mark.start()].strip())
        if before:
            yield at, mark.start()
        elif mark["answer"]:
            yield mark.span()
        at = mark.end() if mark["answer"] else mark.start()
    if text[at:].strip():
        yield at, len(text)
