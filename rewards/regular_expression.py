r"""Matches the completion against the recipe's own pattern, and what a group of it holds against the gold answer.

In a recipe:

    rewards:
      parts:
        - spec: "rewards/regular_expression.py:score"
          kwargs: {pattern: 'Result:\s*(?P<answer>\w+)', group: answer}

- `pattern`: a Python regular expression. Of several matches the last counts.
- `mode`: "search" finds it anywhere, "fullmatch" wants it to be the whole text but for outer space.
- `group`: name or number of the group that must equal the gold answer, but for outer space; left out, the match
  itself pays 1, and nothing is said of the answer.

Not judged: whether the pattern is wise. Nested repeats such as (a+)+ take time that doubles with every letter of a
hostile completion; the part's `deadline_s` ends that, and the completion counts as unscored.
"""

import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from rlreason.errors import one_of
from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem

MODES = ("search", "fullmatch")


@reward
def score(
    problem: Problem,
    completion: str,
    derivation: DerivationCheck,
    *,
    pattern: str,
    mode: str = "search",
    group: str | int | None = None,
) -> Mapping[str, Any]:
    """1 where the pattern matches and its group, if asked for, holds the gold answer.

    Raises:
        ValueError: the pattern does not compile, has no such group, or `mode` is unknown.
    """
    if mode not in MODES:
        raise ValueError(one_of("mode", mode, MODES))
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None
    if group is not None and group not in compiled.groupindex and group not in range(compiled.groups + 1):
        raise ValueError(one_of("group", group, [*compiled.groupindex, *map(str, range(compiled.groups + 1))]))
    match = _match(compiled, completion, mode)
    if group is None:
        return {"reward": float(match is not None)}
    right = match is not None and (match[group] or "").strip() == problem.answer.strip()
    return {"reward": float(right), "correct": right, "parts": {"matched": float(match is not None)}}


def _match(pattern: re.Pattern[str], text: str, mode: str) -> re.Match[str] | None:
    if mode == "fullmatch":
        return pattern.fullmatch(text.strip())
    found = deque(pattern.finditer(text), maxlen=1)
    return found[0] if found else None
