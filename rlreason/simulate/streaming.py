"""A pipeline without phases: generators and learner run on, as long as no rollout gets staler than allowed.

A discrete-event model. A prompt may be begun while fewer than (policy version + max_staleness + 1) x P were (AReaL's
bound, Fu et al. 2025); the learner takes the P oldest groups that are complete and scored. A group that was overtaken
until it is too old is dropped, counted, and replaced. New weights reach a generator in one of two ways: it ends what it
has begun before it takes them (`partial` False), or it stops at once, takes them, reads what is half-written again
under them, and goes on (True).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import numpy as np

from rlreason.simulate.costs import Costs
from rlreason.simulate.timeline import Timeline


@dataclass(slots=True)
class _Group:
    """A prompt: its place in the order of beginning, its completions, and the version its first token came from."""

    number: int
    lengths: list[int]
    missing: int
    born: int = -1


@dataclass(slots=True)
class _Chunk:
    """Completions of one group that one generator is to begin."""

    group: _Group
    lengths: list[int]


@dataclass(slots=True)
class _Engine:
    """A generator.

    Attributes:
        running: heap of (decoding steps done at which it ends, a number, its group, steps done when it began).
        chunk: what it begins next.
        steps: decoding steps done, fractions included.
        at: time up to which all of this holds.
        sync_left, reading_left: seconds of these, as of `at`, before decoding goes on.
        stamp: which of its announced ends is valid.
        stale: new weights wait until what is running has ended.
        busy, synced, full: seconds of reading and decoding, of taking weights, and what a full batch would have taken.
    """

    running: list[tuple[float, int, _Group, float]] = field(default_factory=list)
    chunk: _Chunk | None = None
    steps: float = 0.0
    at: float = 0.0
    sync_left: float = 0.0
    reading_left: float = 0.0
    stamp: int = 0
    stale: bool = False
    busy: float = 0.0
    synced: float = 0.0
    full: float = 0.0


class _Queue:
    """Prompts in the order of their beginning, cut into what one generator takes, as many as the bound allows."""

    def __init__(self, costs: Costs, chunk: int, random: np.random.Generator) -> None:
        self._costs, self._chunk, self._random = costs, chunk, random
        self._drawn: list[list[int]] = []
        self._cut: list[_Chunk] = []
        self._begun = 0
        self.allowed = 0
        """Groups that may be begun, those that were included."""

    @property
    def open(self) -> bool:
        """Whether something may be begun."""
        return bool(self._cut) or self._begun < self.allowed

    def take(self) -> _Chunk | None:
        """What is to be begun next; None where nothing may be."""
        if not self._cut:
            if not self.open:
                return None
            if not self._drawn:
                self._drawn = self._costs.draw(self._random).tolist()
            lengths = self._drawn.pop()
            group = _Group(self._begun, lengths, len(lengths))
            self._begun += 1
            self._cut = [
                _Chunk(group, lengths[start : start + self._chunk]) for start in range(0, len(lengths), self._chunk)
            ]
        return self._cut.pop()


class _Stream:
    """The state of one simulation; each method is something that happens. `run` is the loop."""

    def __init__(self, costs: Costs, max_staleness: int, partial: bool, random: np.random.Generator) -> None:
        self.costs, self.max_staleness, self.partial = costs, max_staleness, partial
        work, generators = costs.work, costs.layout.generators
        self.step: list[float] = costs.step_seconds.tolist()
        # a group stays with one generator, unless there are more generators than groups
        chunk = min(work.group, max(1, work.completions // generators))
        chunks = (max_staleness + 1) * work.prompts * math.ceil(work.group / chunk)
        self.most = min(work.sequences, chunk * math.ceil(chunks / generators))
        self.full_s = self.step[self.most] / self.most
        self.queue = _Queue(costs, chunk, random)
        self.queue.allowed = (max_staleness + 1) * work.prompts
        self.engines = [_Engine() for _ in range(generators)]
        self.events: list[tuple[float, int, _Engine | _Group | None, int]] = []
        self.posted = 0
        self.now = 0.0
        self.version = 0
        self.scored: list[tuple[int, _Group]] = []
        self.batch: list[_Group] = []
        self.learner_free = True
        self.learned_s, self.tokens, self.dropped = 0.0, 0, 0
        self.staleness = np.zeros(max_staleness + 1, dtype=np.int64)

    def post(self, wait: float, who: _Engine | _Group | None, stamp: int = 0) -> None:
        """Something will happen: a generator's next completion ends, a group is scored, the learner is done (None)."""
        self.posted += 1
        heapq.heappush(self.events, (self.now + wait, self.posted, who, stamp))

    def advance(self, engine: _Engine) -> None:
        """Bring a generator to the present."""
        left = self.now - engine.at
        engine.at = self.now
        synced = min(left, engine.sync_left)
        engine.sync_left -= synced
        engine.synced += synced
        read = min(left - synced, engine.reading_left)
        engine.reading_left -= read
        engine.busy += read
        engine.full += read
        left -= synced + read
        if engine.running and left > 0:
            count = len(engine.running)
            done = left / self.step[count]
            engine.steps += done
            engine.busy += left
            engine.full += done * count * self.full_s

    def announce(self, engine: _Engine) -> None:
        """Post when the next completion of a generator ends."""
        engine.stamp += 1
        if engine.running:
            steps = max(0.0, engine.running[0][0] - engine.steps)
            decoding = steps * self.step[len(engine.running)]
            self.post(engine.sync_left + engine.reading_left + decoding, engine, engine.stamp)

    def admit(self, engine: _Engine) -> bool:
        """Begin one more completion, if there is room and one may be begun."""
        if engine.stale or len(engine.running) >= self.most:
            return False
        if engine.chunk is None:
            engine.chunk = self.queue.take()
            if engine.chunk is None:
                return False
            engine.reading_left += self.costs.prompt_s
        group, lengths = engine.chunk.group, engine.chunk.lengths
        if group.born < 0:
            group.born = self.version
        self.posted += 1
        heapq.heappush(engine.running, (engine.steps + lengths.pop(), self.posted, group, engine.steps))
        if not lengths:
            engine.chunk = None
        return True

    def release(self) -> None:
        """More may be begun than before: the emptiest generators first."""
        loads = [
            (len(engine.running), number)
            for number, engine in enumerate(self.engines)
            if not engine.stale and len(engine.running) < self.most
        ]
        heapq.heapify(loads)
        begun: set[int] = set()
        while loads and self.queue.open:
            number = loads[0][1]
            engine = self.engines[number]
            if number not in begun:
                self.advance(engine)
                begun.add(number)
            while self.admit(engine) and engine.chunk is not None:
                pass
            if len(engine.running) < self.most:
                heapq.heapreplace(loads, (len(engine.running), number))
            else:
                heapq.heappop(loads)
        for number in sorted(begun):
            self.announce(self.engines[number])

    def ended(self, engine: _Engine) -> None:
        """The completion of a generator that was to end next has ended."""
        self.advance(engine)
        engine.steps, _, group, _ = heapq.heappop(engine.running)
        group.missing -= 1
        if not group.missing:
            self.post(self.costs.score_s(len(group.lengths)), group)
        if engine.stale and not engine.running:
            self.take_weights(engine)
        while self.admit(engine):
            pass
        self.announce(engine)

    def take_weights(self, engine: _Engine) -> None:
        """A generator stops for the new weights. What is half-written is read again under them."""
        engine.stale = False
        written = sum(engine.steps - began for _, _, _, began in engine.running)
        engine.sync_left = self.costs.sync_s + self.costs.read_token_s * written
        engine.sync_left += self.costs.prompt_s * len(engine.running)

    def is_scored(self, group: _Group) -> None:
        """A group is ready for the learner, or too old by now."""
        if self.version - group.born > self.max_staleness:
            self.drop(1)
        else:
            heapq.heappush(self.scored, (group.number, group))
            self.start_learning()

    def drop(self, groups: int) -> None:
        """Groups that are too old are thrown away; others may be begun in their place."""
        self.dropped += groups * self.costs.work.group
        self.queue.allowed += groups
        self.release()

    def start_learning(self) -> None:
        """The learner takes the oldest groups, where it is free and there are enough."""
        if not self.learner_free or len(self.scored) < self.costs.work.prompts:
            return
        self.batch = [heapq.heappop(self.scored)[1] for _ in range(self.costs.work.prompts)]
        self.learner_free = False
        lengths = np.array([group.lengths for group in self.batch])
        learning = self.costs.learn_s(lengths)
        self.post(learning + self.costs.drive_s, None)

    def learned(self) -> None:
        """An update is made, and its weights go out."""
        for group in self.batch:
            self.staleness[self.version - group.born] += len(group.lengths)
        self.tokens += sum(sum(group.lengths) for group in self.batch)
        self.learned_s += self.costs.learn_s(np.array([group.lengths for group in self.batch]))
        self.batch = []
        self.version += 1
        self.queue.allowed += self.costs.work.prompts
        for engine in self.engines:
            if self.partial or not engine.running:
                self.advance(engine)
                self.take_weights(engine)
                self.announce(engine)
            else:
                engine.stale = True
        kept = [each for each in self.scored if self.version - each[1].born <= self.max_staleness]
        old, self.scored = len(self.scored) - len(kept), kept
        heapq.heapify(self.scored)
        self.drop(old)
        self.post(self.costs.sync_s, None)

    def run(self, version: int) -> None:
        """Go on until so many updates are made."""
        if not self.posted:
            self.release()
        while self.version < version:
            self.now, _, who, stamp = heapq.heappop(self.events)
            if isinstance(who, _Engine):
                if stamp == who.stamp:
                    self.ended(who)
            elif isinstance(who, _Group):
                self.is_scored(who)
            elif self.batch:
                self.learned()
            else:
                self.learner_free = True
                self.start_learning()

    def totals(self) -> tuple[float, ...]:
        """(now, busy, synced, full, learned) seconds, the middle ones summed over the generators."""
        for engine in self.engines:
            self.advance(engine)
        sums = (sum(getattr(engine, name) for engine in self.engines) for name in ("busy", "synced", "full"))
        return self.now, *sums, self.learned_s


