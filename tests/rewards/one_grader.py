"""One completion through one grader of `rewards/`, as the scoring workers do it but in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlreason.rewards.contract import to_score
from rlreason.rewards.loader import LoadedReward, resolve
from rlreason.types import DerivationCheck, Problem, Score

NO_CHECK = DerivationCheck(answer=None, answer_correct=False, derivation_correct=False)


_loaded: dict[tuple[str, str], LoadedReward] = {}


def grader(spec: str, kwargs: Mapping[str, Any]) -> LoadedReward:
    """A grader of `rewards/` with its kwargs bound, loaded once."""
    key = spec, repr(kwargs)
    if key not in _loaded:
        _loaded[key] = resolve(f"rewards/{spec}", kwargs=kwargs)
    return _loaded[key]


def problem(answer: str, detail: Mapping[str, Any] | None = None) -> Problem:
    return Problem("toy/1", "toy", "toy/1", "train", "What?", answer, "", detail or {})


def verdict(
    spec: str, completion: str, answer: str = "", detail: Mapping[str, Any] | None = None, **kwargs: Any
) -> Score:
    """Score of `completion` where `answer` is the gold one; spec "number.py:score", kwargs as in a recipe."""
    returned = grader(spec, kwargs).call(problem(answer, detail), completion, NO_CHECK)
    return to_score(spec, returned, completion, NO_CHECK)
