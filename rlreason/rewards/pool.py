"""Scores completions in killable worker processes, so that no reward can hang, crash or poison a run.

A completion's text and problem go in, a Score comes out, in order; what could not be scored is a Score with a typed
`failure`, never a silent 0.0. One thread of this process watches each worker: requests travel in chunks for speed, but
deadlines hold for each completion in wall time, inside C code too, because the watcher sees which one is being worked
on and kills the worker with its children. Only the guilty completion is lost; the others of its chunk are scored
again. No signals or event loops are used here, so the pool works from any thread and inside Ray actors.

What is not stopped: a plug-in is its user's own code, with its user's rights, files and network. What it leaves in its
worker (module globals, threads, patched functions) is still there for later completions of that worker. Text that a
model wrote is only ever text: running it as code needs a stronger sandbox than this.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rlreason.errors import ScoringFailed, TaskError, one_of
from rlreason.recipe.schema import Rubric
from rlreason.rewards.failures import FailureKind, Unscored
from rlreason.rewards.grading import CHECK, Request, Setup, overdue
from rlreason.rewards.process import CHECK_DEADLINE_S, Fault, Outcome, WorkerProcess
from rlreason.rewards.rubric import parts_of
from rlreason.types import Problem, Score

CHUNK = 64
"""Most completions that travel together."""
HANGS = 8
"""Completions that may pass their deadline while none of their batch has a reward yet; then the reward is taken to hang
always, and scoring stops instead of waiting for the deadline of every other one."""


class _Batch:
    """The Scores of one call of `ScoringPool.score`, as they come in."""

    def __init__(self, size: int) -> None:
        self._scores: list[Score | None] = [None] * size
        self._missing = size
        self._hangs = 0
        self._lock = threading.Lock()
        self._finished: Future[list[Score]] = Future()

    def put(self, positions: Sequence[int], scores: Sequence[Score]) -> None:
        with self._lock:
            for position, score in zip(positions, scores, strict=True):
                self._scores[position] = score
            self._missing -= len(scores)
            if not self._missing and not self._finished.done():
                self._finished.set_result([score for score in self._scores if score is not None])

    def count_hang(self, cause: str) -> None:
        """One more completion passed its deadline: after `HANGS`, and nothing scored, the batch fails."""
        with self._lock:
            self._hangs += 1
            hopeless = self._hangs >= HANGS and not any(score and score.reward is not None for score in self._scores)
        if hopeless:
            self.fail(
                ScoringFailed(
                    f"{self._hangs} completions passed their deadline and none could be scored; the last time: "
                    f"{cause}. No step was made; mend the reward or raise its deadline_s, and run again (the run "
                    "resumes)"
                )
            )

    def fail(self, error: BaseException) -> None:
        with self._lock:
            if not self._finished.done():
                self._finished.set_exception(error)

    @property
    def over(self) -> bool:
        """Nobody waits for it any more."""
        return self._finished.done()

    def wait(self) -> list[Score]:
        return self._finished.result()


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Requests that travel together. `retried`: one that a worker died with before, now alone."""

    batch: _Batch = field(repr=False)
    positions: list[int]
    requests: list[Request]
    retried: bool = False

    def part(self, start: int, stop: int, *, retried: bool = False) -> _Chunk:
        return _Chunk(self.batch, self.positions[start:stop], self.requests[start:stop], retried)


