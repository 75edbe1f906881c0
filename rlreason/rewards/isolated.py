"""One call of a plug-in in a fork of its worker, so that nothing it leaves behind can reach the next completion.

Between `grading`, which says what is called, and `contract`, which reads what comes back: plain JSON, never a pickle.
The fork may raise, exit, crash or run out of memory: all that costs is its own completion. Its deadline is kept by the
watcher of the whole worker (`process`). What is not stopped: files and sockets are shared with the worker, and a
plug-in that means harm has its user's rights.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, BinaryIO

from rlreason.rewards.children import end_strays, ending
from rlreason.rewards.failures import FailureKind, Unscored
from rlreason.types import Score

OUT_OF_MEMORY = 99
"""Exit status of a worker or a fork that met a MemoryError: what it holds cannot be trusted to be freed."""


def in_fork(spec: str, judge: Callable[[], Score]) -> Any:
    """What `judge` returns when it is called in a fork of this process.

    Args:
        spec: the plug-in's name in messages.
        judge: returns a valid Score or raises Unscored or MemoryError.
    Returns:
        A mapping that `contract.to_score` reads; a forged one is refused there.
    Raises:
        Unscored: what `judge` raised; PluginCrashed or PluginOutOfMemory where the fork ended without an answer.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or the fork would print it again
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if not child:
            _answer(judge, answer)
        _, status = os.waitpid(child, 0)
        end_strays()  # this worker inherits the orphans of its children
        answer.seek(0)
        return _read(spec, answer.read(), os.waitstatus_to_exitcode(status))


def _answer(judge: Callable[[], Score], answer: BinaryIO) -> None:
    """The fork's side. Never returns."""
    own = os.getpid()
    status = 1
    try:
        try:
            found = _plain(judge())
        except Unscored as failure:
            found = {"kind": failure.kind, "cause": failure.cause}
        if os.getpid() == own:  # not where the plug-in forked, and its child came back here
            answer.write(json.dumps(found).encode())
            answer.flush()
            status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _plain(score: Score) -> dict[str, Any]:
    steps = [asdict(step) for own in score.step_scores.values() for step in own]
    return {"reward": score.reward, "correct": score.correct, "parts": dict(score.parts), "steps": steps}


def _read(spec: str, answer: bytes, code: int) -> Any:
    if code == OUT_OF_MEMORY:
        gib = resource.getrlimit(resource.RLIMIT_AS)[0] / 2**30
        raise Unscored(FailureKind.PLUGIN_OUT_OF_MEMORY, f"{spec} met the cap of {gib:g} GiB")
    try:
        found = json.loads(answer)
        failure = Unscored(FailureKind(found["kind"]), str(found["cause"])) if "kind" in found else None
    except (ValueError, TypeError, KeyError):  # nothing, or nonsense
        raise Unscored(FailureKind.PLUGIN_CRASHED, f"{spec}: its process {ending(code)}") from None
    if failure is not None:
        raise failure
    return found
