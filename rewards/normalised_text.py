"""1 where the final answer is the gold one but for case, Unicode form, punctuation, articles and space.

In a recipe:

    rewards:
      parts:
        - spec: "rewards/normalised_text.py:score"
          kwargs: {answer_in: [boxed, phrase], accepted: aliases, keep: "-%"}

- `answer_in`: where the answer stands, see `rlreason.rewards.reading`.
- `accepted`: the key of `problem.detail` that lists further right answers; left out, only `problem.answer` is right.
- `keep`: punctuation that matters. Without it "-5" equals "5", so compare numbers with `number.py`.
- `articles`: True drops the English words a, an and the.

Not judged: whether two words mean the same ("NYC", "New York City": list both), spelling, and word order.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any

from rlreason.rewards import reading
from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem

ARTICLES = {"a", "an", "the"}
DROPPED = {"Cc", "Cf", "Cs"}
"""Unicode categories without a visible form: controls, marks of direction, lone surrogates."""


@reward
def score(
    problem: Problem,
    completion: str,
    derivation: DerivationCheck,
    *,
    answer_in: reading.AnswerIn = reading.USUAL,
    accepted: str | None = None,
    keep: str = "",
    articles: bool = True,
) -> Mapping[str, Any]:
    """1 for one of the accepted answers, else 0.

    Raises:
        RewardError, ValueError: the problem lacks the key `accepted`, or a gold answer has nothing left to compare.
    """
    golds = {normalise(gold, keep, articles) for gold in accepted_answers(problem, accepted)}
    if "" in golds:
        raise ValueError(f"a gold answer of problem {problem.id!r} is nothing but punctuation and articles; see `keep`")
    answer = reading.find(completion, answer_in)
    right = answer is not None and normalise(reading.plain(answer), keep, articles) in golds
    return {"reward": float(right), "correct": right}


def accepted_answers(problem: Problem, key: str | None) -> list[str]:
    """The gold answer, and those that the problem's detail lists under `key`."""
    if key is None:
        return [problem.answer]
    more = reading.from_detail(problem.detail, key, problem.id)
    if not isinstance(more, list | tuple) or not all(isinstance(one, str) for one in more):
        raise ValueError(f"detail[{key!r}] of problem {problem.id!r} is {more!r}; it must be a list of texts")
    return [problem.answer, *more]


def normalise(text: str, keep: str, articles: bool) -> str:
    """Lower case, NFKC, no punctuation but `keep`, single spaces."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = (one for one in text if one.isspace() or one in keep or not _dropped(one))
    return " ".join(word for word in "".join(kept).split() if not (articles and word in ARTICLES))


def _dropped(one: str) -> bool:
    category = unicodedata.category(one)
    return category[0] == "P" or category in DROPPED
