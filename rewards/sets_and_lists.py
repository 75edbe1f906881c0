r"""Compares the final answer, a list of items, with the gold one: in order or not, with repeats or without.

In a recipe:

    rewards:
      parts:
        - spec: "rewards/sets_and_lists.py:score"
          kwargs: {ordered: false, repeats: false, credit: f1}

- `ordered`: True compares item by item, at the same position; False as sets.
- `repeats`: True counts how often an item stands in the list; False takes each once.
- `credit`: "exact" pays 1 for the same list, "f1" pays the harmonic mean of precision and recall.
- `answer_in`: where the answer stands, see `rlreason.rewards.reading`.

Gold and answer alike may be a JSON list, or items between commas, semicolons or lines, with or without brackets
around all: "[1, 2]", "\{a, b\}", "(1,2), (3,4)". Items are compared as text, but for case and outer space and quotes:
1 and 1.0 differ. "f1" pays for a right item in a long list too: precision is what keeps it from paying much. Not
judged: items named by "..." or by a rule.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rlreason.errors import one_of
from rlreason.rewards import reading
from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem

CREDITS = ("exact", "f1")
BRACKETS = {"[": "]", "(": ")", "{": "}"}
BESIDE_MARKS = re.compile(r" ?([,()\[\]{}]) ?")
PIECE = re.compile(r"[\[({]|[\])}]|[,;\n]|[^\[\](){},;\n]+")


@reward
def score(
    problem: Problem,
    completion: str,
    derivation: DerivationCheck,
    *,
    ordered: bool = False,
    repeats: bool = False,
    credit: str = "exact",
    answer_in: reading.AnswerIn = reading.USUAL,
) -> Mapping[str, Any]:
    """1 for the same items, else 0 or, with `credit: f1`, the share that is right.

    Raises:
        ValueError: the gold answer holds no list, or `credit` is unknown.
    """
    if credit not in CREDITS:
        raise ValueError(one_of("credit", credit, CREDITS))
    gold = items(problem.answer)
    if gold is None:
        raise ValueError(f"answer {problem.answer!r} of problem {problem.id!r} holds no list of items")
    found = items(reading.find(completion, answer_in) or "")
    if found is None:
        return {"reward": 0.0, "correct": False}
    if not repeats:
        gold, found = list(dict.fromkeys(gold)), list(dict.fromkeys(found))
    if ordered:
        matched = sum(one == other for one, other in zip(gold, found, strict=False))
    else:
        matched = (Counter(gold) & Counter(found)).total()
    right = matched == len(gold) == len(found)
    precision = matched / len(found) if found else float(right)
    recall = matched / len(gold) if gold else float(right)
    f1 = 2 * precision * recall / (precision + recall) if matched else float(right)
    parts = {"precision": precision, "recall": recall}
    return {"reward": f1 if credit == "f1" else float(right), "correct": right, "parts": parts}


def items(text: str) -> list[str] | None:
    """The items of a list, in order; None for a text without any. "[]" is a list of none."""
    text = text.strip().strip("$").replace(r"\{", "{").replace(r"\}", "}").strip()
    listed = _json_list(text)
    if listed is None:
        if not text:
            return None
        listed = list(_split(text[1:-1] if _wrapped(text) else text))
    return [_item(one) for one in listed]


def _item(text: str) -> str:
    return BESIDE_MARKS.sub(r"\1", " ".join(text.casefold().split()).strip("\"'` "))


def _json_list(text: str) -> list[str] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    return [item if isinstance(item, str) else json.dumps(item, sort_keys=True) for item in value]


def _wrapped(text: str) -> bool:
    """Whether the first bracket closes at the very end: true of "(1, 2)", not of "(1, 2), (3, 4)"."""
    if BRACKETS.get(text[0]) != text[-1]:
        return False
    depth = 0
    for position, one in enumerate(text):
        depth += (one in BRACKETS) - (one in BRACKETS.values())
        if depth == 0:
            return position == len(text) - 1
    return False


def _split(text: str) -> Iterator[str]:
    """The pieces between separators that stand outside all brackets, empty ones left out."""
    item: list[str] = []
    depth = 0
    for piece in PIECE.findall(text):
        depth = max(0, depth + (piece in BRACKETS) - (piece in BRACKETS.values()))
        if depth == 0 and piece in {",", ";", "\n"}:
            yield from _unless_blank(item)
            item = []
        else:
            item.append(piece)
    yield from _unless_blank(item)


def _unless_blank(pieces: list[str]) -> Iterator[str]:
    text = "".join(pieces)
    if text.strip():
        yield text
