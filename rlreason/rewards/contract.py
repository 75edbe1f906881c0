"""What a reward plug-in is: a function, or a class with `__call__`, of (problem, completion, derivation).

    from rlreason.rewards.contract import reward

    @reward
    def score(problem, completion, derivation):
        return 1.0 if derivation.answer_correct else 0.0

It may be `async def`; with `@reward(batch=True)` it takes `(problems, completions, derivations)`, three lists of one
length, and returns as many verdicts. A class gets the recipe's `kwargs` when it is made, a function at every call.
`derivation` is the task's own check of the completion (`DerivationCheck`). The decorator may be left out: it only says
`batch`. Finding plug-ins is done in `loader`, calling them in `grading`, and keeping them in bounds in `pool`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, TypeVar, overload

import numpy as np

from rlreason.errors import RewardError
from rlreason.rewards.failures import FailureKind, Unscored, one_line
from rlreason.types import Score

SINGLE = ("problem", "completion", "derivation")
BATCH = ("problems", "completions", "derivations")
SCORE_KEYS = ("reward", "correct", "parts")
_MARK = "__rlreason_batch__"
Plugin = TypeVar("Plugin", bound=Callable[..., Any])


@overload
def reward(plugin: Plugin) -> Plugin: ...
@overload
def reward(*, batch: bool = False) -> Callable[[Plugin], Plugin]: ...
def reward(plugin: Plugin | None = None, *, batch: bool = False) -> Plugin | Callable[[Plugin], Plugin]:
    """Mark a function or a class as a reward. `batch`: it is called with lists, once a chunk of completions."""

    def mark(marked: Plugin) -> Plugin:
        setattr(marked, _MARK, batch)
        return marked

    return mark if plugin is None else mark(plugin)


def is_batch(plugin: object) -> bool:
    """Whether the plug-in was marked `@reward(batch=True)`."""
    return bool(getattr(plugin, _MARK, False))


def check_signature(spec: str, function: Callable[..., Any], batch: bool, kwargs: Mapping[str, Any]) -> None:
    """Refuse a function that cannot be called as (problem, completion, derivation, **kwargs).

    Raises:
        RewardError: says what is expected and what was found.
    """
    expected = BATCH if batch else SINGLE
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature: calling it will tell
        return
    found = tuple(signature.parameters)
    if found[: len(expected)] != expected:
        remedy = "" if found[: len(expected)] != (SINGLE if batch else BATCH) else _other_form(batch)
        raise RewardError(
            f"{spec} takes ({', '.join(found)}); a {'batch ' if batch else ''}reward takes "
            f"({', '.join(expected)}), by these names and in this order{remedy}"
        )
    try:
        signature.bind(*expected, **kwargs)
    except TypeError as error:
        raise RewardError(f"{spec}{signature} does not accept kwargs {dict(kwargs)!r}: {error}") from None


def _other_form(batch: bool) -> str:
    return "; drop `batch=True`" if batch else "; mark it `@reward(batch=True)`"


def to_score(spec: str, returned: object) -> Score:
    """What a plug-in returned, as a Score with a finite reward.

    Args:
        spec: the plug-in's name in messages.
        returned: a number or bool; a mapping with "reward" and perhaps "correct" and "parts"; or a Score.
    Raises:
        Unscored: InvalidScore for anything else, NaN and infinities included; Unscorable for a Score whose reward is
            None and whose `failure` says why.
    """
    try:
        if isinstance(returned, Score):
            return _from_score(spec, returned)
        if isinstance(returned, Mapping):
            return _from_mapping(spec, returned)
        return Score(reward=_finite(spec, "the reward", returned))
    except (Unscored, MemoryError):
        raise
    except BaseException as error:  # an object whose own methods raise
        raise _invalid(spec, f"something that raises {type(error).__name__} when read") from None


def _from_score(spec: str, score: Score) -> Score:
    if score.steps:
        raise _invalid(spec, "a Score with steps; the steps come from the task's check, give named `parts` instead")
    if score.reward is None and score.failure:
        raise Unscored(FailureKind.UNSCORABLE, f"{spec}: {one_line(score.failure)}")
    return _from_mapping(spec, {"reward": score.reward, "correct": score.correct, "parts": score.parts})


def _from_mapping(spec: str, fields: Mapping[Any, Any]) -> Score:
    unknown = [key for key in fields if key not in SCORE_KEYS]
    if unknown or "reward" not in fields:
        wrong = f"the key {one_line(unknown[0])!r}" if unknown else "no key 'reward'"
        raise _invalid(spec, f"a mapping with {wrong}; its keys are {', '.join(SCORE_KEYS)}")
    correct, parts = fields.get("correct"), fields.get("parts") or {}
    if correct is not None and not isinstance(correct, bool | np.bool_):
        raise _invalid(spec, f"correct of type {type(correct).__name__}; it is True, False or None")
    if not isinstance(parts, Mapping):
        raise _invalid(spec, f"parts of type {type(parts).__name__}; it is a mapping from names to numbers")
    return Score(
        reward=_finite(spec, "the reward", fields["reward"]),
        correct=None if correct is None else bool(correct),
        parts={one_line(key): _finite(spec, f"part {one_line(key)!r}", value) for key, value in parts.items()},
    )


def _finite(spec: str, what: str, value: object) -> float:
    if not isinstance(value, Real | np.bool_):
        raise _invalid(spec, f"{what} of type {type(value).__name__}; it is a finite number or a bool")
    number = float(value)
    if not math.isfinite(number):
        raise _invalid(spec, f"{what} as {number}; it is a finite number or a bool")
    return number


def _invalid(spec: str, what: str) -> Unscored:
    return Unscored(FailureKind.INVALID_SCORE, f"{spec} returned {what}")
