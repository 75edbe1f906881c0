"""Judges a completion step by step: the task's symbolic verifier.

A step is a sentence before the conclusion. It is compared with the gold chain, with the facts that the prompt gave and
with those that biographies tell; nothing is evaluated, and the work is bounded by the first `MAX_STEPS` sentences of at
most `MAX_SENTENCE` characters. The reward that follows from the verdicts is not decided here.

Kinds of a step that is not right: context_hop and parametric_hop (the expected hop of that group, with a wrong tail),
order (another fact, which the prompt or the biographies settle as true or false), premise (another fact, on which they
are silent, be it implied by one they do tell), repeated, stop (goes on past the last hop or after the answer), format
(not a sentence of the task). Two belong to the derivation as a whole: stop (it ends early, or without an answer) and
answer (right steps, but another answer than theirs).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from rlreason.tasks.complementary.relations import Group
from rlreason.tasks.complementary.text import CONCLUSION, parse_sentence
from rlreason.types import DerivationCheck, Problem, Step, StepVerdict

MAX_STEPS = 64
MAX_SENTENCE = 200
_CONCLUSION = CONCLUSION.rstrip()
_INK = re.compile(r"\S")
_HOP_KIND: Mapping[Group, str] = {"parametric": "parametric_hop", "contextual": "context_hop"}

Fact = tuple[str, str, str]


class Checker:
    """Checks derivations of one task.

    Args:
        groups: relation -> its group.
        known: parametric relation -> head -> tail: what biographies tell.
    """

    def __init__(self, groups: Mapping[str, Group], known: Mapping[str, Mapping[str, str]]) -> None:
        self._groups = groups
        self._known = known

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """The verdict over one completion. The answer is what follows the first conclusion, up to a full stop."""
        gold = _gold(problem)
        given = {(head, relation): tail for head, relation, tail in problem.detail["facts"]}
        found = text.find(_CONCLUSION)
        steps, complete = self._steps(text, found if found >= 0 else len(text), gold, given)
        answer, rest = _answer(text, found)
        trailing = [Step(start, end, "wrong", "stop") for start, end in _sentences(text, rest, len(text))]
        answer_correct = answer == problem.answer

        error = next((index for index, step in enumerate(steps) if step.verdict != "right"), None)
        if error is not None:
            kind = steps[error].kind
        elif not complete or answer is None:
            error, kind = len(steps), "stop"
        elif not answer_correct:
            error, kind = len(steps), "answer"
        elif trailing:
            error, kind = len(steps), "stop"
        else:
            kind = ""
        return DerivationCheck(answer, answer_correct, error is None, (*steps, *trailing), error, kind)

    def _steps(
        self, text: str, stop: int, gold: Sequence[Fact], given: Mapping[tuple[str, str], str]
    ) -> tuple[list[Step], bool]:
        """Steps of text[:stop], and whether the last gold hop was reached."""
        steps: list[Step] = []
        said: set[Fact] = set()
        expected = 0
        for start, end in _sentences(text, 0, stop):
            fact = parse_sentence(text[start:end]) if end - start <= MAX_SENTENCE else None
            if fact is None or fact[1] not in self._groups:
                steps.append(Step(start, end, "wrong", "format"))
                continue
            if expected < len(gold) and fact == gold[expected]:
                steps.append(Step(start, end, "right", "", 1.0))
                expected += 1
            else:
                verdict, kind, expected = self._fault(fact, expected, gold, given, said)
                steps.append(Step(start, end, verdict, kind))
            said.add(fact)
        return steps, expected == len(gold)

    def _fault(
        self,
        fact: Fact,
        expected: int,
        gold: Sequence[Fact],
        given: Mapping[tuple[str, str], str],
        said: set[Fact],
    ) -> tuple[StepVerdict, str, int]:
        """Verdict and kind of a fact that is not the expected one, and the hop to expect after it."""
        if fact in said:
            return "repeated", "repeated", expected
        head, relation, _ = fact
        if expected < len(gold) and (head, relation) == gold[expected][:2]:
            return "wrong", _HOP_KIND[self._groups[relation]], expected + 1
        if fact in gold[expected:]:
            return "wrong", "order", gold.index(fact) + 1
        told = given.get((head, relation)) or self._known.get(relation, {}).get(head)
        verdict: StepVerdict = "unsupported" if told is None else "wrong"
        if expected == len(gold):
            return verdict, "stop", expected
        return verdict, "premise" if told is None else "order", expected


def _gold(problem: Problem) -> list[Fact]:
    nodes = problem.detail["visited"]
    return list(zip(nodes, problem.detail["path"], nodes[1:], strict=False))


def _answer(text: str, found: int) -> tuple[str | None, int]:
    """The answer after the conclusion at `found` (negative: there is none), and where the text goes on after it."""
    if found < 0:
        return None, len(text)
    start = found + len(_CONCLUSION)
    end = text.find(".", start)
    end = len(text) if end < 0 else end
    answer = text[start:end].strip() if end - start <= MAX_SENTENCE else ""
    return answer or None, end + 1


def _sentences(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Spans of the first sentences of text[start:stop], without the space around them, full stop included."""
    for _ in range(MAX_STEPS):
        first = _INK.search(text, start, stop)
        if first is None:
            return
        end = text.find(".", first.start(), stop) + 1 or stop
        yield first.start(), end
        start = end
