"""The inside of a scoring worker: a process of its own that reads chunks of requests and answers with judgements.

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
from rlreason.rewards.children import has_children
from rlreason.rewards.failures import user_traceback
from rlreason.rewards.grading import Grader, Judgement, Request, Setup
from rlreason.rewards.guard import Guard
from rlreason.rewards.isolated import OUT_OF_MEMORY
from rlreason.rewards.wire import pack_judgements

TAMPERED = 98
"""Exit status of a worker that found itself changed; `Progress.note` says what was. It sends nothing more: what it
would send with may be what was changed."""
SEND_EVERY_S = 0.05
"""Seconds of finished judgements that a crash can cost, to be computed again."""
IDLE = 0
_NOTE_BYTES = 1000
_NOTE = slice(8, 8 + _NOTE_BYTES)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass(frozen=True, slots=True)
class Hello:
    """First message: ready, or why not."""

    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The next judgements of a chunk, in order.

    Attributes:
        count: how many.
        packed: them, to be read by `wire.unpack_judgements`.
        last: the chunk is done.
        left_children: the plug-ins left processes behind.
    """

    count: int
    packed: bytes
    last: bool = False
    left_children: bool = False


class Progress:
    """Memory shared between a worker and its watcher: a number, which step of which completion is being worked on."""

    def __init__(self, descriptor: int, phases: int) -> None:
        """`phases`: 1 for the check, and one a part of the rubric."""
        self._page = mmap.mmap(descriptor, mmap.PAGESIZE)
        self._cell = memoryview(self._page).cast("q")
        self._phases = phases

    def mark(self, item: int, phase: int) -> None:
        """Say that work on `phase` of completion `item` begins."""
        self._cell[0] = 1 + item * self._phases + phase

    def clear(self) -> None:
        """Say that no completion is being worked on."""
        self._cell[0] = IDLE

    @property
    def note(self) -> str:
        """A last word of the worker, "" where it left none."""
        return self._page[_NOTE].rstrip(b"\0").decode("utf-8", "replace")

    @note.setter
    def note(self, text: str) -> None:
        self._page[_NOTE] = text.encode()[:_NOTE_BYTES].ljust(_NOTE_BYTES, b"\0")

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
        _serve(channel, grader, Guard(grader.modules), Progress(progress_descriptor, 1 + len(setup.parts)))
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
    """Collects a chunk's judgements and sends them on now and then, as long as nothing was tampered with."""

    def __init__(self, channel: Connection, guard: Guard, progress: Progress) -> None:
        self._channel = channel
        self._guard = guard
        self._progress = progress
        self._process = os.getpid()
        self._done: list[Judgement] = []
        self._sent = time.monotonic()

    def deliver(self, judgement: Judgement) -> None:
        if os.getpid() != self._process:  # a plug-in forked and its child came back here
            os._exit(0)
        self._done.append(judgement)
        if time.monotonic() - self._sent > SEND_EVERY_S:
            self.send()

    def send(self, *, last: bool = False) -> None:
        if changed := self._guard.changed():
            self._progress.note = changed
            os._exit(TAMPERED)
        _send(self._channel, Delivery(len(self._done), pack_judgements(self._done), last, last and has_children()))
        self._done = []
        self._sent = time.monotonic()


def _serve(channel: Connection, grader: Grader, guard: Guard, progress: Progress) -> None:
    while True:
        try:
            requests: list[Request] = pickle.loads(channel.recv_bytes())
        except EOFError:
            return
        guard.hold(request.problem for request in requests)
        outbox = _Outbox(channel, guard, progress)
        try:
            grader.judge(requests, progress.mark, outbox.deliver)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        progress.clear()
        outbox.send(last=True)


def _send(channel: Connection, message: Hello | Delivery) -> None:
    channel.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


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
        # A message wakes the watcher, which the kernel likes to put on the core of whoever woke it: not before this
        # process is done with its turn.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(0)
