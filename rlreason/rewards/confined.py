"""The inside of the sandbox: a script that gives up its rights, then runs the code it is sent, one call at a time.

`sandbox` starts it in a process of its own and speaks with it in lines of JSON over a socket: first what to give up,
answered by what was given up; then the code; then calls. It knows no expected answers, so whatever the code does to it
(patch it, walk its stack, answer in its place) decides nothing: values are compared outside. It runs before anything
is installed for it, so it imports the standard library alone, and nothing of this package.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, cast

CPU_S = 600
"""Processor seconds after which the kernel ends it, should nobody watch it any more."""
OPEN_FILES = 64
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 1, 22, 38, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _CAPSET = 444, 445, 446, {"x86_64": 126, "aarch64": 91}
_READ_FILE, _WRITE_FILE, _READ_DIR = 1 << 2, 1 << 1, 1 << 3

_FILE = "solution.py"
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Refused(Exception):
    """The kernel did not take a restriction; `str()` says why."""


def main(descriptor: int, parent: int) -> None:
    """Serve one sandbox until the channel closes. Never returns."""
    streams = os.dup(0), os.dup(1)
    # as files: the calls for sockets are among what is given up
    with open(descriptor, "rb", closefd=False) as requests, open(descriptor, "wb", closefd=False) as replies:

        def reply(message: dict[str, Any]) -> None:
            replies.write(json.dumps(message).encode() + b"\n")
            replies.flush()

        reply(confine(json.loads(requests.readline()), parent))
        code = json.loads(requests.readline())["code"]
        for line in requests:
            reply(attempt(partial(_perform, code, json.loads(line)), streams))
    os._exit(0)


def confine(wanted: dict[str, Any], parent: int) -> dict[str, str]:
    """Give up what can be given up.

    Args:
        wanted: "memory_bytes"; "folders" and "files", readable ones; "paths", added to sys.path; "filter", a seccomp
            program in base64 or "".
        parent: the process whose end is the end of this one.
    Returns:
        The layers "filesystem", "network" and "processes" -> what holds them, or "missing: WHY".
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)
    sys.path += wanted["paths"]
    memory = wanted["memory_bytes"]
    # no bytes into files; no process and no thread beside this one (the kernel lets root have them: see the filter)
    for limit, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        cap = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (cap, cap))
    _drop_capabilities()
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    filesystem = _held(lambda: _landlock(wanted["folders"], wanted["files"]))
    calls = _held(lambda: _seccomp(base64.b64decode(wanted["filter"])))
    return {"filesystem": filesystem, "network": calls, "processes": calls}


def attempt(work: Callable[[], Any], streams: tuple[int, int]) -> dict[str, Any]:
    """What became of running some of the code: "ending" ok, raised or memory, with "value" or "error"."""
    _renew_streams(streams)
    try:
        value = work()
        json.dumps(value)  # here, that what it raises is the code's
        return {"ending": "ok", "value": value}
    except MemoryError:
        return {"ending": "memory"}
    except BaseException as error:  # SystemExit too
        return {"ending": "raised", "error": _words(error)}
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()


def _renew_streams(streams: tuple[int, int]) -> None:
    """Standard input and output as they were at the start: the call before may have closed or replaced them."""
    for descriptor, kept in enumerate(streams):
        os.dup2(kept, descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _perform(code: str, request: dict[str, Any]) -> Any:
    match request["do"]:
        case "compile":
            compile(code, _FILE, "exec")
        case "load":
            _execute(code, "solution")
        case "call":
            return _find(request["entry_point"])(*request["arguments"])
        case "program":
            try:
                _execute(code, "__main__")
            except SystemExit as stop:
                if stop.code not in (None, 0):
                    raise
    return None


def _execute(code: str, name: str) -> None:
    module = sys.modules[name] = ModuleType(name)
    exec(compile(code, _FILE, "exec"), vars(module))


def _find(entry_point: str) -> Callable[..., Any]:
    """Of "f" the function, of "Class.method" the method of an instance made without arguments."""
    found: Any = sys.modules["solution"]
    for name in entry_point.split("."):
        found = getattr(found() if isinstance(found, type) else found, name)
    return cast(Callable[..., Any], found)


def _words(error: BaseException) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:  # a hostile __str__
        text = type(error).__name__
    return text[:300]


def _held(restrict: Callable[[], str]) -> str:
    try:
        return restrict()
    except (Refused, OSError) as error:
        return f"missing: {error}"


def _kernel(what: str, result: int) -> int:
    if result < 0:
        raise Refused(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def _drop_capabilities() -> None:
    number = _CAPSET.get(os.uname().machine)
    if number is not None:
        _libc.syscall(number, struct.pack("Ii", 0x20080522, 0), bytes(24))


def _landlock(folders: list[str], files: list[str]) -> str:
    """Allow reading below the folders and of the files, writing to /dev/null, and nothing else in the file system."""
    version = _kernel("the kernel has no Landlock", _libc.syscall(_CREATE_RULESET, None, 0, 1))
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    # further: no TCP, and no signals or abstract sockets beyond this process
    rules = struct.pack("QQQ", rights, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _kernel("no Landlock rules", _libc.syscall(_CREATE_RULESET, rules, len(rules), 0))
    allowed = [(path, _READ_FILE | _READ_DIR) for path in folders] + [(path, _READ_FILE) for path in files]
    for path, access in [*allowed, (os.devnull, _READ_FILE | _WRITE_FILE)]:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        rule = struct.pack("=Qi", access, place)
        _kernel(f"no Landlock rule for {path}", _libc.syscall(_ADD_RULE, ruleset, 1, rule, 0))
        os.close(place)
    _kernel("Landlock did not begin", _libc.syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)
    return f"Landlock {version}"


def _seccomp(program: bytes) -> str:
    """Allow the kernel calls of a filter made by libseccomp, and no others from now on."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    if not program:
        raise Refused("libseccomp.so.2 is not installed")
    filter = Program(len(program) // 8, program)
    began = _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter), 0, 0)
    _kernel("the kernel took no filter of its calls", began)
    return "seccomp"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
