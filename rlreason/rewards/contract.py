"""What a reward plug-in is: a function, or a class with `__call__`, of (problem, completion, derivation).

    from rlreason.rewards.contract import reward

    @reward
    def score(problem, completion, derivation):
        return 1.0 if derivation.answer_correct else 0.0

It may be `async def`; with `@reward(batch=True)` it takes `(problems, completions, derivations)`, three lists of one
length, and returns as many verdicts. A verdict is a number or a bool, a `Score`, or a mapping with `reward` and
perhaps `correct` (True, False, None), `parts` (named numbers, recorded) and `steps`: a number for each of
`derivation.steps`, or spans of the plug-in's own, `{"start": 0, "end": 12, "score": 0.5}`, in text order. A class gets
the recipe's `kwargs` when it is made, a function at every call. `derivation` is the task's own check of the completion
(`DerivationCheck`). The decorator may be left out: it only says `batch`. Finding plug-ins is done in `loader`, calling
them in `grading`, and keeping them in bounds in `pool`.
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
from rlreason.types import DerivationCheck, Score, StepScore

SINGLE = ("problem", "completion", "derivation")
BATCH = ("problems", "completions", "derivations")
SCORE_KEYS = ("reward", "correct", "parts", "steps")
STEP_KEYS = ("start", "end", "score")
OWN_STEPS = "steps"
"""Under which a verdict's step scores stand in its Score, until the rubric puts its part's name there."""
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


def to_score(spec: str, returned: object, completion: str, check: DerivationCheck) -> Score:
    """What a plug-in returned, as a Score with a finite reward.

    Args:
        spec: the plug-in's name in messages.
        returned: a number or bool; a mapping with the keys `SCORE_KEYS`; or a Score.
        completion: the text that was scored; spans of steps lie within it.
        check: the task's check of it, whose steps a list of bare numbers refers to.
    Returns:
        Step scores, where there are any, stand under `OWN_STEPS`.
    Raises:
        Unscored: InvalidScore for anything else, NaN and infinities included; Unscorable for a Score whose reward is
            None and whose `failure` says why.
    """
    try:
        if isinstance(returned, Score):
            return _from_score(spec, returned, completion, check)
        if isinstance(returned, Mapping):
            return _from_mapping(spec, returned, completion, check)
        return Score(reward=_finite(spec, "the reward", returned))
    except (Unscored, MemoryError):
        raise
    except BaseException as error:  # an object whose own methods raise
        raise _invalid(spec, f"something that raises {type(error).__name__} when read") from None


def _from_score(spec: str, score: Score, completion: str, check: DerivationCheck) -> Score:
    if score.steps:
        raise _invalid(spec, "a Score with `steps`, which are the task's verdicts; give `step_scores` instead")
    if score.reward is None and score.failure:
        raise Unscored(FailureKind.UNSCORABLE, f"{spec}: {one_line(score.failure)}")
    if len(score.step_scores) > 1:
        raise _invalid(spec, f"step_scores under {len(score.step_scores)} names; a reward gives one list")
    steps = next(iter(score.step_scores.values()), ())
    fields = {"reward": score.reward, "correct": score.correct, "parts": score.parts, "steps": steps}
    return _from_mapping(spec, fields, completion, check)


def _from_mapping(spec: str, fields: Mapping[Any, Any], completion: str, check: DerivationCheck) -> Score:
    unknown = [key for key in fields if key not in SCORE_KEYS]
    if unknown or "reward" not in fields:
        wrong = f"the key {one_line(unknown[0])!r}" if unknown else "no key 'reward'"
        raise _invalid(spec, f"a mapping with {wrong}; its keys are {', '.join(SCORE_KEYS)}")
    correct, parts = fields.get("correct"), fields.get("parts") or {}
    if correct is not None and not isinstance(correct, bool | np.bool_):
        raise _invalid(spec, f"correct of type {type(correct).__name__}; it is True, False or None")
    if not isinstance(parts, Mapping):
        raise _invalid(spec, f"parts of type {type(parts).__name__}; it is a mapping from names to numbers")
    steps = _steps(spec, fields.get("steps"), completion, check)
    return Score(
        reward=_finite(spec, "the reward", fields["reward"]),
        correct=None if correct is None else bool(correct),
        parts={one_line(key): _finite(spec, f"part {one_line(key)!r}", value) for key, value in parts.items()},
        step_scores={OWN_STEPS: steps} if steps else {},
    )


def _steps(spec: str, given: object, completion: str, check: DerivationCheck) -> tuple[StepScore, ...]:
    """The step scores of a verdict: numbers for the check's steps, or spans in text order that do not overlap."""
    if given is None:
        return ()
    if not isinstance(given, list | tuple | np.ndarray):
        raise _invalid(spec, f"steps of type {type(given).__name__}; it is a list of numbers or of spans")
    if not len(given):
        return ()
    if not isinstance(given[0], Mapping | StepScore):
        if len(given) != len(check.steps):
            raise _invalid(spec, f"{len(given)} step scores for a derivation of {len(check.steps)} steps")
        return tuple(
            StepScore(step.start, step.end, _finite(spec, f"the score of step {index}", score))
            for index, (step, score) in enumerate(zip(check.steps, given, strict=True))
        )
    steps: list[StepScore] = []
    for index, entry in enumerate(given):
        step = _span(spec, index, entry)
        if not (steps[-1].end if steps else 0) <= step.start < step.end <= len(completion):
            raise _invalid(
                spec,
                f"step {index} with the span {step.start} to {step.end} in a text of {len(completion)} characters; "
                "spans are not empty, lie within the text, in its order, and do not overlap",
            )
        steps.append(step)
    return tuple(steps)


def _span(spec: str, index: int, entry: object) -> StepScore:
    if isinstance(entry, StepScore):
        entry = {"start": entry.start, "end": entry.end, "score": entry.score}
    if not isinstance(entry, Mapping) or set(entry) != set(STEP_KEYS):
        raise _invalid(spec, f"step {index} as {one_line(entry)!r}; its keys are {', '.join(STEP_KEYS)}")
    start, end = entry["start"], entry["end"]
    if not isinstance(start, int | np.integer) or not isinstance(end, int | np.integer):
        raise _invalid(spec, f"step {index} with a span that is not two whole numbers")
    return StepScore(int(start), int(end), _finite(spec, f"the score of step {index}", entry["score"]))


def _finite(spec: str, what: str, value: object) -> float:
    if not isinstance(value, Real | np.bool_):
        raise _invalid(spec, f"{what} of type {type(value).__name__}; it is a finite number or a bool")
    number = float(value)
    if not math.isfinite(number):
        raise _invalid(spec, f"{what} as {number}; it is a finite number or a bool")
    return number


def _invalid(spec: str, what: str) -> Unscored:
    return Unscored(FailureKind.INVALID_SCORE, f"{spec} returned {what}")
