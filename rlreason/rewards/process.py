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
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import psutil

from rlreason.errors import RewardError, ScoringFailed
from rlreason.rewards.grading import CHECK, Request, Setup
from rlreason.rewards.worker import OUT_OF_MEMORY, Delivery, Hello, Progress
from rlreason.types import Score

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
        kind: "timeout": killed for it; "crash": it died; "memory": it met its address-space cap.
        item: index in the chunk of the completion it was at; the chunk's length where it was at all of them together;
            None where it was at none.
        phase: `grading.CHECK`, or 1 + the part's index.
        ending: how the process ended, in words.
    """

    kind: Literal["timeout", "crash", "memory"]
    item: int | None
    phase: int
    ending: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a chunk: the Scores of its first completions (of all, where there is no fault).

    `reusable`: the worker may take another chunk; it left no processes behind.
    """

    scores: list[Score]
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
        self._send(setup)

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

    def score(self, requests: Sequence[Request]) -> Outcome:
        """Have a chunk scored. With a fault the process has been killed and must be replaced.

        Raises:
            ScoringFailed: the pool was closed meanwhile.
        """
        scores: list[Score] = []
        seen, since = self._progress.value, time.monotonic()
        self._send(list(requests))
        while True:
            message, fault = self._receive(min(since + self._allowed(seen, len(requests)), time.monotonic() + _TICK_S))
            if isinstance(message, Delivery):
                scores += message.scores
                if message.last:
                    return Outcome(scores, None, reusable=not message.left_children)
            elif fault == "crash":
                return self._fault("crash", scores)
            now = self._progress.value
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() >= since + self._allowed(seen, len(requests)):
                return self._fault("timeout", scores)

    def kill(self) -> None:
        """Kill the worker with everything it started, and wait for it. May be called again."""
        if self._process.returncode is not None:
            return
        # Not reaped yet, so its number is still its own. Its children are listed while it lives to lead to them.
        with contextlib.suppress(psutil.Error):
            for stray in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    stray.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def _allowed(self, mark: int, length: int) -> float:
        """Seconds that the step of the work at `mark` may take."""
        position = self._progress.position(mark)
        if position is None:
            return CHECK_DEADLINE_S
        item, phase = position
        return self._deadlines[phase] + (GRACE_S if item == length else 0.0)

    def _fault(self, kind: Literal["timeout", "crash"], scores: list[Score]) -> Outcome:
        position = self._progress.position(self._progress.value)
        self.kill()
        memory = kind == "crash" and self._process.returncode == OUT_OF_MEMORY
        item, phase = position or (None, CHECK)
        return Outcome(scores, Fault("memory" if memory else kind, item, phase, self._ending()), reusable=False)

    def _send(self, message: Setup | list[Request]) -> None:
        # a worker that died is noticed by the receive that follows
        with contextlib.suppress(OSError):
            self._channel.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def _receive(self, until: float) -> tuple[Any, Literal["", "timeout", "crash"]]:
        """The next message, or why there is none."""
        while True:
            if self._stop.is_set():
                raise ScoringFailed("the scoring pool was closed while completions were being scored")
            try:
                if self._channel.poll(max(0.0, min(_TICK_S, until - time.monotonic()))):
                    return pickle.loads(self._channel.recv_bytes()), ""
            except (EOFError, OSError):
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
        code = self._process.returncode
        if code is not None and code < 0:
            return f"was killed by signal {-code} ({signal.strsignal(-code)})"
        return f"exited with status {code}"
