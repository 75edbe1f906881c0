"""Actors that stand in for each other: work goes to whoever is free, and one that is lost is started again.

Lost is an actor whose process died, that raised what nobody raised on purpose, or that has work and does not move (see
`watchdog`). It is killed and made anew in its bundle, and has no work until it serves what the others serve. What it
was working on is done by the others, whole: with a seed a request the outcome is the same, whoever works it out.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import ray
from ray.exceptions import RayError, RayTaskError

from rlreason.errors import EngineFailed, RlreasonError
from rlreason.orchestration.watchdog import TICK_S, Watchdog
from rlreason.recipe.schema import Resources
from rlreason.types import Incident, ReportIncident

PLACED_AFTER_S = 50.0
"""An actor that is started again must have a place by then; its node may be gone, and no other have room."""
MOST_TRIES = 2
"""How many actors may raise over the same work before the work is blamed."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What every member of a crew serves: the call that makes it so.

    Attributes:
        method, arguments: of the actor. References among the arguments are kept: a later start needs them again.
        limit_s: longest that the call may take.
        confirm: given a member's name and its answer; raises where it serves something else.
    """

    method: str
    arguments: tuple[Any, ...]
    limit_s: float
    confirm: Callable[[str, Any], None]


@dataclass(slots=True)
class _Work:
    """The calls of one `Crew.run`: what waits, what came of the others, how often each was tried."""

    method: str
    calls: Sequence[tuple[Any, ...]]
    waiting: deque[int]
    results: dict[int, Any]
    raised: Counter[int]


@dataclass(frozen=True, slots=True)
class _Call:
    """What an actor is at: it loads ("start"), it is given what it is to serve, or it works on a call of `work`."""

    kind: Literal["start", "serve", "work"]
    reference: Any
    watchdog: Watchdog
    serving: Serving | None = None
    work: _Work | None = None
    number: int = -1


class Member:
    """An actor of a crew, and how to make it again."""

    def __init__(self, name: str, actor: Any, make: Callable[[], Any]) -> None:
        """
        Args:
            name: of its log, such as "generator-0".
            actor: ready to work; has `ready` and `pulse` beside the methods that the crew is asked for.
            make: makes another actor in its place.
        """
        self.name, self.actor, self.make = name, actor, make
        self.restarts = 0
        self.call: _Call | None = None
        self.serving: Serving | None = None
        """What it was given last, and took."""
        self.lost: tuple[float, Incident] | None = None
        """When it was given up, and the incident; until it is back."""


class Crew:
    """Its members in order. Calls from several threads take turns.

    Of a member that is lost an incident is reported at once, and again, with the time that took, when it is back.
    """

    def __init__(
        self,
        members: Sequence[Member],
        resources: Resources,
        logs: Path,
        report: ReportIncident,
        missing_place: Callable[[], str] = str,
    ) -> None:
        """
        Args:
            resources: the recipe's, for its limits.
            logs: folder of the actors' logs.
            report: told of every incident.
            missing_place: says what the placement lacks; "" where every actor has its place.
        """
        self.members = list(members)
        self._resources, self._logs, self._report, self._missing_place = resources, logs, report, missing_place
        self._serving: Serving | None = None
        self._lock = threading.RLock()

    def serve(self, serving: Serving) -> None:
        """Have every member serve this from now on. One that is being started again is not waited for.

        Raises:
            EngineFailed: a member was lost too often. Also what an actor, or `confirm`, raised on purpose.
        """
        with self._lock:
            self._serving = serving
            for member in self.members:
                if member.call is None:
                    self._give(member, serving)
            while any(member.call is not None and member.lost is None for member in self.members):
                self._advance()

    def run(self, method: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Results of N calls of a method, in order; each is made by whichever member is free.

        Raises:
            EngineFailed: a member was lost too often, or two of them raised over the same call. Also what an actor
                raised on purpose.
        """
        work = _Work(method, calls, deque(range(len(calls))), {}, Counter())
        with self._lock:
            while len(work.results) < len(calls):
                for member in self.members:
                    if member.call is None and work.waiting:
                        self._employ(member, work, work.waiting.popleft())
                self._advance(waiting=bool(work.waiting))
        return [work.results[number] for number in range(len(calls))]

    def each(self, method: str) -> None:
        """Have every member make a call of its own. One that is being started again is waited for.

        Raises:
            EngineFailed: a member was lost too often. Also what an actor raised on purpose.
        """
        work = _Work(method, [()] * len(self.members), deque(range(len(self.members))), {}, Counter())
        with self._lock:
            while len(work.results) < len(self.members):
                for number, member in enumerate(self.members):
                    if member.call is None and number in work.waiting:
                        work.waiting.remove(number)
                        self._employ(member, work, number)
                self._advance(waiting=bool(work.waiting))

    def close(self) -> None:
        """Kill the actors. Safe to call twice."""
        for member in self.members:
            ray.kill(member.actor)
        self.members = []

    def _give(self, member: Member, serving: Serving) -> None:
        reference = getattr(member.actor, serving.method).remote(*serving.arguments)
        member.call = _Call("serve", reference, Watchdog(member.actor, serving.limit_s), serving=serving)

    def _employ(self, member: Member, work: _Work, number: int) -> None:
        reference = getattr(member.actor, work.method).remote(*work.calls[number])
        watchdog = Watchdog(member.actor, self._resources.wedged_after_s)
        member.call = _Call("work", reference, watchdog, work=work, number=number)

    def _advance(self, waiting: bool = False) -> None:
        """Wait until a call ends, or it is time to look after those who work; settle the calls that ended."""
        busy = {member.call.reference: member for member in self.members if member.call is not None}
        # one at a time only where something follows from it: many members would cost the square of their number
        soon = waiting or any(member.lost is not None for member in self.members)
        ended, going = ray.wait(list(busy), num_returns=1 if soon else len(busy), timeout=TICK_S)
        for reference in ended:
            self._settle(busy[reference])
        for reference in going:
            self._look_after(busy[reference])

    def _settle(self, member: Member) -> None:
        call, member.call = member.call, None
        assert call is not None
        try:
            answer = ray.get(call.reference)
        except RayTaskError as error:
            if isinstance(error.cause, RlreasonError):
                raise error.cause from None
            self._lose(member, call, "raised", f"{type(error.cause).__name__}: {error.cause}")
        except RayError as error:  # its process or its node died
            self._lose(member, call, "died", str(error))
        else:
            self._take(member, call, answer)

    def _take(self, member: Member, call: _Call, answer: Any) -> None:
        """A call ended well."""
        if call.work is not None:
            call.work.results[call.number] = answer
        else:
            member.serving = call.serving
        if member.serving is not self._serving:  # it has just started, or weights have changed meanwhile
            assert self._serving is not None
            self._give(member, self._serving)
            return
        if call.serving is not None:
            call.serving.confirm(member.name, answer)
        if member.lost is not None:
            since, incident = member.lost
            member.lost = None
            recover_s = round(time.monotonic() - since, 3)
            self._report(replace(incident, done="killed and started again", recover_s=recover_s))

    def _look_after(self, member: Member) -> None:
        """Give up a member that has not moved for too long, or has no place to start in."""
        call = member.call
        assert call is not None
        if call.kind == "start":
            assert member.lost is not None
            if time.monotonic() - member.lost[0] > PLACED_AFTER_S and (missing := self._missing_place()):
                raise EngineFailed(f"{member.name} was lost and has no place to be started again: {missing}")
            wedged = call.watchdog.still_s > self._resources.start_timeout_s
        else:
            wedged = call.watchdog.wedged()
        if wedged:
            at = {"start": "loading", "serve": "taking new weights", "work": "at work"}[call.kind]
            self._lose(member, call, "wedged", f"it did not move for {call.watchdog.still_s:.0f} s while it was {at}")

    def _lose(self, member: Member, call: _Call, kind: str, cause: str) -> None:
        """Kill a member and start it again, within its bounds; its work goes back to the others."""
        cause = " ".join(cause.split())
        lost = "nothing"
        if call.work is not None:
            call.work.waiting.appendleft(call.number)
            call.work.raised[call.number] += kind == "raised"
            lost = f"nothing: its {call.work.method} was asked again"
        member.restarts += 1
        often = member.restarts > self._resources.max_restarts
        unfit = call.work is not None and call.work.raised[call.number] >= MOST_TRIES
        done = "given up" if often or unfit else "killed, being started again"
        incident = Incident(
            member.name, kind, EngineFailed.blame, cause, done, lost, detect_s=round(call.watchdog.still_s, 3)
        )
        self._report(incident)
        ray.kill(member.actor)
        if often or unfit:
            why = (
                f"the same call raised in {MOST_TRIES} engines"
                if unfit
                else f"it was lost {member.restarts} times (resources.max_restarts {self._resources.max_restarts})"
            )
            raise EngineFailed(f"{member.name} {kind}, and {why}: {cause} (logs: {self._logs})")
        member.actor = member.make()
        member.lost = (member.lost[0] if member.lost else time.monotonic(), incident)
        watchdog = Watchdog(member.actor, self._resources.start_timeout_s)
        member.call = _Call("start", member.actor.ready.remote(), watchdog)
