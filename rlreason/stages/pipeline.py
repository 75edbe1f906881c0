"""Rollouts that are drawn ahead: a thread samples and scores for later updates while the learner learns from this one.

    learner:     weights of version n, what update n showed  ->  released
    the thread:  observes, loads the weights, draws the batch of a later update  ->  ready  ->  taken

The thread alone touches the curriculum, the generators and the rewards while it runs; the learner's side gives it
weights and outcomes and takes batches, under one lock. It never works further ahead than the recipe lets it, and in
lockstep what it has observed and which weights it samples with follow from the update's number alone. What is saved of
it is the batches that wait (`spares`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from rlreason.algorithms.budget import Spending
from rlreason.errors import CheckpointError
from rlreason.recipe.asynchrony import Asynchrony
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.stages import OnPolicyStage
from rlreason.records.schema import ACTORS
from rlreason.stages.chunks import ChunkedGenerator
from rlreason.stages.context import Context
from rlreason.stages.draws import Clock, Drawn, draw_groups
from rlreason.stages.schedule import Schedule
from rlreason.stages.sources import Batch, Outcome, Span, tell


@dataclass(frozen=True, slots=True)
class _Work:
    """The batch to draw next: for which update, with which weights, in the place of which batch that was dropped."""

    update: int
    version: int
    again: Drawn | None


class _Stopped(Exception):
    """The stage wants no more rollouts."""


class Pipeline:
    """A `RolloutSource` that samples ahead."""

    def __init__(
        self,
        context: Context,
        stage: PlannedStage,
        config: OnPolicyStage,
        said: Asynchrony,
        schedule: Schedule,
        *,
        done: int,
        weights: Any,
        spare: Mapping[int, Batch],
    ) -> None:
        """
        Args:
            said: the stage's `asynchrony`.
            schedule: as it was when the last of `spare` was drawn.
            done: updates made.
            weights: of version `done`.
            spare: batches that were drawn for later updates already, by update, from `done` + 1 without a gap.
        Raises:
            CheckpointError: in lockstep, `spare` lacks batches that weights before `done` sampled.
        """
        wanted = min(said.batches_ahead, config.updates - done) if done and said.mode == "lockstep" else 0
        if len(spare) < wanted:
            states = context.state(stage.id)
            raise CheckpointError(
                f"the state after update {done} in {states} holds spare rollouts of {len(spare)} later updates, and in "
                f"lockstep {wanted} were sampled before it; restore it whole, or delete {states} to begin the stage "
                "again"
            )
        self._context, self._stage, self._config, self._said, self._schedule = context, stage, config, said, schedule
        generator = context.engines.generator
        if said.partial_rollouts:
            generator = ChunkedGenerator(generator, said.chunk_tokens, self._refresh)
        self._sampling = replace(context, engines=replace(context.engines, generator=generator))
        self._changed = threading.Condition()
        self._ready = dict(spare)
        self._again: dict[int, Drawn] = {}
        self._next = done + len(spare) + 1
        self._released, self._weights = done, {done: weights}
        self._outcomes: list[Outcome] = []
        self._held: list[tuple[int, Any]] = []  # served and not released
        self._shown: list[Outcome] = []  # observed and not released
        self._loaded = -1
        self._unfinished = Spending()
        self._drawing = self._stopping = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sampling", daemon=True)

    # --- the learner's side

    def take(self, update: int, clock: Clock) -> Batch:
        """See `RolloutSource.take`. Waits for the batch; one that is too old by now is drawn again.

        Raises:
            Whatever the drawing raised.
        """
        dropped = 0
        with clock.phase("wait"), self._changed:
            while True:
                self._wait(lambda: update in self._ready)
                batch = self._ready.pop(update)
                self._context.meter.add(batch.spent)
                stale = int((staleness(batch.drawn, update) > self._said.max_staleness).sum())
                if not stale or self._said.when_stale == "reweight":
                    break
                dropped += len(self._again.setdefault(update, batch.drawn).groups) * self._config.group_size
                self._changed.notify_all()
            waiting = len(self._ready)
            self._changed.notify_all()
        ages = staleness(batch.drawn, update)
        figures = {
            "staleness_mean": float(ages.mean()),
            "staleness_max": float(ages.max()),
            "dropped_stale": float(dropped),
            "reweighted_stale": float(stale),
            "spare_batches": float(waiting),
        }
        return replace(batch, figures={**batch.figures, **figures})

    def serve(self, version: int, weights: Any) -> None:
        """See `RolloutSource.serve`: when they are released and it is their turn."""
        self._held.append((version, weights))

    def observe(self, outcome: Outcome) -> None:
        """See `RolloutSource.observe`: in lockstep before the first batch that its weights sample is drawn, else before
        the next."""
        self._shown.append(outcome)

    def settle(self) -> dict[int, Batch]:
        """See `RolloutSource.settle`: all that released weights may sample is drawn, and all that was observed told."""
        with self._changed:
            self._wait(lambda: not self._drawing and self._upcoming() is None)
            spare = dict(self._ready)
        self._tell_all()
        return spare

    def release(self) -> None:
        """See `RolloutSource.release`."""
        with self._changed:
            for version, weights in self._held:
                self._weights[version] = weights
                self._released = version
            self._outcomes += self._shown
            self._held, self._shown = [], []
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop the thread when it has drawn what it is drawing; count what was sampled in vain."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        if error is None:
            self._tell_all()
            for spent in (self._unfinished, *(batch.spent for batch in self._ready.values())):
                self._context.meter.add(spent)

    def _wait(self, condition: Callable[[], bool]) -> None:
        """With the lock held, until it is true.

        Raises:
            Whatever the thread raised, as it was; what was drawn before that is still to be had.
        """
        self._changed.wait_for(lambda: condition() or self._failure is not None)
        if self._failure is not None and not condition():
            raise self._failure

    def _tell_all(self) -> None:
        """Have the curriculum observe what it has not yet; the thread is at rest."""
        for outcome in (*self._outcomes, *self._shown):
            tell(self._context, self._stage, self._schedule, outcome)
        self._outcomes, self._shown = [], []

    # --- the thread's side

    def _run(self) -> None:
        try:
            while True:
                self._draw()
        except _Stopped:
            self._unfinished = self._context.meter.take()
        except BaseException as error:  # the learner's side raises it
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _draw(self) -> None:
        """Draw the next batch, when it may be."""
        waiting = Clock()
        with waiting.phase("wait"), self._changed:
            self._changed.wait_for(lambda: self._stopping or self._upcoming() is not None)
            if self._stopping:
                raise _Stopped
            work = self._upcoming()
            assert work is not None
            self._drawing = True
            known = [outcome for outcome in self._outcomes if outcome.update <= work.version]
            self._outcomes = self._outcomes[len(known) :]
        for outcome in known:
            tell(self._context, self._stage, self._schedule, outcome)
        clock = Clock()
        self._load(work.version, clock)
        drawn = draw_groups(
            self._sampling, self._stage, self._config, work.update, self._schedule, clock, again=work.again
        )
        timed = {"wait": waiting, "load": clock, "generate": clock, "score": clock}
        figures = {f"sampling_seconds_{name}": own.seconds(name) for name, own in timed.items()}
        batch = Batch(drawn, self._context.meter.take(), clock.spans, figures)
        with self._changed:
            self._drawing = False
            self._ready[work.update] = batch
            if self._again.pop(work.update, None) is None:
                self._next += 1
            self._changed.notify_all()

    def _upcoming(self) -> _Work | None:
        """What may be drawn now; with the lock held."""
        if self._again:
            update = min(self._again)
            return _Work(update, self._released, self._again[update])
        ahead = self._said.batches_ahead
        if self._next > min(self._config.updates, self._released + 1 + ahead):
            return None
        due = max(0, self._next - 1 - ahead)
        return _Work(self._next, due if self._said.mode == "lockstep" else self._released, None)

    def _load(self, version: int, clock: Clock) -> None:
        """Have the generators serve that version, and forget older ones: none is asked for again."""
        if version == self._loaded:
            return
        with self._changed:
            weights = self._weights[version]
            self._weights = {kept: each for kept, each in self._weights.items() if kept >= version}
        with clock.phase("load"):
            self._context.engines.generator.load_weights(weights, policy_version=version)
        self._loaded = version

    def _refresh(self) -> None:
        """Between chunks: serve the newest weights."""
        if self._stopping:
            raise _Stopped
        self._load(self._released, Clock())


def staleness(drawn: Drawn, update: int) -> np.ndarray:
    """[P, G] int, updates between the oldest weights that sampled a rollout and those that `update` learns with."""
    versions = [[rollout.completion.policy_version for rollout in group.rollouts] for group in drawn.groups]
    return update - 1 - np.array(versions)


def timeline_columns(stage: str, update: int, spans: Sequence[Span]) -> dict[str, list[Any]]:
    """One row a piece of work (`records.schema.TIMELINE`), waits left out."""
    work = [span for span in spans if span[0] in ACTORS]
    return {
        "stage": [stage] * len(work),
        "update": [update] * len(work),
        "actor": [ACTORS[phase] for phase, _, _ in work],
        "phase": [phase for phase, _, _ in work],
        "start": [start for _, start, _ in work],
        "end": [end for _, _, end in work],
    }
