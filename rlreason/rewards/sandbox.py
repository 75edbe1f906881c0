"""Runs Python code that a model wrote, in a process of its own that was made to give up nearly everything.

    with Sandbox(code) as sandbox:
        ran = sandbox.call("add", [1, 2])  # Ran(ending="ok", value=3)

Layers; `protections` says which of them this machine gives, and a caller may demand them:

- limits, everywhere: wall time a call (held from outside, inside C code too), memory, processor time, open files, bytes
  of output; no byte written into any file; an empty environment, a working folder that is gone; killed with the caller.
- filesystem (Landlock, Linux 5.13 or newer): only Python's own library and the system's shared libraries can be read,
  and nothing but /dev/null written. Not the home folder, not /proc, not the run, not the project.
- network and processes (seccomp, by the system's libseccomp): the kernel answers a list of calls that computing needs
  and refuses all others: no sockets, no second process or thread, no program started, no signal or tracing of others.

What the code says comes back as plain JSON values, and is compared by the caller: the expected answers are never in the
process. Several calls share one process, for speed: what one leaves behind the next of the same code finds.

What is not stopped: a hole in the kernel; measuring time, and using the processor within the limit; reading what
the libraries' folders hold, and seeing whether another path exists; seeing the machine's name and the user's number. A
machine without a layer lacks what that layer stops; without seccomp, root's code may start processes that outlive it.

libseccomp is called through ctypes, and so is Landlock, which is three kernel calls: nothing but the system's own
library has to be there. bubblewrap and user namespaces are not used: containers commonly forbid them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rlreason.errors import MachineError, one_of
from rlreason.rewards.confinement import LAYERS, Confined, Limits, Protection, Ran

__all__ = ["LAYERS", "Limits", "Protection", "Ran", "Sandbox", "demand", "protections"]


@functools.cache
def protections() -> tuple[Protection, ...]:
    """The layers this machine gives, found by putting a process under them.

    Raises:
        MachineError: no process could be started at all.
    """
    with contextlib.closing(Confined(Limits(), packages=False)) as process:
        return process.protections


class Sandbox:
    """Some code, and the confined process that runs it. A context manager, for one thread."""

    def __init__(
        self, code: str, limits: Limits | None = None, *, packages: bool = False, require: Sequence[str] = LAYERS
    ) -> None:
        """Starts nothing yet.

        Args:
            code: Python, trusted in nothing.
            limits: of each call; None: `Limits()`.
            packages: the code may import what is installed beside this package, not the standard library alone.
            require: layers without which no code is run.
        Raises:
            MachineError: the machine lacks a required layer. ValueError: there is no such layer.
        """
        demand(require)
        self._code = code
        self._limits = limits or Limits()
        self._packages = packages
        self._process: Confined | None = None
        self._loaded = False
        self._broken: Ran | None = None

    def compile(self) -> Ran:
        """Whether the code is Python at all; runs none of it."""
        return self._ask({"do": "compile"}, self._limits.seconds)

    def call(self, entry_point: str, arguments: Sequence[Any], seconds: float | None = None) -> Ran:
        """Call a function of the code. Where the code itself cannot be run, every call ends as that did.

        Args:
            entry_point: "f", or "Class.method" of an instance made without arguments.
            arguments: plain JSON values.
            seconds: in place of the limits'.
        """
        allowed = seconds or self._limits.seconds
        if not self._loaded and self._broken is None:
            loaded = self._ask({"do": "load"}, allowed)
            self._loaded = loaded.ending == "ok"
            self._broken = None if self._loaded else loaded
        request = {"do": "call", "entry_point": entry_point, "arguments": list(arguments)}
        return self._broken or self._ask(request, allowed)

    def run(self, stdin: str, seconds: float | None = None) -> Ran:
        """Run the code as a program that reads `stdin`."""
        return self._ask({"do": "program"}, seconds or self._limits.seconds, stdin)

    def close(self) -> None:
        """Kill the process. May be called again."""
        if self._process is not None:
            self._process.close()
            self._process = None
            self._loaded = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, request: Mapping[str, Any], seconds: float, stdin: str = "") -> Ran:
        if self._process is None:
            self._process = Confined(self._limits, packages=self._packages)
            self._process.give(self._code)
        ran = self._process.perform(request, seconds, stdin)
        if ran.ending not in ("ok", "raised"):  # the next call meets a new process
            self.close()
        return ran


def demand(layers: Sequence[str]) -> None:
    """Refuse a machine that lacks any of these layers.

    Raises:
        MachineError: names the missing one, why it is missing, and the remedy. ValueError: there is no such layer.
    """
    for layer in layers:
        if layer not in LAYERS:
            raise ValueError(one_of("layer of the sandbox", layer, LAYERS))
    for protection in protections() if layers else ():
        if protection.layer in layers and not protection.held:
            raise MachineError(
                f"the sandbox for code that a model wrote has no {protection.layer!r} layer here ({protection.by}); "
                f"run on a machine that has it, or, where the code is harmless, take it out of `require`"
            )
