"""One scoring worker seen from outside: starting it, giving it a chunk, and killing it when it overruns or dies.

Not a `multiprocessing.Process`: that would import the driver's `__main__` again (torch and all) in every worker. The
worker leads a session of its own, so that Ctrl-C passes it by and it can be killed with everything it started. A
process of a plug-in that leaves that session and outlives its own parent chain after the worker crashed is not found.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import pickle
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from rlreason.errors import RewardError, ScoringFailed
from rlreason.rewards.children import ending, kill_tree
from rlreason.rewards.grading import CHECK, Setup
from rlreason.rewards.isolated import OUT_OF_MEMORY
from rlreason.rewards.worker import TAMPERED, Delivery, Hello, Progress

CHECK_DEADLINE_S = 30.0
"""Wall-clock seconds a task's own check of one completion may take."""
GRACE_S = 0.5
"""Beyond the deadline, for calls that take a whole chunk: an async reward ends its own overdue completions."""
START_DEADLINE_S = 120.0
"""Seconds for building the tasks and importing the rewards."""
_TICK_S = 0.05
_STALL_S = 30
"""Seconds a message may be under way: a worker stopped in the middle of one must not hold its watcher."""
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from rlreason.rewards.worker import main; main(*map(int, sys.argv[2:]))"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a worker did not finish a chunk.

    Attributes:
        kind: "timeout": killed for it; "crash": it died; "memory": it met its address-space cap; "tampered": one of
            the completions without a Score changed what the scoring relies on.
        item: index in the chunk of the completion it was at; the chunk's length where it was at all of them together;
            None where it was at none.
        phase: `grading.CHECK`, or 1 + the part's index.
        ending: how the process ended, or what was changed, in words.
    """

    kind: Literal["timeout", "crash", "memory", "tampered"]
    item: int | None
    phase: int
    ending: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a chunk: the Scores of its first completions (of all, where there is no fault).

    `reusable`: the worker may take another chunk; it left no processes behind.
    """

    deliveries: list[Delivery]
    fault: Fault | None
    reusable: bool


class WorkerProcess:
    """A running worker. Used by one thread, the one that made it: when that thread ends, the kernel ends the worker."""

    def __init__(self, setup: Setup, log: Path | None, stop: threading.Event) -> None:
        """Starts the process and returns at once.

        Args:
            setup: what the worker builds itself from.
            log: file that what plug-ins print is appended to; None: it is thrown away.
            stop: where set, waits end with ScoringFailed.
        """
        self._deadlines = (CHECK_DEADLINE_S, *(part.deadline_s for part in setup.parts))
        self._stop = stop
        self._ready = False
        ours, theirs = socket.socketpair()
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _STALL_S, 0))
        with tempfile.TemporaryFile() as shared, theirs, contextlib.ExitStack() as files:
            shared.truncate(mmap.PAGESIZE)
            self._progress = Progress(shared.fileno(), len(self._deadlines))
            output = files.enter_context(log.open("ab")) if log else subprocess.DEVNULL
            descriptors = (theirs.fileno(), shared.fileno())
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _BOOT,
                    json.dumps([*map(str, sys.path)]),
                    *map(str, (*descriptors, os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=descriptors,
                start_new_session=True,
                # one worker is one core's worth; thread pools would also reserve address space under the cap
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        self._channel = Connection(ours.detach())
        self._send(pickle.dumps(setup, pickle.HIGHEST_PROTOCOL))

    def wait_ready(self) -> None:
        """Wait until the tasks are built and the rewards loaded.

        Raises:
            RewardError: they cannot be, or not within `START_DEADLINE_S`.
            ScoringFailed: the pool was closed meanwhile.
        """
        if self._ready:
            return
        hello, fault = self._receive(time.monotonic() + START_DEADLINE_S)
        if fault == "timeout":
            raise RewardError(
                f"the tasks and rewards were not loaded within {START_DEADLINE_S:g} s; does a reward's module "
                "download or compute something when it is imported? Move that into the function"
            )
        if fault:
            self.kill()
            raise RewardError(
                f"the scoring worker {self._ending()} while it built the tasks and imported the rewards; "
                "import the reward by hand to see why"
            )
        assert isinstance(hello, Hello)
        if hello.refusal:
            raise RewardError(hello.refusal)
        self._ready = True

    def score(self, packed: bytes, length: int) -> Outcome:
        """Have a chunk scored. With a fault the process has been killed and must be replaced.

        Args:
            packed: the chunk's Requests, by `wire.pack_requests`.
            length: how many.
        Raises:
            ScoringFailed: the pool was closed meanwhile.
        """
        deliveries: list[Delivery] = []
        seen, since = self._progress.value, time.monotonic()
        self._send(packed)
        while True:
            message, fault = self._receive(min(since + self._allowed(seen, length), time.monotonic() + _TICK_S))
            if isinstance(message, Delivery):
                deliveries.append(message)
                if message.last:
                    return Outcome(deliveries, None, reusable=not message.left_children)
            elif fault == "crash":
                return self._fault("crash", deliveries, length)
            now = self._progress.value
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() >= since + self._allowed(seen, length):
                return self._fault("timeout", deliveries, length)

    def kill(self) -> None:
        """Kill the worker with everything it started, and wait for it. May be called again."""
        kill_tree(self._process)
        self._channel.close()

    def _allowed(self, mark: int, length: int) -> float:
        """Seconds that the step of the work at `mark` may take."""
        position = self._progress.position(mark)
        if position is None:
            return CHECK_DEADLINE_S
        item, phase = position
        return self._deadlines[phase] + (GRACE_S if item == length else 0.0)

    def _fault(self, kind: Literal["timeout", "crash"], deliveries: list[Delivery], length: int) -> Outcome:
        item, phase = self._progress.position(self._progress.value) or (None, CHECK)
        self.kill()
        code = self._process.returncode if kind == "crash" else None
        if code == TAMPERED:
            fault = Fault("tampered", length, CHECK, self._progress.note)
        else:
            fault = Fault("memory" if code == OUT_OF_MEMORY else kind, item, phase, self._ending())
        return Outcome(deliveries, fault, reusable=False)

    def _send(self, message: bytes) -> None:
        # a worker that died is noticed by the receive that follows
        with contextlib.suppress(OSError):
            self._channel.send_bytes(message)

    def _receive(self, until: float) -> tuple[Any, Literal["", "timeout", "crash"]]:
        """The next message, or why there is none."""
        while True:
            if self._stop.is_set():
                raise ScoringFailed("the scoring pool was closed while completions were being scored")
            try:
                if self._channel.poll(max(0.0, min(_TICK_S, until - time.monotonic()))):
                    return pickle.loads(self._channel.recv_bytes()), ""
            except Exception:  # it ended, or what it sends with was changed
                return None, "crash"
            # a child of a plug-in may hold the channel open after the worker died
            if self._has_exited() and not self._channel.poll(0):
                return None, "crash"
            if time.monotonic() >= until:
                return None, "timeout"

    def _has_exited(self) -> bool:
        """Whether it has, without reaping it: `kill` still needs its number to be its own."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _ending(self) -> str:
        assert self._process.returncode is not None, "asked once it was killed"
        return ending(self._process.returncode)
