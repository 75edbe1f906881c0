"""Runs the string-rewrite program (a Markov algorithm) that the completion holds on the problem's test inputs.

In a recipe:

    rewards:
      parts:
        - spec: "rewards/string_rewrite.py:score"
          kwargs: {tests: tests, credit: share, max_steps: 1000}

The program is the lines with an arrow, in order; other lines are ignored:

    ab -> ba        the leftmost "ab" becomes "ba"
    b ->. c         the same, and then the program ends
    -> x            an empty left side stands before the text

Each step applies the first rule whose left side occurs, at its leftmost place. The program ends after a terminal rule
("->."), or where no rule applies. Space around a side is left out; a side in double quotes is what stands between
them.

- `tests`: the key of `problem.detail` that lists the tests, as pairs [input, expected output].
- `credit`: "exact" pays 1 for all tests passed, "share" pays the share that passed.
- `answer_in`: where the program stands, see `rlreason.rewards.reading`; "whole" takes every line of the completion.
- `max_steps`, `max_length`, `max_rules`: a test that needs more steps or characters is failed; a longer program is
  wrong.

The interpreter is the loop below: text in, text out, nothing of the completion is evaluated. Not judged: whether the
program is general. A program may list the tests' inputs one by one: give more tests than `max_rules`, or keep them
out of the prompt.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlreason.errors import one_of
from rlreason.rewards import reading
from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem

CREDITS = ("exact", "share")
RULE = re.compile(r"([^\n]*?)(?:->|\u2192)(\.?)([^\n]*)")


@dataclass(frozen=True, slots=True)
class Rule:
    """Replaces `left` by `right`; a terminal rule ends the program."""

    left: str
    right: str
    terminal: bool


@reward
def score(
    problem: Problem,
    completion: str,
    derivation: DerivationCheck,
    *,
    tests: str = "tests",
    credit: str = "exact",
    answer_in: reading.AnswerIn = "answer_tag",
    max_steps: int = 1_000,
    max_length: int = 1_000,
    max_rules: int = 100,
) -> Mapping[str, Any]:
    """1 where every test gives its expected output, else 0 or, with `credit: share`, the share that does.

    Raises:
        RewardError, ValueError: the problem's detail holds no list of pairs of texts, or `credit` is unknown.
    """
    if credit not in CREDITS:
        raise ValueError(one_of("credit", credit, CREDITS))
    pairs = _pairs(problem, tests)
    rules = parse(reading.find(completion, answer_in) or "")
    if not rules or len(rules) > max_rules:
        return {"reward": 0.0, "correct": False, "parts": {"rules": float(len(rules)), "halted": 0.0}}
    outputs = [run(rules, given, max_steps, max_length) for given, _ in pairs]
    passed = sum(output == expected for output, (_, expected) in zip(outputs, pairs, strict=True))
    halted = sum(output is not None for output in outputs)
    right = passed == len(pairs)
    return {
        "reward": passed / len(pairs) if credit == "share" else float(right),
        "correct": right,
        "parts": {"rules": float(len(rules)), "halted": halted / len(pairs)},
    }


def parse(program: str) -> list[Rule]:
    """The rules of a program, in order."""
    found = (RULE.fullmatch(line) for line in program.split("\n"))
    return [Rule(_side(rule[1]), _side(rule[3]), bool(rule[2])) for rule in found if rule]


def run(rules: Sequence[Rule], text: str, max_steps: int, max_length: int) -> str | None:
    """What the program makes of a text; None where it has not ended within the limits."""
    for _ in range(max_steps):
        rule = next((rule for rule in rules if rule.left in text), None)
        if rule is None:
            return text
        text = text.replace(rule.left, rule.right, 1)
        if len(text) > max_length:
            return None
        if rule.terminal:
            return text
    return None if any(rule.left in text for rule in rules) else text


def _side(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _pairs(problem: Problem, key: str) -> list[tuple[str, str]]:
    held = reading.from_detail(problem.detail, key, problem.id)
    pairs = [tuple(pair) for pair in held if isinstance(pair, list | tuple)] if isinstance(held, list | tuple) else []
    if (
        not pairs
        or len(pairs) < len(held)
        or not all(len(p) == 2 and all(isinstance(t, str) for t in p) for p in pairs)
    ):
        raise ValueError(f"detail[{key!r}] of problem {problem.id!r} must list pairs [input, expected output] of texts")
    return [(given, expected) for given, expected in pairs]
