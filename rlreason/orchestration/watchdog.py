"""Whether an actor that has work still moves. Ray sees that a process died; that it stopped or hangs, it does not."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.exceptions import RayError

TICK_S = 1.0
"""Longest that somebody who waits for actors does not look after them."""
LOOKS = 4
"""How often an actor is asked in the time after which it counts as wedged."""


class Watchdog:
    """Asks an actor for its `pulse`, a number that changes while it gets on, from a thread of its own there.

    A generator's is the number of steps that its engine has made: a busy engine is probed by its own decoding. Those of
    the others say only that the process is alive and its interpreter runs.
    """

    def __init__(self, actor: Any, wedged_after_s: float) -> None:
        self._actor, self._wedged_after_s = actor, wedged_after_s
        self._moved = self._asked_at = time.monotonic()
        self._asked: Any = None
        self._seen: int | None = None

    @property
    def still_s(self) -> float:
        """Seconds since it was seen to move, or was given its work."""
        return time.monotonic() - self._moved

    def wedged(self) -> bool:
        """Look, where it is time to, and say whether it has not moved for too long. Never waits."""
        if self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
            self._hear(self._asked)
            self._asked = None
        if self._asked is None and time.monotonic() - self._asked_at >= self._wedged_after_s / LOOKS:
            self._asked, self._asked_at = self._actor.pulse.remote(), time.monotonic()
        return self.still_s > self._wedged_after_s

    def _hear(self, answer: Any) -> None:
        try:
            pulse: int = ray.get(answer)
        except RayError:  # the work that it has says so too, and is asked
            return
        if pulse != self._seen:
            self._seen, self._moved = pulse, time.monotonic()
