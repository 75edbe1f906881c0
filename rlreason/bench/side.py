"""A side of the benchmark as its parent sees it: a process that is started, makes an update when told to, and is ended.

What a side does is in `ours` and `trl_peer`; the lines that travel are those of `channel`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from rlreason.bench.figures import UpdateFigures
from rlreason.errors import RunFailed

OURS = "rlreason.bench.ours"
PEERS = {"trl": "rlreason.bench.trl_peer"}
"""Peer -> the module that is its process."""
SAMPLE_EVERY_S = 0.5
GRACE_S = 20.0
"""How long a side may take to end its own children before all of them are killed."""
LOG_LINES = 15


class Side:
    """A side's process and all that it starts. Use it as a context manager: leaving it ends them."""

    def __init__(self, name: str, module: str, folder: Path) -> None:
        """Start `python -m MODULE FOLDER`; what it prints goes to FOLDER/NAME.log, beside the recipe it reads."""
        self.name, self._log = name, folder / f"{name}.log"
        self._begun = time.perf_counter()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the sides in order
            )
        self._memory = MemoryWatch(self._process.pid)

    def first_update(self) -> float:
        """Seconds from the start of the process to the end of its first update.

        Raises:
            RunFailed: it ended before.
        """
        self._read()
        return time.perf_counter() - self._begun

    def update(self) -> UpdateFigures:
        """Make one update.

        Raises:
            RunFailed: it ended instead.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended: the missing answer says so
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._read()

    @property
    def peak_bytes(self) -> int:
        """Most memory seen so far."""
        return self._memory.peak_bytes

    def _read(self) -> UpdateFigures:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            last = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
            raise RunFailed(f"the {self.name} side ended before its update ({self._log}):\n" + "\n".join(last))
        return UpdateFigures(**json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let it end by itself where all went well, interrupt it otherwise; then kill what is left of its tree."""
        self._memory.stop()
        processes = tree(self._process.pid)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if kind is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=GRACE_S)
        self._process.wait()


class MemoryWatch:
    """A thread that samples what a process and its descendants hold, and remembers the most."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"memory-{pid}", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, held_bytes(tree(self._pid)))

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()


def tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants, as far as they are alive."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def held_bytes(processes: list[psutil.Process]) -> int:
    """Resident memory of processes that share libraries and Ray's object store.

    What is private to a process counts in full; of what they may share (file-backed and shared pages) the largest part
    that one of them holds counts once. Cheap enough to be asked twice a second, unlike the kernel's exact shares.
    """
    private, shared = 0, [0]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = process.memory_info()
            common = getattr(memory, "shared", 0)  # macOS does not tell
            private += memory.rss - common
            shared.append(common)
    return private + max(shared)


def progress(line: str) -> None:
    """A line for whoever waits; standard output is for the figures."""
    print(line, file=sys.stderr, flush=True)
