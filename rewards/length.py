"""Shapes a reward by the length of the completion; give it beside a reward for the answer, under `combine: sum`.

In a recipe, a wish for 50 to 200 words, or a punishment before the budget of tokens runs out:

    rewards:
      parts:
        - spec: "rewards/length.py:band"
          kwargs: {shortest: 50, longest: 200, slack: 100}
        - spec: "rewards/length.py:soft_overlong"
          kwargs: {longest: 400, cache: 100}

`band` pays 0 inside the band and falls to -1 over `slack` units outside it. `soft_overlong` is DAPO's soft overlong
punishment: 0 up to longest - cache, then down to -1 at `longest`, and -1 beyond.

- `unit`: "words" (between spaces) or "characters". A plug-in sees text and not tokens: for a budget in tokens measure
  how many units one token is for your model, and set `longest` from that.

Not judged: whether anything that was written is of use. A length reward alone is earned by padding or by saying
nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rlreason.errors import one_of
from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem

UNITS: dict[str, Callable[[str], int]] = {"characters": len, "words": lambda text: len(text.split())}


@reward
def band(
    problem: Problem,
    completion: str,
    derivation: DerivationCheck,
    *,
    shortest: int,
    longest: int,
    slack: int,
    unit: str = "words",
) -> Mapping[str, Any]:
    """0 from shortest to longest, then linear to -1 at `slack` units outside, and -1 beyond.

    Raises:
        ValueError: not 0 <= shortest <= longest, slack below 1, or an unknown unit.
    """
    if not 0 <= shortest <= longest or slack < 1:
        raise ValueError(f"shortest {shortest}, longest {longest}, slack {slack}: 0 <= shortest <= longest, slack >= 1")
    length = measure(completion, unit)
    outside = max(shortest - length, length - longest, 0)
    return {"reward": max(-outside / slack, -1.0), "parts": {"length": float(length)}}


@reward
def soft_overlong(
    problem: Problem, completion: str, derivation: DerivationCheck, *, longest: int, cache: int, unit: str = "words"
) -> Mapping[str, Any]:
    """0 up to longest - cache, then linear to -1 at `longest`, and -1 beyond.

    Raises:
        ValueError: not 1 <= cache <= longest, or an unknown unit.
    Source:
        DAPO, Yu et al. 2025 (arXiv 2503.14476), equation 13: L_max is `longest`, L_cache is `cache`.
    """
    if not 1 <= cache <= longest:
        raise ValueError(f"longest {longest}, cache {cache}: 1 <= cache <= longest")
    length = measure(completion, unit)
    over = max(length - (longest - cache), 0)
    return {"reward": max(-over / cache, -1.0), "parts": {"length": float(length)}}


def measure(text: str, unit: str) -> int:
    """Length of a text in `unit`."""
    if unit not in UNITS:
        raise ValueError(one_of("unit", unit, UNITS))
    return UNITS[unit](text)
