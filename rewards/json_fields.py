"""Compares the fields of the last JSON object in the completion with those of the gold one.

In a recipe:

    rewards:
      parts:
        - spec: "rewards/json_fields.py:score"
          kwargs: {fields: [name, year], credit: fields}

- `fields`: the fields compared; left out, all of the gold object's.
- `gold`: the key of `problem.detail` that holds the gold object; left out, `problem.answer` is its JSON text.
- `credit`: "exact" pays 1 for all fields right, "fields" pays the share that is right.
- `extra`: False counts a field that the gold object lacks as one that is wrong.

Values are compared as JSON: text to the letter, 1 equals 1.0, true does not equal 1, lists in order. Not judged: the
text around the object, and which of several objects the model meant: the last one counts.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlreason.errors import one_of
from rlreason.rewards import reading
from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem

CREDITS = ("exact", "fields")
TOKEN = re.compile(r'[{}]|"(?:[^"\\\n]|\\.)*+"?', re.DOTALL)


@reward
def score(
    problem: Problem,
    completion: str,
    derivation: DerivationCheck,
    *,
    fields: Sequence[str] = (),
    gold: str | None = None,
    credit: str = "exact",
    extra: bool = True,
) -> Mapping[str, Any]:
    """1 for all fields right, else 0 or, with `credit: fields`, the share that is right.

    Raises:
        RewardError, ValueError: there is no gold object, it lacks one of `fields`, or `credit` is unknown.
    """
    if credit not in CREDITS:
        raise ValueError(one_of("credit", credit, CREDITS))
    expected = _gold_object(problem, gold)
    names = list(fields or expected)
    absent = [name for name in names if name not in expected]
    if absent or not names:
        raise ValueError(
            f"the gold object of problem {problem.id!r} has no field {absent[0] if absent else 'at all'!r}"
        )
    found = last_object(completion)
    if found is None:
        return {"reward": 0.0, "correct": False, "parts": {"parsed": 0.0, "fields": 0.0}}
    unwanted = 0 if extra else len(found.keys() - expected.keys())
    right_fields = sum(name in found and same(expected[name], found[name]) for name in names)
    share = right_fields / (len(names) + unwanted)
    right = share == 1
    return {
        "reward": share if credit == "fields" else float(right),
        "correct": right,
        "parts": {"parsed": 1.0, "fields": share},
    }


def last_object(text: str) -> dict[str, Any] | None:
    """The last outermost {...} of a text that is a JSON object; None where there is none."""
    for start, end in reversed(list(_outermost(text))):
        try:
            value = json.loads(text[start:end])
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def same(gold: Any, found: Any) -> bool:
    """Equality of JSON values, in which true is not 1."""
    if isinstance(gold, bool) or isinstance(found, bool):
        return gold is found
    if isinstance(gold, dict) and isinstance(found, dict):
        return gold.keys() == found.keys() and all(same(gold[name], found[name]) for name in gold)
    if isinstance(gold, list) and isinstance(found, list):
        return len(gold) == len(found) and all(map(same, gold, found))
    return bool(gold == found)


def _gold_object(problem: Problem, key: str | None) -> dict[str, Any]:
    if key is not None:
        held = reading.from_detail(problem.detail, key, problem.id)
    else:
        try:
            held = json.loads(problem.answer)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"answer {problem.answer!r} of problem {problem.id!r} is not JSON: {error}") from None
    if not isinstance(held, dict):
        raise ValueError(f"the gold value of problem {problem.id!r} is {held!r}; it must be a JSON object")
    return held


def _outermost(text: str) -> Iterator[tuple[int, int]]:
    """Spans of {...} within no other, in one pass; braces in JSON strings do not count, unclosed ones neither."""
    opened: list[int] = []
    spans: list[tuple[int, int]] = []
    for token in TOKEN.finditer(text, max(text.find("{"), 0)):
        mark = token.group()
        if mark == "{":
            opened.append(token.start())
        elif mark == "}" and opened:
            start = opened.pop()
            while spans and spans[-1][0] > start:
                spans.pop()
            spans.append((start, token.end()))
    return iter(spans)
