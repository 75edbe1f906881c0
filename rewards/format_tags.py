"""1 where the completion is made of the given tags, each once and in order, and of nothing outside them.

In a recipe, for "<think> ... </think> <answer> ... </answer>":

    rewards:
      parts:
        - spec: "rewards/format_tags.py:score"
          kwargs: {tags: [think, answer]}

- `tags`: their names, in order.
- `before`: text that the prompt already ended with and the completion goes on from, such as "<think>".
- `empty`: True lets a tag hold nothing but space.

Not judged: what stands inside the tags, so give it a small weight, or use it as a gate with `combine: product`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem


@reward
def score(
    problem: Problem,
    completion: str,
    derivation: DerivationCheck,
    *,
    tags: Sequence[str] = ("think", "answer"),
    before: str = "",
    empty: bool = False,
) -> Mapping[str, Any]:
    """1 for the format, else 0. It says nothing of the answer.

    Raises:
        ValueError: no tags, one named twice, or a name that is not letters, digits, "-" and "_".
    """
    if not tags or len(set(tags)) < len(tags) or not all(re.fullmatch(r"[\w-]+", tag) for tag in tags):
        raise ValueError(
            f"tags {list(tags)!r} must be names of letters, digits, '-' and '_', at least one and each once"
        )
    return {"reward": float(follows(before + completion, tags, empty))}


def follows(text: str, tags: Sequence[str], empty: bool) -> bool:
    """Whether the text is <a>...</a> <b>...</b> and so on, without any of these marks elsewhere."""
    position = 0
    for tag in tags:
        begin, end = text.find(f"<{tag}>", position), text.find(f"</{tag}>", position)
        content = begin + len(tag) + 2
        if begin < 0 or end < content or text[position:begin].strip() or not (empty or text[content:end].strip()):
            return False
        position = end + len(tag) + 3
    return not text[position:].strip() and all(text.count(f"<{tag}>") == text.count(f"</{tag}>") == 1 for tag in tags)
