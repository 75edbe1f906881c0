r"""1 where the letter chosen is the gold one: "(B)", "B.", "B: Paris", "answer: B", "option B", "\boxed{B}".

In a recipe:

    rewards:
      parts:
        - spec: "rewards/multiple_choice.py:score"
          kwargs: {letters: ABCD}

- `letters`: the options, at most A to J. `problem.answer` must be one of them.
- `answer_in`: where the answer stands, see `rlreason.rewards.reading`.

An answer that names several letters is wrong, so naming all of them pays nothing. Not judged: the text of an option; an
answer that says "Paris" and no letter is wrong.
"""

import re
from collections.abc import Mapping
from typing import Any

from rlreason.rewards import reading
from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem

ALL_LETTERS = "ABCDEFGHIJ"
MARKED = re.compile(  # a letter set off as an option; the lookbehinds leave out words and "e.g."
    r"""[(\[]\s?([a-j])\s?[)\]]                                     # (B), [b]
      | (?<![\w(\[.])([a-j])(?=[.:)](?:\s|$))                       # B.  B:  B)
      | \b(?:option|choice|answer)\s?:?\s?((?-i:[A-J]))(?!\w)       # option B
      | ^([a-j])$                                                   # nothing else""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
BARE = re.compile(r"(?<!\w)([A-J])(?!\w)", re.ASCII)


@reward
def score(
    problem: Problem,
    completion: str,
    derivation: DerivationCheck,
    *,
    letters: str = ALL_LETTERS,
    answer_in: reading.AnswerIn = reading.USUAL,
) -> Mapping[str, Any]:
    """1 for the gold letter, else 0.

    Raises:
        ValueError: `letters` are not among A to J, or the gold answer is not one of them.
    """
    if not letters or not set(letters) <= set(ALL_LETTERS):
        raise ValueError(f"letters {letters!r} must be some of {ALL_LETTERS}")
    gold = chosen(problem.answer)
    if gold is None or gold not in letters:
        raise ValueError(f"answer {problem.answer!r} of problem {problem.id!r} is not one of the letters {letters}")
    answer = reading.find(completion, answer_in)
    right = answer is not None and chosen(answer) == gold
    return {"reward": float(right), "correct": right}


def chosen(answer: str) -> str | None:
    """The one letter that an answer names; None where it names none, or several.

    Letters set off as options count first ("B. A dog" is B); without any, capitals that stand alone.
    """
    text = reading.plain(answer).strip("*_`'\" ")
    marked = {letter.upper() for groups in MARKED.findall(text) for letter in groups if letter}
    found = marked or set(BARE.findall(text))
    return found.pop() if len(found) == 1 else None
