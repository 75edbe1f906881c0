"""The one hierarchy of errors. Every class is also a ValueError (the caller's words are wrong) or a RuntimeError.

A message names the value, what is allowed and the remedy, in one paragraph; `one_of` builds the common form. The
command line turns a `UserError` into exit code 2 and a `RunFailed` into exit code 1, without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, Literal

Blame = Literal["infrastructure", "data", "plug-in"]
"""Whose a failure is: the machines' (run again), the recipe's or its data's (change these), a reward's or task's."""


class RlreasonError(Exception):
    """Root of everything rlreason raises on purpose."""


class UserError(RlreasonError, ValueError):
    """Something the user said cannot be done; nothing was started. Exit code 2."""


class RecipeError(UserError):
    """A recipe does not parse: unknown key, wrong type, unknown name."""


class TaskError(UserError):
    """A task cannot be built or asked for what it was asked: unknown cell, impossible split."""


class RewardError(UserError):
    """A reward spec cannot be resolved, or has the wrong signature."""


class ModelError(UserError):
    """A model directory is missing or incomplete, or the model does not fit."""


class MachineError(UserError):
    """The machine lacks what the recipe asks for: a library, memory, a device, a free port."""


class RecordsError(UserError):
    """A records file is missing, malformed, or of another schema. Names file and column."""


class RunFailed(RlreasonError, RuntimeError):
    """A run started and could not go on: its data or settings gave no way, unless a subclass blames another.

    Exit code 1; the run folder can be resumed.
    """

    blame: ClassVar[Blame] = "data"


class StagesMissing(RunFailed):
    """A run that was to keep going ended without some of its stages: those that failed, and those that need them."""


class EngineFailed(RunFailed):
    """A generator, a learner or a step scorer died or answered nonsense."""

    blame = "infrastructure"


class LearnerLost(EngineFailed):
    """A learner rank died or stopped answering, and all ranks were started anew, empty: the stage must be run again.

    Args:
        actor, kind, cause: which rank, what became of it ("died", "wedged"), and what was seen of that.
        detect_s: seconds from its last sign of life until it was given up.
        recover_s: seconds until the new ranks were ready.
    """

    def __init__(self, actor: str, kind: str, cause: str, detect_s: float, recover_s: float) -> None:
        super().__init__(f"{actor} {kind}: {cause}")
        self.actor, self.kind, self.cause = actor, kind, cause
        self.detect_s, self.recover_s = detect_s, recover_s


class StaleWeights(EngineFailed):
    """A generator has other weights than it was sent: another version, or another fingerprint."""


class WeightSyncMismatch(EngineFailed):
    """Generator and learner disagree on the log-probabilities of the same tokens: the weights are not the same."""


class ScoringFailed(RunFailed):
    """No rollout of an update could be scored."""

    blame = "plug-in"


class CheckpointError(RunFailed):
    """A checkpoint is missing, incomplete or of another stage."""

    blame = "infrastructure"


def one_of(what: str, value: object, allowed: Iterable[str], where: str = "") -> str:
    """The sentence for a name that is not allowed: value, allowed values, the nearest one, and where it stands.

    >>> one_of("level", "zeroshot", ["iid", "zero_shot"], "a.yaml: evaluation.levels[1]")
    "level 'zeroshot' is not one of iid, zero_shot; did you mean 'zero_shot'? (a.yaml: evaluation.levels[1])"
    """
    names = [str(name) for name in allowed]
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    place = f" ({where})" if where else ""
    return f"{what} {value!r} is not one of {', '.join(names) or 'nothing'}{hint}{place}"