def fill(max_staleness: int) -> int:
    """Updates in which the pipeline fills; they are not counted."""
    return max_staleness + 1


def run_stream(
    costs: Costs, updates: int, random: np.random.Generator, *, max_staleness: int, partial: bool
) -> Timeline:
    """Updates of the pipeline once it has filled."""
    stream = _Stream(costs, max_staleness, partial, random)
    first = fill(max_staleness)
    stream.run(first)
    before, staleness, tokens, dropped = stream.totals(), stream.staleness.copy(), stream.tokens, stream.dropped
    ends = [stream.now]
    for version in range(first + 1, first + updates + 1):
        stream.run(version)
        ends.append(stream.now)
    window, busy, synced, full, learned = (after - then for after, then in zip(stream.totals(), before, strict=True))
    layout, width = costs.layout, costs.layout.tensor_parallel
    driver, sync = updates * costs.drive_s, updates * costs.sync_s
    spent = {
        "generate": width * full,
        "tail": width * (busy - full),
        "held": max(0.0, layout.generator_gpus * window - width * (busy + synced)),
        "learn": layout.learners * learned,
        "starved": layout.learners * max(0.0, window - learned - driver - sync),
        "sync": width * synced + layout.learners * sync,
        "driver": layout.learners * driver,
    }
    return Timeline(
        np.diff(ends), spent, stream.staleness - staleness, stream.tokens - tokens, stream.dropped - dropped
    )