class ScoringPool:
    """The worker processes of one rubric. A context manager; safe to call from several threads."""

    def __init__(
        self,
        rubric: Rubric,
        task_specs: Mapping[str, Mapping[str, Any]],
        folders: Sequence[Path] = (),
        *,
        task_builder: str = "rlreason.tasks.registry:build_task",
        log: Path | None = None,
    ) -> None:
        """Starts the workers and returns at once; `warm_up` waits for them.

        Args:
            rubric: the recipe's `rewards`.
            task_specs: the recipe's name of a task -> {"name": ..., "type": ..., "parameters": ...}.
            folders: where reward files are looked for first, such as the recipe's own folder.
            task_builder: "module:function" that builds a task from those three.
            log: file that what plug-ins print is appended to; None: it is thrown away.
        Raises:
            RewardError: two parts of one name, or a weight that is not finite.
        """
        self._setup = Setup(
            task_builder=task_builder,
            tasks={name: dict(spec) for name, spec in task_specs.items()},
            combine=rubric.combine,
            parts=parts_of(rubric),
            folders=tuple(str(folder) for folder in folders),
            memory_bytes=int(rubric.memory_gib * 2**30),
        )
        self._log = log
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Chunk | None] = queue.SimpleQueue()
        self._ready: list[Future[None]] = [Future() for _ in range(rubric.workers)]
        self._watchers = [
            threading.Thread(target=self._watch, args=(ready,), name=f"scoring-{index}", daemon=True)
            for index, ready in enumerate(self._ready)
        ]
        for watcher in self._watchers:
            watcher.start()

    def warm_up(self) -> None:
        """Wait until every worker has built the tasks and loaded the rewards.

        Raises:
            RewardError: a task or a reward cannot be loaded.
        """
        for ready in self._ready:
            ready.result()

    def score(self, requests: Sequence[tuple[Problem, str]]) -> list[Score]:
        """Score completions.

        Args:
            requests: [N] pairs of a problem and a completion's text.
        Returns:
            [N] Scores in the same order. Verdicts on answer, steps and derivation are the task's own check, also where
            the reward failed.
        Raises:
            RewardError: a task or a reward cannot be loaded.
            TaskError: a problem is of a task that the pool was not given.
            ScoringFailed: the pool is closed, its workers cannot be started, or the reward seems to hang always.
        """
        for problem, _ in requests:
            if problem.task not in self._setup.tasks:
                raise TaskError(one_of(f"task of problem {problem.id!r}", problem.task, self._setup.tasks))
        if not requests:
            return []
        batch = _Batch(len(requests))
        everything = _Chunk(batch, list(range(len(requests))), [Request(*request) for request in requests])
        # small enough that every worker gets several, so that none waits long for the last
        size = min(CHUNK, max(1, len(requests) // (4 * len(self._watchers))))
        with self._lock:
            if self._stop.is_set():
                raise ScoringFailed("the scoring pool is closed; make a new one")
            for start in range(0, len(requests), size):
                self._queue.put(everything.part(start, start + size))
        return batch.wait()

    def close(self) -> None:
        """Kill the workers; a `score` under way in another thread ends with ScoringFailed. May be called again."""
        with self._lock:
            self._stop.set()
            self._fail_queued()
            for _ in self._watchers:
                self._queue.put(None)
        for watcher in self._watchers:
            watcher.join()
        self._fail_queued()  # what was queued again meanwhile

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _watch(self, ready: Future[None]) -> None:
        """Keep one worker alive and fed, until the pool closes."""
        worker: WorkerProcess | None = None
        try:
            worker = self._launch()
            worker.wait_ready()
            ready.set_result(None)
        except Exception as error:
            ready.set_exception(error)
            _end(worker)
            worker = None
        while chunk := self._queue.get():
            if chunk.batch.over:
                continue
            try:
                worker = worker or self._launch()
                worker.wait_ready()
                outcome = worker.score(chunk.requests)
                self._settle(chunk, outcome)
                if not outcome.reusable:
                    _end(worker)
                    worker = self._launch()  # it loads while this thread waits for the next chunk
            except Exception as error:  # cannot be loaded, or closed: whoever waits must hear of it
                chunk.batch.fail(error)
                _end(worker)
                worker = None
        _end(worker)

    def _fail_queued(self) -> None:
        while not self._queue.empty():
            with contextlib.suppress(queue.Empty):
                if chunk := self._queue.get_nowait():
                    chunk.batch.fail(ScoringFailed("the scoring pool was closed while completions were being scored"))

    def _launch(self) -> WorkerProcess:
        try:
            return WorkerProcess(self._setup, self._log, self._stop)
        except OSError as error:
            raise ScoringFailed(f"a scoring worker cannot be started: {error}") from error

    def _settle(self, chunk: _Chunk, outcome: Outcome) -> None:
        """Hand in what was scored; where the worker failed, find the guilty completion and queue the others again."""
        done = len(outcome.scores)
        chunk.batch.put(chunk.positions[:done], outcome.scores)
        rest = chunk.part(done, len(chunk.requests))
        fault = outcome.fault
        if fault is None or not rest.requests:
            return
        together = fault.item == len(chunk.requests)
        if together and len(rest.requests) > 1:
            for index in range(len(rest.requests)):
                self._queue.put(rest.part(index, index + 1))
            return
        # At none (item None): the worker died before it began, perhaps of what an earlier completion left in it.
        suspect = 0 if fault.item is None or together else fault.item - done
        guilty = rest.part(suspect, suspect + 1, retried=True)
        if chunk.retried or (fault.kind == "timeout" and fault.phase != CHECK):
            self._blame(guilty, fault)
        else:
            self._queue.put(guilty)  # first, that it may meet the new worker as clean as can be
        for innocent in (rest.part(0, suspect), rest.part(suspect + 1, len(rest.requests))):
            if innocent.requests:
                self._queue.put(innocent)

    def _blame(self, guilty: _Chunk, fault: Fault) -> None:
        """Record the failure; a plug-in's failure is recorded beside the task's verdict, so the check is run again."""
        request = guilty.requests[0]
        if fault.phase == CHECK:
            cause = f"took over {CHECK_DEADLINE_S:g} s" if fault.kind == "timeout" else f"the worker {fault.ending}"
            failure = request.failure or str(Unscored(FailureKind.CHECK_FAILED, cause))
            guilty.batch.put(guilty.positions, [Score(reward=None, failure=failure)])
            return
        part = self._setup.parts[fault.phase - 1]
        match fault.kind:
            case "timeout":
                failed = Unscored(FailureKind.PLUGIN_TIMEOUT, overdue(part))
                guilty.batch.count_hang(str(failed))
            case "memory":
                gib = self._setup.memory_bytes / 2**30
                failed = Unscored(FailureKind.PLUGIN_OUT_OF_MEMORY, f"{part.spec} met the cap of {gib:g} GiB")
            case "crash":
                failed = Unscored(FailureKind.PLUGIN_CRASHED, f"{part.spec}: the worker {fault.ending}")
        self._queue.put(replace(guilty, requests=[replace(request, failure=str(failed))], retried=False))


def _end(worker: WorkerProcess | None) -> None:
    if worker is not None:
        worker.kill()
