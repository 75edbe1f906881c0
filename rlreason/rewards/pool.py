"""Scores completions in killable worker processes, so that no reward can hang, crash or poison a run.

A completion's text and problem go in, a Score comes out, in order; what could not be scored is a Score with a typed
`failure`, never a silent 0.0. Environments answer episodes of several turns in the same way. One thread of this process
watches each worker: requests travel in chunks for speed, but deadlines hold for each completion in wall time, inside C
code too, because the watcher sees which one is being worked on and kills the worker with its children. Only the guilty
completion is lost; the others of its chunk are scored again. No signals or event loops are used here, so the pool works
from any thread and inside Ray actors.

One completion does not decide over the next: a worker in which functions of the grader or the plug-in were replaced is
itself replaced (`guard`), and a `fresh` reward scores each completion in a fork (`isolated`). What is not stopped: a
plug-in is its user's own code, with its user's rights, files and network; without `fresh`, plain values that it keeps
(counters, caches, random state) live as long as its worker. Text that a model wrote is only ever text here: running it
as code is for `sandbox`.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from rlreason.errors import Blame, ScoringFailed, TaskError, one_of
from rlreason.recipe.schema import Rubric
from rlreason.rewards.failures import FailureKind, Unscored
from rlreason.rewards.grading import CHECK, Answer, Judgement, Request, Setup, answered, combined, overdue
from rlreason.rewards.process import CHECK_DEADLINE_S, Fault, Outcome, WorkerProcess
from rlreason.rewards.rubric import parts_of
from rlreason.rewards.wire import pack_judgements, pack_requests, unpack_judgements
from rlreason.types import Incident, Problem, ReportIncident, Score

CHUNK = 128
"""Most completions that travel together."""
LOSSES = 8
"""Completions that may cost their worker while none of their batch has a reward yet; then the reward is taken to hang
or crash always, and scoring stops instead of paying a deadline and a new worker for every other one."""


Result = TypeVar("Result", Score, Answer)


class _Batch(Generic[Result]):
    """Where the results of one call of the pool come in, from the watchers' threads to the caller's."""

    def __init__(self, size: int, finish: Callable[[Judgement], Result]) -> None:
        self._size = size
        self._finish: Callable[[Judgement], Result] = finish
        self._arrivals: queue.SimpleQueue[tuple[Sequence[int], bytes] | _Loss | BaseException] = queue.SimpleQueue()
        self.over = False
        """Nobody waits for it any more."""

    def put(self, positions: Sequence[int], packed: bytes) -> None:
        self._arrivals.put((positions, packed))

    def count_loss(self, cause: str) -> None:
        """One more completion cost its worker: after `LOSSES`, and nothing scored, the batch fails."""
        self._arrivals.put(_Loss(cause))

    def fail(self, error: BaseException) -> None:
        self._arrivals.put(error)

    def wait(self) -> list[Result]:
        """All results, in the order of their positions. They are put together here, while the workers go on."""
        results: dict[int, Result] = {}
        losses = 0
        try:
            while len(results) < self._size:
                match self._arrivals.get():
                    case (positions, packed):
                        results.update(zip(positions, map(self._finish, unpack_judgements(packed)), strict=True))
                    case _Loss(cause):
                        losses += 1
                        if losses >= LOSSES and all(result.failure for result in results.values()):
                            raise ScoringFailed(
                                f"{losses} completions hung or crashed their worker and none could be scored; the last "
                                f"time: {cause}. No step was made; mend the reward or raise its deadline_s, and run "
                                "again (the run resumes)"
                            )
                    case error:
                        raise error
        finally:
            self.over = True
        return [results[position] for position in range(self._size)]


@dataclass(frozen=True, slots=True)
class _Loss:
    """`cause`: the typed failure of a completion that cost its worker."""

    cause: str


@dataclass(frozen=True)
class _Chunk:
    """Requests that travel together. `retried`: one that a worker died with before, now alone."""

    batch: _Batch[Any] = field(repr=False)
    positions: Sequence[int]
    requests: Sequence[Request]
    retried: bool = False

    @cached_property
    def packed(self) -> bytes:
        return pack_requests(self.requests)

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
        report: ReportIncident = lambda incident: None,
    ) -> None:
        """Starts the workers and returns at once; `warm_up` waits for them.

        Args:
            rubric: the recipe's `rewards`.
            task_specs: the recipe's name of a task -> {"name": ..., "type": ..., "parameters": ...}.
            folders: where reward files are looked for first, such as the recipe's own folder.
            task_builder: "module:function" that builds a task from those three.
            log: file that what plug-ins print is appended to; None: it is thrown away.
            report: told of every worker that is lost, from the watchers' threads.
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
        self._log, self._report = log, report
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

    def score(self, requests: Sequence[tuple[Problem, str]], turns: Sequence[Sequence[str]] = ()) -> list[Score]:
        """Score completions.

        Args:
            requests: [N] pairs of a problem and a completion's text.
            turns: [N], what the policy wrote in each turn of the episodes that were played, no turns for the other
                completions; empty: none was played.
        Returns:
            [N] Scores in the same order. Verdicts on answer, steps and derivation are the task's own check, also where
            the reward failed.
        Raises:
            RewardError: a task or a reward cannot be loaded.
            TaskError: a problem is of a task that the pool was not given.
            ScoringFailed: the pool is closed, its workers cannot be started, or the reward seems to hang always.
        """
        played = turns or [()] * len(requests)
        asked = [Request(*pair, turns=tuple(own)) for pair, own in zip(requests, played, strict=True)]
        return self._all(asked, partial(combined, self._setup.combine, self._setup.parts))

    def respond(self, episodes: Sequence[tuple[Problem, Sequence[str]]]) -> list[Answer]:
        """Have the tasks' environments answer episodes.

        Args:
            episodes: [N] pairs of a problem and the policy's turns so far.
        Returns:
            [N] Answers in the same order; one whose environment raised, hung or crashed has a failure.
        Raises:
            RewardError, TaskError, ScoringFailed: as `score`.
        """
        asked = [Request(problem, "", turns=tuple(turns), answer=True) for problem, turns in episodes]
        return self._all(asked, answered)

    def _all(self, requests: Sequence[Request], finish: Callable[[Judgement], Result]) -> list[Result]:
        """The result of every request, in order."""
        for request in requests:
            if request.problem.task not in self._setup.tasks:
                named = f"task of problem {request.problem.id!r}"
                raise TaskError(one_of(named, request.problem.task, self._setup.tasks))
        if not requests:
            return []
        batch = _Batch(len(requests), finish)
        start = 0
        for size in _chunk_sizes(len(requests), len(self._watchers)):
            self._enqueue(_Chunk(batch, range(start, start + size), requests[start : start + size]))
            start += size
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
                outcome = worker.score(chunk.packed, len(chunk.requests))
                self._settle(chunk, outcome)
                if not outcome.reusable:
                    _end(worker)
                    worker = self._launch()  # it loads while this thread waits for the next chunk
            except Exception as error:  # cannot be loaded, or closed: whoever waits must hear of it
                chunk.batch.fail(error)
                _end(worker)
                worker = None
        _end(worker)

    def _enqueue(self, chunk: _Chunk) -> None:
        _ = chunk.packed  # made in the caller's thread, while the workers are busy with the chunks before
        with self._lock:
            if self._stop.is_set():
                raise ScoringFailed("the scoring pool is closed; make a new one")
            self._queue.put(chunk)
        time.sleep(0)  # lets a watcher that waits for it go first

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
        scored = 0
        for delivery in outcome.deliveries:
            chunk.batch.put(chunk.positions[scored : scored + delivery.count], delivery.packed)
            scored += delivery.count
        rest = chunk.part(scored, len(chunk.requests))
        fault = outcome.fault
        if fault is None or not rest.requests:
            return
        together = fault.item == len(chunk.requests)
        if together and len(rest.requests) > 1:
            self._tell(fault, "infrastructure", "its completions are scored again, one by one")
            for index in range(len(rest.requests)):
                self._queue.put(rest.part(index, index + 1))
            return
        # At none (item None): the worker died before it began, perhaps of what an earlier completion left in it.
        # Beyond the chunk, or at one that is scored: something wrote over the worker's word.
        at = fault.item
        suspect = at - scored if at is not None and scored <= at < len(chunk.requests) else 0
        guilty = rest.part(suspect, suspect + 1, retried=True)
        if chunk.retried or fault.kind == "tampered" or (fault.kind == "timeout" and fault.phase != CHECK):
            self._tell(fault, "plug-in", "one completion is recorded with this failure, the others are scored")
            self._blame(guilty, fault)
        else:
            self._tell(fault, "infrastructure", "the completion that it was at is scored again, alone")
            self._queue.put(guilty)  # first, that it may meet the new worker as clean as can be
        for innocent in (rest.part(0, suspect), rest.part(suspect + 1, len(rest.requests))):
            if innocent.requests:
                self._queue.put(innocent)

    def _tell(self, fault: Fault, blame: Blame, done: str) -> None:
        """Report a worker that is lost. That it was the completion's fault is only known when it is lost again."""
        lost = "nothing" if blame == "infrastructure" else "one score"
        cause = str(self._failure(fault))
        self._report(Incident("rewards", fault.kind, blame, cause, f"worker replaced; {done}", lost))

    def _blame(self, guilty: _Chunk, fault: Fault) -> None:
        """Record the failure; a plug-in's failure is recorded beside the task's verdict, so the check is run again."""
        request = guilty.requests[0]
        failure = self._failure(fault)
        if failure.kind == FailureKind.CHECK_FAILED:
            judgement = Judgement(failure=request.failure or str(failure))
            guilty.batch.put(guilty.positions, pack_judgements([judgement]))
            return
        guilty.batch.count_loss(str(failure))
        self._queue.put(replace(guilty, requests=[replace(request, failure=str(failure))], retried=False))

    def _failure(self, fault: Fault) -> Unscored:
        if fault.kind == "tampered":
            specs = ", ".join(part.spec for part in self._setup.parts if not part.fresh)
            return Unscored(
                FailureKind.PLUGIN_TAMPERED, f"{specs} changed {fault.ending} while scoring this completion"
            )
        if fault.phase == CHECK:
            hung = fault.kind == "timeout"
            cause = f"took over {CHECK_DEADLINE_S:g} s" if hung else f"the worker {fault.ending}"
            return Unscored(FailureKind.CHECK_FAILED, cause)
        part = self._setup.parts[fault.phase - 1]
        match fault.kind:
            case "timeout":
                return Unscored(FailureKind.PLUGIN_TIMEOUT, overdue(part))
            case "memory":
                gib = self._setup.memory_bytes / 2**30
                return Unscored(FailureKind.PLUGIN_OUT_OF_MEMORY, f"{part.spec} met the cap of {gib:g} GiB")
            case "crash":
                return Unscored(FailureKind.PLUGIN_CRASHED, f"{part.spec}: the worker {fault.ending}")


def _chunk_sizes(count: int, workers: int) -> Iterator[int]:
    """Half of what is left, shared out, each time: few trips at first, and no worker waits long for the last one."""
    least = max(1, min(CHUNK // 4, count // (8 * workers)))
    while count:
        size = min(count, max(least, min(CHUNK, count // (2 * workers))))
        yield size
        count -= size


def _end(worker: WorkerProcess | None) -> None:
    if worker is not None:
        worker.kill()
