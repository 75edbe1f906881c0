"""What `rlreason reward check` does: a reward is tried on known completions, in the pool that a run would use.

`samples` makes the completions, `findings` says what their rewards mean; here they are scored, timed, and scored again
to see whether they stay the same. Nothing is printed here.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards.failures import FailureKind, kind_of
from rlreason.rewards.findings import Finding, Tried, find
from rlreason.rewards.pool import ScoringPool
from rlreason.rewards.samples import Sample, Trial, hostile
from rlreason.types import Score

GIVE_UP = 3
"""Completions that may pass their deadline before the rest is left untried: each costs the deadline."""
PART = "reward"


@dataclass(frozen=True, slots=True)
class Row:
    """The completions of one kind.

    Attributes:
        n: how many were scored or failed.
        mean, least, most: over those with a reward; None where none has one.
        failures: kind of failure -> how many.
    """

    kind: str
    n: int
    mean: float | None
    least: float | None
    most: float | None
    failures: dict[str, int]


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen.

    Attributes:
        untried: completions left out after `GIVE_UP` of them passed their deadline.
        calls: completions that the times are over.
        p50_ms, p99_ms: wall time of one completion scored alone: the task's check, the reward, and the way to the
            worker and back. None where nothing was scored.
    """

    spec: str
    rows: tuple[Row, ...]
    untried: int
    calls: int
    p50_ms: float | None
    p99_ms: float | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """No finding is serious."""
        return all(finding.severity != "serious" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, `ok` among them."""
        return {"ok": self.ok, **asdict(self)}


def check_reward(reward: Reward, trial: Trial, folders: Sequence[Path] = (), *, allowed: Sequence[str] = ()) -> Report:
    """Try a reward on the trial's completions and on hostile ones.

    Args:
        folders: where a reward file is looked for first.
        allowed: names of findings that are meant to be so.
    Raises:
        RewardError: it cannot be loaded.
        ScoringFailed: the workers cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="rlreason-check-") as scratch:
        marker = Path(scratch) / "written"
        samples = [*trial.samples, *hostile(trial.samples[0].problem, trial.around, marker)]
        with _pool(reward, trial, folders) as pool:
            tried = _one_by_one(pool, samples)
            scored = [index for index, one in enumerate(tried) if one.score.reward is not None]
            second = _one_by_one(pool, [tried[index].sample for index in scored])
        again = {index: one.score for index, one in zip(scored, second, strict=False)}
        with _pool(reward, trial, folders) as pool:
            elsewhere = _together(pool, tried, scored[::-1])
        ran_text = marker.exists()
    times = [one.seconds for one in (*tried, *second) if one.score.reward is not None]
    return Report(
        spec=reward.spec,
        rows=rows(tried),
        untried=len(samples) - len(tried),
        calls=len(times),
        p50_ms=1e3 * float(np.percentile(times, 50)) if times else None,
        p99_ms=1e3 * float(np.percentile(times, 99)) if times else None,
        findings=tuple(find(tried, again, elsewhere, ran_text, allowed)),
    )


def rows(tried: Sequence[Tried]) -> tuple[Row, ...]:
    """One a kind, in the order tried."""
    made = []
    for kind in dict.fromkeys(one.sample.kind for one in tried):
        scores = [one.score for one in tried if one.sample.kind == kind]
        rewards = [score.reward for score in scores if score.reward is not None]
        failures = Counter(str(kind_of(score.failure)) for score in scores if score.failure)
        mean = sum(rewards) / len(rewards) if rewards else None
        least, most = (min(rewards), max(rewards)) if rewards else (None, None)
        made.append(Row(kind, len(scores), mean, least, most, dict(failures)))
    return tuple(made)


def _pool(reward: Reward, trial: Trial, folders: Sequence[Path]) -> ScoringPool:
    rubric = Rubric(parts=(reward.model_copy(update={"name": PART, "weight": 1.0}),))
    return ScoringPool(rubric, trial.task_specs, folders, task_builder=trial.task_builder)


def _one_by_one(pool: ScoringPool, samples: Sequence[Sample]) -> list[Tried]:
    """Each scored alone, for its time; ends early where too many hang."""
    pool.warm_up()
    tried: list[Tried] = []
    late = 0
    for sample in samples:
        begun = time.perf_counter()
        (score,) = pool.score([(sample.problem, sample.text)])
        tried.append(Tried(sample, score, time.perf_counter() - begun))
        late += kind_of(score.failure) == FailureKind.PLUGIN_TIMEOUT
        if late == GIVE_UP:
            break
    return tried


def _together(pool: ScoringPool, tried: Sequence[Tried], order: Sequence[int]) -> dict[int, Score]:
    """Index into `tried` -> its Score when all of them are scored in one call, in that order."""
    scores = pool.score([(tried[index].sample.problem, tried[index].sample.text) for index in order])
    return dict(zip(order, scores, strict=True))
