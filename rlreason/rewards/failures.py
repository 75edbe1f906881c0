"""The typed causes for which a completion has no score, and the sentences that name them.

A failure is classified where it happens: the exception `Unscored` carries it inside a worker, its text becomes
`Score.failure` and crosses the process boundary. Deciding what a failure does to training is not done here.
"""

from __future__ import annotations

import importlib
import traceback
from enum import StrEnum
from pathlib import Path

from rlreason.errors import RlreasonError

_OURS = (Path(__file__).parent, Path(importlib.__file__).parent)
LONGEST_TEXT = 300
"""Characters of an exception's own words that are kept: they may hold a whole completion."""


class FailureKind(StrEnum):
    """Whose fault it is that a completion has no score."""

    PLUGIN_RAISED = "PluginRaised"
    PLUGIN_TIMEOUT = "PluginTimeout"
    PLUGIN_OUT_OF_MEMORY = "PluginOutOfMemory"
    PLUGIN_CRASHED = "PluginCrashed"
    PLUGIN_TAMPERED = "PluginTampered"
    """After it, a function that scoring relies on was not the same any more."""
    INVALID_SCORE = "InvalidScore"
    UNSCORABLE = "Unscorable"
    """The plug-in itself said that it cannot judge this completion, and why."""
    CHECK_FAILED = "CheckFailed"
    """The task's own check raised, hung or died: the task's fault, not the plug-in's."""


class Unscored(RlreasonError, RuntimeError):
    """A completion that cannot be scored. `str()` is what `Score.failure` holds: "PluginRaised: ..."."""

    def __init__(self, kind: FailureKind, cause: str) -> None:
        super().__init__(f"{kind}: {cause}")
        self.kind = kind
        self.cause = cause


def kind_of(failure: str) -> FailureKind | None:
    """The kind that a `Score.failure` begins with; None for "" (a score) and for text of another origin."""
    head = failure.partition(":")[0]
    return FailureKind(head) if head in set(FailureKind) else None


def one_line(value: object) -> str:
    """`str(value)` fit for a record: one line, no lone surrogates, cut to `LONGEST_TEXT`; never raises."""
    try:
        text = str(value)
    except BaseException as error:  # a plug-in's exception may have a hostile __str__
        text = f"<str() raised {type(error).__name__}>"
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "..."


def describe(error: BaseException) -> str:
    """What was raised and where in the plug-in: "ValueError: bad digit (mine.py line 12, in score)"."""
    words = one_line(error)
    where = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    place = f" ({Path(where[-1].filename).name} line {where[-1].lineno}, in {where[-1].name})" if where else ""
    return type(error).__name__ + (f": {words}" if words else "") + place


def user_traceback(error: BaseException) -> str:
    """The traceback with only the user's frames: ours and the import machinery's are left out."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    return "".join(traceback.format_list(frames) + traceback.format_exception_only(error)).rstrip()


def _is_ours(filename: str) -> bool:
    return filename.startswith("<frozen") or Path(filename).parent in _OURS
