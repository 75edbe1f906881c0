"""Many actors that look like one generator and one learner to the stages.

Prompts are cut into contiguous shares, one a generator; every learner rank gets the same call. Weights go from rank 0
to the generators as a reference into the object store: on one machine nothing is copied but into the models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError, RayTaskError

from rlreason.engines.protocols import (
    Job,
    PolicyBatch,
    PolicyFigures,
    PolicySettings,
    PreferenceJob,
    PreferencePairs,
    Report,
    SampleBatch,
    SamplingSettings,
    ScorerModel,
    StepBatch,
    SupervisedJob,
    SupervisedRows,
)
from rlreason.errors import EngineFailed, RlreasonError

POLL_S = 0.5


def fetch(references: Any, what: str, logs: Path, timeout_s: float | None = None) -> Any:
    """`ray.get` that raises the house's errors: what an actor raised on purpose, else `EngineFailed` naming the log."""
    try:
        return ray.get(references, timeout=timeout_s)
    except RayTaskError as error:
        if isinstance(error.cause, RlreasonError):
            raise error.cause from None
        raise EngineFailed(f"{what} failed: {type(error.cause).__name__}: {error.cause} (logs: {logs})") from error
    except RayActorError as error:
        raise EngineFailed(f"{what} failed: its process died (logs: {logs}): {error}") from error
    except ray.exceptions.GetTimeoutError as error:
        raise EngineFailed(f"{what} did not answer within {timeout_s:g} s (logs: {logs})") from error


class RayGenerator:
    """A `protocols.Generator` over R actors."""

    def __init__(self, actors: Sequence[Any], logs: Path) -> None:
        self._actors, self._logs = list(actors), logs

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """See `protocols.Generator.generate`."""
        shares = [share for share in np.array_split(np.arange(len(prompts)), len(self._actors)) if len(share)]
        references = [
            actor.generate.remote([prompts[index] for index in share], [int(seeds[index]) for index in share], settings)
            for actor, share in zip(self._actors, shares, strict=False)
        ]
        return SampleBatch.concatenate(fetch(references, "generation", self._logs))

    def load_checkpoint(self, checkpoint: Path, policy_version: int) -> None:
        """See `protocols.Generator.load_checkpoint`."""
        references = [actor.load_checkpoint.remote(checkpoint, policy_version) for actor in self._actors]
        fetch(references, "loading a checkpoint into the generators", self._logs)

    def load_weights(self, weights: Any, policy_version: int) -> None:
        """See `protocols.Generator.load_weights`; `weights` is a reference to a `PackedWeights`."""
        references = [actor.load_weights.remote(weights, policy_version) for actor in self._actors]
        fetch(references, "weight sync to the generators", self._logs)

    def close(self) -> None:
        """The actors end with the placement."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []


class RayLearner:
    """A `protocols.Learner` over L ranks."""

    def __init__(self, actors: Sequence[Any], logs: Path) -> None:
        self._actors, self._logs = list(actors), logs

    def _all(self, method: str, *arguments: Any) -> list[Any]:
        references = [getattr(actor, method).remote(*arguments) for actor in self._actors]
        results: list[Any] = fetch(references, f"learner: {method}", self._logs)
        return results

    def supervised(self, job: SupervisedJob, rows: SupervisedRows, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.supervised`."""
        return self._stage("supervised", job, rows, report)

    def preferences(self, job: PreferenceJob, pairs: PreferencePairs, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.preferences`."""
        return self._stage("preferences", job, pairs, report)

    def _stage(self, method: str, job: Job, examples: Any, report: Report) -> Mapping[str, float]:
        """Run a whole stage on every rank, passing on what rank 0 reports; rank 0's closing figures."""
        shared = ray.put(examples)
        references = [getattr(actor, method).remote(job, shared) for actor in self._actors]
        pending = references
        while pending:
            # one rank's failure must be seen while the others still wait for it
            done, pending = ray.wait(pending, num_returns=len(pending), timeout=POLL_S)
            for update, metrics in fetch(self._actors[0].progress.remote(), "learner: progress", self._logs):
                report(update, metrics)
            fetch(done, f"learner: {method}", self._logs)
        for update, metrics in fetch(self._actors[0].progress.remote(), "learner: progress", self._logs):
            report(update, metrics)
        figures: Mapping[str, float] = fetch(references[0], f"learner: {method}", self._logs)
        return figures

    def begin(self, checkpoint: Path, settings: PolicySettings, state: Path | None) -> None:
        """See `protocols.Learner.begin`."""
        self._all("begin", checkpoint, settings, state)

    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> Mapping[str, float]:
        """See `protocols.Learner.update`."""
        metrics: Mapping[str, float] = self._all("update", ray.put(batch), update, on_policy)[0]
        return metrics

    def figures(self, batch: PolicyBatch) -> PolicyFigures:
        """See `protocols.Learner.figures`."""
        found: PolicyFigures = self._all("figures", ray.put(batch))[0]
        return found

    def weights(self) -> Any:
        """A reference to rank 0's `PackedWeights` in the object store."""
        references = [actor.weights.remote() for actor in self._actors]
        fetch(references[1:], "learner: weights", self._logs)
        return references[0]

    def save_model(self, output: Path) -> None:
        """See `protocols.Learner.save_model`."""
        self._all("save_model", output)

    def save_state(self, folder: Path) -> None:
        """See `protocols.Learner.save_state`."""
        self._all("save_state", folder)

    def end(self) -> None:
        """See `protocols.Learner.end`."""
        self._all("end")

    def close(self) -> None:
        """The actors end with the placement."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []


class RayStepScorer:
    """A `protocols.StepScorer` over one actor."""

    def __init__(self, actor: Any, logs: Path) -> None:
        self._actor, self._logs = actor, logs

    def load(self, model: ScorerModel) -> None:
        """See `protocols.StepScorer.load`."""
        fetch(self._actor.load.remote(model), "loading a step scorer", self._logs)

    def score(self, batch: StepBatch) -> np.ndarray:
        """See `protocols.StepScorer.score`."""
        scores: np.ndarray = fetch(self._actor.score.remote(batch), "scoring steps", self._logs)
        return scores

    def close(self) -> None:
        """The actor ends with the placement."""
        if self._actor is not None:
            ray.kill(self._actor)
        self._actor = None
