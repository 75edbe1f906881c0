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

from collections.abc import Mapping, Sequence

from rlreason.tasks.complementary.relations import Group
from rlreason.tasks.complementary.text import CONCLUSION, parse_sentence
from rlreason.tasks.derivations import answer_after, pieces, verdict
from rlreason.types import DerivationCheck, Problem, Step, StepVerdict

MAX_STEPS = 64
MAX_SENTENCE = 200
_CONCLUSION = CONCLUSION.rstrip()
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
        answer, rest = answer_after(text, found + len(_CONCLUSION) if found >= 0 else -1, MAX_SENTENCE)
        trailing = [Step(start, end, "wrong", "stop") for start, end in pieces(text, rest, len(text), ".", MAX_STEPS)]
        return verdict(steps, trailing, complete=complete, answer=answer, gold=problem.answer)

    def _steps(
        self, text: str, stop: int, gold: Sequence[Fact], given: Mapping[tuple[str, str], str]
    ) -> tuple[list[Step], bool]:
        """Steps of text[:stop], and whether the last gold hop was reached."""
        steps: list[Step] = []
        said: set[Fact] = set()
        expected = 0
        for start, end in pieces(text, 0, stop, ".", MAX_STEPS):
            fact = parse_sentence(text[start:end]) if end - start <= MAX_SENTENCE else None
            if fact is None or fact[1] not in self._groups:
                steps.append(Step(start, end, "wrong", "format"))
                continue
            if expected < len(gold) and fact == gold[expected]:
                steps.append(Step(start, end, "right", "", 1.0))
                expected += 1
            else:
                found, kind, expected = self._fault(fact, expected, gold, given, said)
                steps.append(Step(start, end, found, kind))
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
        found: StepVerdict = "unsupported" if told is None else "wrong"
        if expected == len(gold):
            return found, "stop", expected
        return found, "premise" if told is None else "order", expected


def _gold(problem: Problem) -> list[Fact]:
    nodes = problem.detail["visited"]
    return list(zip(nodes, problem.detail["path"], nodes[1:], strict=False))
