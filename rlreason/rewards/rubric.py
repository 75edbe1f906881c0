"""How several rewards become one: refusing impossible rubrics, and combining the parts of one completion.

Pure: no plug-in is loaded or called here (see `loader` and `grading`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rlreason.errors import RewardError
from rlreason.recipe.schema import Rubric
from rlreason.rewards.contract import OWN_STEPS
from rlreason.rewards.failures import FailureKind, Unscored
from rlreason.types import DerivationCheck, Score, StepScore

Combine = Literal["sum", "product", "first_failure"]


@dataclass(frozen=True, slots=True)
class Part:
    """One reward of a rubric, as it travels to a worker.

    Attributes:
        name: unique within the rubric; how records call it.
        spec: what `loader.resolve` is given.
        weight: finite; used by `sum` alone.
        kwargs: passed on to the plug-in.
        deadline_s: wall-clock seconds it may take over one completion.
        fresh: each completion is scored in a fork of the worker.
    """

    name: str
    spec: str
    weight: float
    kwargs: Mapping[str, Any]
    deadline_s: float
    fresh: bool = False


def parts_of(rubric: Rubric) -> tuple[Part, ...]:
    """The rubric's parts, each with its name.

    Raises:
        RewardError: two parts of one name, or a weight that is not finite.
    """
    parts: list[Part] = []
    for index, entry in enumerate(rubric.parts):
        name = entry.name or entry.spec.rpartition(":")[2]
        where = f"(rewards.parts[{index}])"
        if not math.isfinite(entry.weight):
            raise RewardError(f"weight {entry.weight} of reward {name!r} is not a finite number {where}")
        if any(part.name == name for part in parts):
            raise RewardError(
                f"two rewards are called {name!r}; records keep each part by name, so give one another `name:` {where}"
            )
        parts.append(Part(name, entry.spec, entry.weight, dict(entry.kwargs), entry.deadline_s, entry.fresh))
    return tuple(parts)


def combine(how: Combine, parts: tuple[Part, ...], scores: Mapping[str, Score], check: DerivationCheck) -> Score:
    """One Score from the parts; the verdicts on answer and derivation are the task's check, whatever the rewards say.

    Args:
        how: "sum": weighted sum. "product": product of the parts, weights ignored. "first_failure": the first part
            below 1 decides; 1 where there is none.
        scores: a part's name -> what its plug-in returned, its reward finite. All parts are there.
        check: the task's own verdict on the completion.
    Returns:
        `parts` holds each part's reward before weights under its name, a part's own named parts under "NAME/INNER",
        and its opinion of the answer, where it has one, under "NAME/correct". `step_scores` holds the scores of the
        parts that score steps.
    Raises:
        Unscored: InvalidScore where finite parts combine to more than a float holds.
    """
    rewards = [_reward(scores[part.name]) for part in parts]
    match how:
        case "sum":
            total = sum(part.weight * value for part, value in zip(parts, rewards, strict=True))
        case "product":
            total = math.prod(rewards)
        case "first_failure":
            total = next((value for value in rewards if value < 1), 1.0)
    if not math.isfinite(total):
        raise Unscored(FailureKind.INVALID_SCORE, f"the {how} of {dict(zip(scores, rewards, strict=True))} is {total}")
    return judged(check, reward=total, parts=recorded(scores), step_scores=step_scores(scores))


def recorded(scores: Mapping[str, Score]) -> dict[str, float]:
    """The named parts of a record, flat: see `combine`."""
    flat: dict[str, float] = {}
    for name, score in scores.items():
        flat[name] = _reward(score)
        flat.update({f"{name}/{inner}": value for inner, value in score.parts.items()})
        if score.correct is not None:
            flat[f"{name}/correct"] = float(score.correct)
    return flat


def step_scores(scores: Mapping[str, Score]) -> dict[str, tuple[StepScore, ...]]:
    """A part's name -> its step scores, of the parts that gave any."""
    return {name: score.step_scores[OWN_STEPS] for name, score in scores.items() if score.step_scores}


def judged(
    check: DerivationCheck,
    *,
    reward: float | None,
    parts: Mapping[str, float] | None = None,
    step_scores: Mapping[str, tuple[StepScore, ...]] | None = None,
    failure: str = "",
) -> Score:
    """A Score whose verdicts on answer, derivation and steps are the task's check."""
    return Score(
        reward=reward,
        correct=check.answer_correct,
        parts=parts or {},
        steps=check.steps,
        step_scores=step_scores or {},
        failure=failure,
        derivation_correct=check.derivation_correct,
        first_error=check.first_error,
        first_error_kind=check.first_error_kind,
        answer=check.answer,
    )


def _reward(score: Score) -> float:
    assert score.reward is not None, "to_score lets only finite rewards through"
    return score.reward
