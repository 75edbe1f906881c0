r"""1 where the final answer equals the gold one as mathematics: LaTeX or plain, through the library math-verify.

In a recipe:

    rewards:
      parts:
        - spec: "rewards/boxed_math.py:score"
          kwargs: {answer_in: boxed}
          deadline_s: 5

- `answer_in`: where the answer stands, see `rlreason.rewards.reading`; "anywhere" leaves the search of the whole text
  to math-verify, which is slower and also takes a number in passing for the answer.
- `digits`: decimal places to which floats are compared.
- `strict`: False lets variables have other names, and a tuple equal a set.
- `relations_as_sets`: True lets the answer be an inequality (1 < x < 2) where the gold one is an interval.

The gold answer may be bare ("\frac{1}{2}", "1/2", "x^2+1"), in $...$, or in \boxed{...}. An answer of over 500
characters, or with brackets nested over 10 deep, is wrong unread; a search "anywhere" sees the last 10,000
characters.

math-verify reads text with sympy, whose parser evaluates what it reads, and may take for ever over a small answer
such as 9^9^9^9. It is called here because rewards run in a worker process of the scoring pool, which kills it at
`deadline_s`; its own timeouts (signals, dead off the main thread) are switched off. Do not call it on model text
anywhere else.

Not judged: the way to the answer, and whether the answer is in the form that the question asked for (2/4 equals 1/2,
and an unevaluated sum its value).
"""

import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Any

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from rlreason.rewards import reading
from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off

LONGEST_SEARCH = 10_000
LONGEST, DEEPEST = 500, 10
"""Beyond these math-verify takes seconds to minutes over nonsense: its time doubles with every brace around another."""
ANYWHERE = "anywhere"
LATEX = LatexExtractionConfig(boxed_match_priority=0)
PLAIN_NUMBER = re.compile(rf"[-+]?{reading.DECIMAL}\s?%?")
IN_DELIMITERS = re.compile(r"\\boxed|\\\(|\\\[|\$")


@reward
def score(
    problem: Problem,
    completion: str,
    derivation: DerivationCheck,
    *,
    answer_in: reading.AnswerIn = "boxed",
    digits: int = 6,
    strict: bool = True,
    relations_as_sets: bool = False,
) -> Mapping[str, Any]:
    """1 for an answer equal to the gold one, else 0.

    Raises:
        ValueError: math-verify finds no mathematics in the gold answer.
    """
    gold = parsed_gold(delimited(problem.answer))
    if not gold:
        raise ValueError(f"answer {problem.answer!r} of problem {problem.id!r} holds no mathematics that can be read")
    text = _answer_text(completion, answer_in)
    right = text is not None and (
        text == delimited(problem.answer)  # the same text needs no algebra
        or verify(
            gold,
            parsed(text),
            float_rounding=digits,
            strict=strict,
            allow_set_relation_comp=relations_as_sets,
            timeout_seconds=None,
        )
    )
    return {"reward": float(right), "correct": bool(right)}


def _answer_text(completion: str, answer_in: reading.AnswerIn) -> str | None:
    if answer_in == ANYWHERE:
        return completion[-LONGEST_SEARCH:]
    answer = reading.find(completion, answer_in)
    return None if answer is None or len(answer) > LONGEST or _depth(answer) > DEEPEST else delimited(answer)


def _depth(text: str) -> int:
    """How deep brackets of any kind are nested, escaped ones too."""
    steps = ((one in "([{") - (one in ")]}") for one in text)
    return max(accumulate(steps, initial=0))


def delimited(answer: str) -> str:
    """The answer as math-verify finds it: a plain number as it is, bare LaTeX in a box."""
    bare = not IN_DELIMITERS.search(answer) and not PLAIN_NUMBER.fullmatch(answer)
    return rf"\boxed{{{answer}}}" if bare else answer


def parsed(text: str) -> list[Any]:
    """Everything that math-verify reads in a text; empty where that is nothing."""
    found: list[Any] = parse(text, [LATEX, ExprExtractionConfig()], parsing_timeout=None)
    return found


parsed_gold = lru_cache(maxsize=256)(parsed)
"""The same for gold answers, of which a group of completions has one."""
