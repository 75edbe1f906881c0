"""Many actors that look like one generator and one learner to the stages.

Prompts are cut into contiguous shares, one a generator; every learner rank gets the same call. Weights go from rank 0
to the generators as a reference into the object store: on one machine nothing is copied but into the models. Generators
and the step scorer are crews, whose members are replaced one by one (`orchestration.crew`); learner ranks are replaced
together, since one that is gone breaks the process group of all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

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
from rlreason.errors import EngineFailed, LearnerLost, RlreasonError, StaleWeights
from rlreason.orchestration.crew import Crew, Serving
from rlreason.orchestration.watchdog import TICK_S, Watchdog
from rlreason.recipe.schema import Resources

POLL_S = 0.5
PEERS_S = 10.0
"""Seconds that the other ranks have after one raised. A broken process group, or an error that all of them find, raises
in all; a rank that is still at it then waits in a collective for one that does not come.
"""


def fetch(references: Any, what: str, logs: Path, timeout_s: float | None = None) -> Any:
    """`ray.get` that raises the house's errors: what an actor raised on purpose, else `EngineFailed` naming the log."""
    try:
        return ray.get(references, timeout=timeout_s)
    except RayTaskError as error:
        if isinstance(error.cause, RlreasonError):
            raise error.cause from None
        raise EngineFailed(f"{what} failed: {type(error.cause).__name__}: {error.cause} (logs: {logs})") from error
    except ray.exceptions.GetTimeoutError as error:
        raise EngineFailed(f"{what} did not answer within {timeout_s:g} s (logs: {logs})") from error
    except RayError as error:
        raise EngineFailed(f"{what} failed: its process died (logs: {logs}): {error}") from error


@dataclass(frozen=True, slots=True)
class SharedWeights:
    """A learner's weights on their way: a reference to a `PackedWeights`, and its fingerprint as the learner has it."""

    reference: Any
    fingerprint: int | None


class RayGenerator:
    """A `protocols.Generator` over a crew."""

    def __init__(self, crew: Crew, resources: Resources) -> None:
        self._crew, self._resources = crew, resources
        self._policy_version = 0

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """See `protocols.Generator.generate`.

        Raises:
            StaleWeights: a generator sampled with another version than it was told to serve.
            EngineFailed: one was lost too often.
        """
        shares = [share for share in np.array_split(np.arange(len(prompts)), len(self._crew.members)) if len(share)]
        batches: list[SampleBatch] = self._crew.run(
            "generate",
            [
                ([prompts[index] for index in share], [int(seeds[index]) for index in share], settings)
                for share in shares
            ],
        )
        versions = {batch.policy_version for batch in batches}
        if versions != {self._policy_version}:
            raise StaleWeights(
                f"the generators sampled with policy version {', '.join(map(str, sorted(versions)))} and should serve "
                f"{self._policy_version}; no step was made; run again (the run resumes)"
            )
        return SampleBatch.concatenate(batches)

    def load_checkpoint(self, checkpoint: Path, policy_version: int) -> None:
        """See `protocols.Generator.load_checkpoint`."""
        arguments = (checkpoint, policy_version)
        self._serve("load_checkpoint", arguments, self._resources.start_timeout_s, policy_version, None)

    def load_weights(self, weights: SharedWeights, policy_version: int) -> None:
        """See `protocols.Generator.load_weights`; every generator must say that it has the learner's fingerprint.

        Raises:
            StaleWeights: one has another, or another version.
        """
        arguments = (weights.reference, policy_version)
        self._serve("load_weights", arguments, self._resources.wedged_after_s, policy_version, weights.fingerprint)

    def sleep(self) -> None:
        """Have every generator leave its GPU to the learner with which it shares it.

        One that is being started again is waited for: beside a learner at work it would find no room to load.

        Raises:
            EngineFailed: one was lost too often.
        """
        self._crew.each("sleep")

    def _serve(
        self, method: str, arguments: tuple[Any, ...], limit_s: float, version: int, fingerprint: int | None
    ) -> None:
        def confirm(name: str, answer: tuple[int, int | None]) -> None:
            if answer != (version, fingerprint):
                raise StaleWeights(
                    f"{name} serves (policy version, fingerprint) {answer} and was sent {(version, fingerprint)}; "
                    "run again (the run resumes)"
                )

        self._policy_version = version
        self._crew.serve(Serving(method, arguments, limit_s, confirm))

    def close(self) -> None:
        """Kill the actors."""
        self._crew.close()


