"""Ending processes with everything they started: for the watcher of a worker, the fork of a call, and the sandbox.

A process that left its parent's session and outlives its own parent chain is found only by the process that inherits
the orphans: in a scoring worker, that worker.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a session of its own, with what it started, and wait for it. May be called again."""
    if process.returncode is not None:
        return
    # Not reaped yet, so its number is still its own. Its children are listed while it lives to lead to them.
    _kill_descendants(process.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def end_strays() -> None:
    """Kill all children of this process, and theirs, the orphans that it inherits included."""
    while has_children():
        _kill_descendants(os.getpid())
        os.waitpid(-1, 0)


def has_children() -> bool:
    """Whether any child process is left, a finished one included: one system call, unlike a look at all processes."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def ending(code: int) -> str:
    """How a process ended, in words. `code`: its exit status, or minus the signal that killed it."""
    return f"was killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exited with status {code}"


def _kill_descendants(pid: int) -> None:
    import psutil  # here: a worker seldom needs it, and would load it at every start

    with contextlib.suppress(psutil.Error):
        for stray in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                stray.kill()
