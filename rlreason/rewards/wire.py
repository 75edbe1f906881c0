"""What travels between a scoring worker and its watcher, packed quickly: requests there, judgements back.

Frozen, slotted dataclasses pickle themselves field by field in Python, which takes about as long as it takes to score
them. Here their values travel as plain tuples, and the completions of a group share their problem as they did before.
"""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Any

from rlreason.rewards.grading import Judgement, Request
from rlreason.types import DerivationCheck, Problem, Score, Step


def _values(kind: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    return attrgetter(*(field.name for field in fields(kind)))


_PROBLEM, _REQUEST, _CHECK, _STEP, _SCORE = map(_values, (Problem, Request, DerivationCheck, Step, Score))
_STEPS = [field.name for field in fields(DerivationCheck)].index("steps")
_step = lru_cache(maxsize=4096)(Step)
"""The completions of a group say much alike, and frozen values may be shared: found again, a step costs a tenth."""
_REDUCERS: dict[type, Callable[[Any], Any]] = {
    Request: lambda request: (Request, _REQUEST(request)),
    Problem: lambda problem: (Problem, _PROBLEM(problem)),
}


def pack_requests(requests: Sequence[Request]) -> bytes:
    """A pickle of them, made by the table above. `pickle.loads` reads it."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = _REDUCERS
    pickler.dump(requests)
    return buffer.getvalue()


def pack_judgements(judgements: Sequence[Judgement]) -> bytes:
    """Read by `unpack_judgements`."""
    return pickle.dumps([_flat(judgement) for judgement in judgements], pickle.HIGHEST_PROTOCOL)


def unpack_judgements(packed: bytes) -> list[Judgement]:
    """The judgements, equal to those that were packed."""
    return [_whole(*flat) for flat in pickle.loads(packed)]


def _flat(judgement: Judgement) -> tuple[Any, ...]:
    check = None
    if judgement.check is not None:
        check = list(_CHECK(judgement.check))
        check[_STEPS] = [*map(_STEP, check[_STEPS])]
    scores = [
        # most parts say nothing beside the reward
        (name, _SCORE(score) if score.parts or score.step_scores or score.correct is not None else score.reward)
        for name, score in judgement.scores.items()
    ]
    return check, scores, judgement.failure, judgement.answer


@functools.lru_cache(maxsize=1024)
def _bare(reward: float) -> Score:
    return Score(reward)


def _whole(
    check: list[Any] | None, scores: Sequence[tuple[str, Any]], failure: str, answer: tuple[str, bool] | None
) -> Judgement:
    if check is not None:
        check[_STEPS] = tuple([_step(*step) for step in check[_STEPS]])
    return Judgement(
        None if check is None else DerivationCheck(*check),
        {name: Score(*value) if isinstance(value, tuple) else _bare(value) for name, value in scores},
        failure,
        answer,
    )
