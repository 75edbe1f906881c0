"""The inside of a scoring worker: a process of its own that reads chunks of requests and answers with Scores.

`process.WorkerProcess` starts it and watches it. What is being worked on stands in shared memory, so that the watcher
knows which completion and which reward hangs or crashed even when this interpreter is stuck inside C code. Model text
is a string here and never meets eval or exec.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import resource
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from rlreason.errors import RlreasonError
from rlreason.rewards.failures import user_traceback
from rlreason.rewards.grading import Grader, Request, Setup
from rlreason.types import Score

OUT_OF_MEMORY = 99
"""Exit status of a worker that met a MemoryError: what it holds cannot be trusted to be freed."""
SEND_EVERY_S = 0.05
"""Seconds of finished Scores that a crash can cost, to be computed again."""
IDLE = 0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass(frozen=True, slots=True)
class Hello:
    """First message: ready, or why not."""

    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The next Scores of a chunk, in order. `left_children`: the plug-ins left processes behind."""

    scores: list[Score]
    last: bool = False
    left_children: bool = False


class Progress:
    """A number in memory shared between a worker and its watcher: which step of which completion is being worked on."""

    def __init__(self, descriptor: int, phases: int) -> None:
        """`phases`: 1 for the check, and one a part of the rubric."""
        self._cell = memoryview(mmap.mmap(descriptor, mmap.PAGESIZE)).cast("q")
        self._phases = phases

    def mark(self, item: int, phase: int) -> None:
        """Say that work on `phase` of completion `item` begins."""
        self._cell[0] = 1 + item * self._phases + phase

    def clear(self) -> None:
        """Say that no completion is being worked on."""
        self._cell[0] = IDLE

    @property
    def value(self) -> int:
        """Changes with every mark within a chunk; IDLE where nothing is worked on."""
        return self._cell[0]

    def position(self, value: int) -> tuple[int, int] | None:
        """(item, phase) of a value, None for IDLE."""
        return None if value == IDLE else divmod(value - 1, self._phases)


def main(channel_descriptor: int, progress_descriptor: int, parent: int) -> None:
    """Serve until the channel closes. Never returns: threads that a plug-in left must not keep the process."""
    for descriptor in (channel_descriptor, progress_descriptor):
        os.set_inheritable(descriptor, False)
    _die_with(parent)
    channel = Connection(channel_descriptor)
    setup: Setup = pickle.loads(channel.recv_bytes())
    _limit(setup.memory_bytes)
    grader, refusal = _load(setup)
    _send(channel, Hello(refusal))
    if grader is not None:
        _serve(channel, grader, Progress(progress_descriptor, 1 + len(setup.parts)))
    os._exit(0)


def _load(setup: Setup) -> tuple[Grader | None, str]:
    try:
        return Grader(setup), ""
    except RlreasonError as error:
        return None, str(error)
    except MemoryError:
        gib = setup.memory_bytes / 2**30
        return None, f"the tasks and rewards do not fit into {gib:g} GiB of address space; raise rewards.memory_gib"
    except BaseException as error:
        return None, f"a task cannot be built:\n{user_traceback(error)}"


class _Outbox:
    """Collects a chunk's Scores and sends them on now and then."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self._process = os.getpid()
        self._done: list[Score] = []
        self._sent = time.monotonic()

    def deliver(self, score: Score) -> None:
        if os.getpid() != self._process:  # a plug-in forked and its child came back here
            os._exit(0)
        self._done.append(score)
        if time.monotonic() - self._sent > SEND_EVERY_S:
            self._send(Delivery(self._done))

    def finish(self) -> None:
        self._send(Delivery(self._done, last=True, left_children=_has_children()))

    def _send(self, delivery: Delivery) -> None:
        _send(self._channel, delivery)
        self._done = []
        self._sent = time.monotonic()


def _serve(channel: Connection, grader: Grader, progress: Progress) -> None:
    while True:
        try:
            requests: list[Request] = pickle.loads(channel.recv_bytes())
        except EOFError:
            return
        outbox = _Outbox(channel)
        try:
            grader.grade(requests, progress.mark, outbox.deliver)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        progress.clear()
        outbox.finish()


def _send(channel: Connection, message: Hello | Delivery) -> None:
    channel.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def _has_children() -> bool:
    """Whether any child process is left, a finished one included: one system call, unlike a look at all processes."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _limit(memory_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    cap = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (cap, cap))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, and hand it the orphans of its own children."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(0)