class RayLearner:
    """A `protocols.Learner` over L ranks."""

    def __init__(
        self,
        actors: Sequence[Any],
        logs: Path,
        resources: Resources,
        start_again: Callable[[], Sequence[Any]],
        make_room: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            actors: a rank each, ready.
            logs: folder of their logs.
            resources: the recipe's, for its limits.
            start_again: new ranks in the place of dead ones, ready and empty.
            make_room: called before the ranks are given work; frees GPUs that others hold meanwhile.
        """
        self._actors, self._logs, self._resources, self._start_again = list(actors), logs, resources, start_again
        self._make_room = make_room
        self._sending: list[Any] = []
        self._restarts = 0

    def _call(self, method: str, *arguments: Any) -> list[Any]:
        if not self._actors:
            raise EngineFailed(f"learner: {method} was asked of ranks that were given up; run again (the run resumes)")
        sent, self._sending = self._sending, []
        try:
            fetch(sent, "learner: sending weights", self._logs, self._resources.wedged_after_s)
        except EngineFailed:
            self.close()  # others may wait in it for the one that failed
            raise
        self._make_room()
        return [getattr(actor, method).remote(*arguments) for actor in self._actors]

    def _all(self, method: str, *arguments: Any) -> list[Any]:
        return self._results(method, self._call(method, *arguments))

    def _results(self, method: str, references: Sequence[Any]) -> list[Any]:
        self._wait(method, references)
        found: list[Any] = fetch(references, f"learner: {method}", self._logs)
        return found

    def _wait(
        self, method: str, references: Sequence[Any], poll: Callable[[], None] | None = None, poll_s: float = TICK_S
    ) -> None:
        """Wait until a call of every rank has ended well. `poll` is called every `poll_s` meanwhile.

        Raises:
            LearnerLost: a rank died or wedged; all were started again.
            EngineFailed: a rank raised, or ranks were lost too often. Also what a rank raised on purpose.
        """
        dogs = {
            reference: Watchdog(actor, self._resources.wedged_after_s)
            for actor, reference in zip(self._actors, references, strict=True)
        }
        pending = list(references)
        while pending:
            # one rank's failure must be seen while the others still wait for it
            ended, pending = ray.wait(pending, num_returns=len(pending), timeout=poll_s)
            for reference in ended:
                if dead := self._death(method, reference, [other for other in references if other != reference]):
                    still_s = dogs[dead[0]].still_s
                    self._lose(references.index(dead[0]), "died", dead[1], still_s)
            for reference in pending:
                if dogs[reference].wedged():
                    still_s = dogs[reference].still_s
                    self._lose(references.index(reference), "wedged", f"no sign of life for {still_s:.0f} s", still_s)
            if poll is not None:
                poll()

    def _death(self, method: str, ended: Any, others: list[Any]) -> tuple[Any, str] | None:
        """(call of the rank that died, how), by a call that ended; None where it ended well.

        Raises:
            EngineFailed: the rank raised, and nobody died. Also what it raised on purpose. All ranks were killed where
                one of the others is still at it, since the stage's `end` would queue behind what never comes.
        """
        error = _failure(ended)
        if error is None:
            return None
        if not isinstance(error, RayTaskError):
            return ended, str(error)
        there, waiting = ray.wait(others, num_returns=len(others), timeout=PEERS_S) if others else ([], [])
        failures = [(other, _failure(other)) for other in there]
        deaths = [(other, str(death)) for other, death in failures if death and not isinstance(death, RayTaskError)]
        on_purpose = isinstance(error.cause, RlreasonError)
        if deaths and not on_purpose:  # it breaks the process group of all, and another rank may be the first to tell
            return deaths[0]
        if deaths or waiting:
            self.close()
        if on_purpose:
            raise error.cause from None
        raise EngineFailed(
            f"learner: {method} failed: {type(error.cause).__name__}: {error.cause} (logs: {self._logs})"
        ) from error

    def _lose(self, rank: int, kind: str, cause: str, detect_s: float) -> NoReturn:
        """Kill every rank and start all of them again, within their bounds.

        Raises:
            LearnerLost: they are ready.
            EngineFailed: they were lost too often, or do not start.
        """
        cause = " ".join(cause.split())
        self.close()
        self._restarts += 1
        if self._restarts > self._resources.max_restarts:
            raise EngineFailed(
                f"learner-{rank} {kind}, and the learner was lost {self._restarts} times (resources.max_restarts "
                f"{self._resources.max_restarts}): {cause} (logs: {self._logs})"
            )
        begun = time.monotonic()
        self._actors = list(self._start_again())
        raise LearnerLost(f"learner-{rank}", kind, cause, round(detect_s, 3), round(time.monotonic() - begun, 3))

    def supervised(self, job: SupervisedJob, rows: SupervisedRows, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.supervised`."""
        return self._stage("supervised", job, rows, report)

    def preferences(self, job: PreferenceJob, pairs: PreferencePairs, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.preferences`."""
        return self._stage("preferences", job, pairs, report)

    def _stage(self, method: str, job: Job, examples: Any, report: Report) -> Mapping[str, float]:
        """Run a whole stage on every rank, passing on what rank 0 reports; rank 0's closing figures."""
        references = self._call(method, job, ray.put(examples))
        asked = self._actors[0].progress.remote()

        def pass_on() -> None:
            nonlocal asked
            if not ray.wait([asked], timeout=0)[0]:
                return
            # where it failed, the stage's own call fails as well, and says why
            told = ray.get(asked) if _failure(asked) is None else []
            asked = self._actors[0].progress.remote()
            for update, metrics in told:
                report(update, metrics)

        self._wait(method, references, pass_on, POLL_S)
        last = fetch([asked, self._actors[0].progress.remote()], "learner: progress", self._logs)
        for update, metrics in (each for told in last for each in told):
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

    def weights(self) -> SharedWeights:
        """A reference to rank 0's `PackedWeights` in the object store, and their fingerprint."""
        # a rank returns the fingerprint and the weights apart: the one is fetched, and says that the other is there
        returned = [actor.weights.options(num_returns=2).remote() for actor in self._actors]
        fingerprints = [fingerprint for fingerprint, _ in returned]
        self._wait("weights", fingerprints)
        shared = SharedWeights(returned[0][1], fetch(fingerprints[0], "learner: weights", self._logs))
        if self._resources.sync == "nccl":  # the ranks send while the generators load
            self._sending = [actor.send_weights.remote() for actor in self._actors]
        return shared

    def save_model(self, output: Path) -> None:
        """See `protocols.Learner.save_model`."""
        self._all("save_model", output)

    def save_state(self, folder: Path, about: Mapping[str, Any], keep: int = 1) -> None:
        """See `protocols.Learner.save_state`."""
        self._all("save_state", folder, about, keep)

    def end(self) -> None:
        """See `protocols.Learner.end`. Stages call it whatever happened, which must not be hidden by what comes of it:
        ranks that were given up have nothing to free, and generators, of which one may have failed, make no room."""
        sent, self._sending = self._sending, []
        if sent and ray.wait(sent, num_returns=len(sent), timeout=PEERS_S)[1]:
            self.close()  # they send to a generator that is gone
        self._results("end", [actor.end.remote() for actor in self._actors])

    def close(self) -> None:
        """Kill the ranks."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors, self._sending = [], []


def _failure(ended: Any) -> RayError | None:
    """What a call that ended raised; None where it ended well."""
    try:
        ray.get(ended)
    except RayError as error:
        return error
    return None


class RayStepScorer:
    """A `protocols.StepScorer` over a crew of one."""

    def __init__(self, crew: Crew, resources: Resources) -> None:
        self._crew, self._resources = crew, resources

    def load(self, model: ScorerModel) -> None:
        """See `protocols.StepScorer.load`."""
        self._crew.serve(Serving("load", (model,), self._resources.start_timeout_s, confirm=lambda name, answer: None))

    def score(self, batch: StepBatch) -> np.ndarray:
        """See `protocols.StepScorer.score`."""
        (scores,) = self._crew.run("score", [(batch,)])
        found: np.ndarray = scores
        return found

    def close(self) -> None:
        """Kill the actor."""
        self._crew.close()
