"""The outside of one confined process: starting it, what it gives up, asking it, and killing it.

Between `sandbox`, which says what is run, and `confined`, the script inside. What the process answers is as hostile as
the code in it: its length is capped while it is read, and nothing but plain JSON values comes out of it.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import functools
import json
import os
import selectors
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rlreason.errors import MachineError
from rlreason.rewards.children import ending, kill_tree

Layer = Literal["filesystem", "network", "processes"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
Ending = Literal["ok", "raised", "timeout", "memory", "output", "killed"]
START_S = 30.0
"""Wall-clock seconds in which a process must be up: not the code's fault where it is not."""
_INSIDE = Path(__file__).with_name("confined.py")
_FILES = ("/etc/ld.so.cache", "/dev/urandom")
_ALLOW, _REFUSE, _EQUALS = 0x7FFF0000, 0x00050000 | errno.EPERM, 4
_IS_TERMINAL, _DO_NOT_BLOCK, _CLOSE_ON_EXEC = 0x5401, 0x5421, 0x5451
# What Python needs to compute, to import, and to read and write what is already open.
_CALLS = (
    *(
        "read",
        "readv",
        "pread64",
        "write",
        "writev",
        "pwrite64",
        "lseek",
        "close",
        "close_range",
        "fcntl",
        "dup",
        "dup2",
    ),
    *("dup3", "pipe", "pipe2", "poll", "ppoll", "select", "pselect6", "open", "openat", "getdents64", "getcwd"),
    *("stat", "lstat", "fstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat"),
    *("mmap", "munmap", "mprotect", "mremap", "madvise", "brk", "futex", "set_robust_list", "rseq", "getrandom"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "setitimer", "getitimer", "alarm"),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times", "getrusage"),
    *("getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "uname", "sysinfo", "getrlimit"),
    *("sched_yield", "sched_getaffinity", "getcpu", "restart_syscall", "exit", "exit_group"),
)
# (call, which argument, what it must be): a limit may be looked at, not changed; no terminal is typed into
_CALLS_WITH = (
    ("prlimit64", 2, 0),
    *(("ioctl", 1, request) for request in (_IS_TERMINAL, _DO_NOT_BLOCK, _CLOSE_ON_EXEC)),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a call may use.

    Attributes:
        seconds: wall time.
        memory_mib: address space of the process.
        output_kib: what it prints, and what it returns, each.
    """

    seconds: float = 5.0
    memory_mib: int = 1024
    output_kib: int = 1024


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a call.

    Attributes:
        ending: "ok"; "raised": an exception, or a value that is not plain JSON; "timeout"; "memory": met its cap;
            "output": printed or returned too much; "killed": the process ended, or answered nonsense.
        value: what the function returned, as plain JSON values; None for a program.
        printed: what went to standard output.
        error: where it is not "ok", why, in the code's own words where it has any.
    """

    ending: Ending
    value: Any = None
    printed: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Protection:
    """A layer of this machine's sandbox. `by`: what holds it, or why it is missing."""

    layer: Layer
    held: bool
    by: str


class Confined:
    """One confined process. Used by the thread that made it: when that ends, the kernel ends the process."""

    def __init__(self, limits: Limits, *, packages: bool) -> None:
        """Starts it and waits until it has given up its rights.

        Args:
            limits: of each call.
            packages: installed packages may be read and imported.
        Raises:
            MachineError: it cannot be started, or was not up within `START_S`.
        """
        self._most = limits.output_kib << 10
        self._stdin = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, closed with the process
        self._channel, theirs = socket.socketpair()
        output, writer = os.pipe()
        os.set_blocking(output, False)
        self._output = open(output, "rb", buffering=0)  # noqa: SIM115, closed with the process
        # its working folder is gone once it has started: empty, and nothing can be made in it
        with theirs, open(writer, "wb"), tempfile.TemporaryDirectory(prefix="rlreason-") as folder:
            self._process = self._start(theirs.fileno(), writer, folder)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._selector.register(self._output, selectors.EVENT_READ)
        self._answer = bytearray()
        held = self._ask(_rights(limits, packages), START_S, bytearray())
        if isinstance(held, Ran):
            self.close()
            raise MachineError(f"no process for code that a model wrote could be started: {held.ending}, {held.error}")
        self.protections = tuple(
            Protection(layer, not held[layer].startswith("missing"), held[layer].removeprefix("missing: "))
            for layer in LAYERS
        )

    def give(self, code: str) -> None:
        """Hand over the code that the requests are about."""
        self._send({"code": code}, START_S)

    def perform(self, request: Mapping[str, Any], seconds: float, stdin: str = "") -> Ran:
        """Have something done with the code. Where the ending is neither "ok" nor "raised", close it after.

        Args:
            request: as `confined` reads it.
            seconds: wall time.
            stdin: what the code finds on its standard input.
        """
        self._stdin.seek(0)
        self._stdin.truncate()
        self._stdin.write(stdin.encode("utf-8", "replace"))
        self._stdin.seek(0)
        printed = bytearray()
        found = self._ask(request, seconds, printed)
        if isinstance(found, Ran):
            return found
        said = found.get("ending")
        if said not in ("ok", "raised", "memory"):
            return _NONSENSE
        error = str(found.get("error", ""))[:300]
        return Ran(said, found.get("value"), printed.decode("utf-8", "replace"), error)

    def close(self) -> None:
        """Kill the process with what it started."""
        kill_tree(self._process)
        for opened in (self._selector, self._channel, self._output, self._stdin):
            opened.close()

    def _start(self, channel: int, output: int, folder: str) -> subprocess.Popen[bytes]:
        # -P -s are -I, but that PYTHONHASHSEED is heard: sets have one order in every run. -S: no installed packages.
        command = [sys.executable, "-P", "-s", "-S", "-X", "utf8", str(_INSIDE), str(channel), str(os.getpid())]
        return subprocess.Popen(
            command,
            stdin=self._stdin,
            stdout=output,
            stderr=subprocess.DEVNULL,
            pass_fds=(channel,),
            cwd=folder,
            env={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def _send(self, message: Mapping[str, Any], seconds: float) -> None:
        self._channel.settimeout(seconds)
        self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _ask(self, request: Mapping[str, Any], seconds: float, printed: bytearray) -> dict[str, Any] | Ran:
        """The answer to a request, or the ending that left it without one. What it prints is added to `printed`."""
        until = time.monotonic() + seconds
        try:
            self._send(request, seconds)
            while b"\n" not in self._answer:
                ready = self._selector.select(max(0.0, until - time.monotonic()))
                if time.monotonic() >= until:
                    raise TimeoutError
                for key, _ in ready:
                    self._read(key.fileobj, printed)
                if max(len(printed), len(self._answer)) > self._most:
                    return Ran("output", error=f"more than {self._most >> 10} KiB")
            self._read(self._output, printed)  # what it printed before it answered
        except TimeoutError:
            return Ran("timeout", error=f"took over {seconds:g} s")
        except OSError:  # it ended
            kill_tree(self._process)
            return Ran("killed", error=f"the process {ending(self._process.returncode)}")
        line, _, self._answer = self._answer.partition(b"\n")
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return _NONSENSE
        return found if isinstance(found, dict) else _NONSENSE

    def _read(self, source: Any, printed: bytearray) -> None:
        """Take what has come in, without waiting, and not much more than may come.

        Raises:
            OSError: the process ended, or closed its side of the channel.
        """
        if source is self._channel:
            piece = self._channel.recv(1 << 16)
            if not piece:
                raise ConnectionResetError
            self._answer += piece
            return
        while len(printed) <= self._most and (piece := self._output.read(1 << 16)):
            printed += piece
        if piece == b"":  # the code closed its standard output
            self._selector.unregister(self._output)


_NONSENSE = Ran("killed", error="it answered nonsense")


def _rights(limits: Limits, packages: bool) -> dict[str, Any]:
    """What `confined.confine` is told."""
    paths = sysconfig.get_paths()
    site = list(dict.fromkeys((paths["purelib"], paths["platlib"]))) if packages else []
    own = [paths["stdlib"], *(os.path.join(sys.base_prefix, name) for name in ("lib", "lib64"))]
    return {
        "memory_bytes": limits.memory_mib << 20,
        "paths": site,
        "folders": [*own, *site, "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo"],
        "files": _FILES,
        "filter": base64.b64encode(_filter()).decode(),
    }


class _Comparison(ctypes.Structure):
    """libseccomp's `struct scmp_arg_cmp`."""

    _fields_ = (("argument", ctypes.c_uint), ("how", ctypes.c_int), ("value", ctypes.c_uint64), ("_", ctypes.c_uint64))


@functools.cache
def _filter() -> bytes:
    """The kernel's program that allows the calls above and refuses all others; b"" where libseccomp is missing."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return b""
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_REFUSE)))
    rules = [(name, None) for name in _CALLS] + [(name, (where, value)) for name, where, value in _CALLS_WITH]
    for name, condition in rules:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # another architecture's
            continue
        comparison = _Comparison(condition[0], _EQUALS, condition[1]) if condition else _Comparison()
        allow = ctypes.c_uint32(_ALLOW)
        library.seccomp_rule_add_array(context, allow, number, int(condition is not None), ctypes.byref(comparison))
    with tempfile.TemporaryFile() as file:
        library.seccomp_export_bpf(context, file.fileno())
        library.seccomp_release(context)
        file.seek(0)
        return file.read()
