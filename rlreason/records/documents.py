"""What plan.json, manifest.json and the ledgers in done.json say, as typed values, checked when read.

The recipe room makes the plan and the driver writes the others; keys that are not named here are left alone, so a newer
run still reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rlreason.errors import RecordsError
from rlreason.records.run_folder import RunFolder, read_json


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


DocumentT = TypeVar("DocumentT", bound=_Document)


class PlanSeed(_Document):
    """One arm under one seed."""

    stages: tuple[str, ...]
    """Identities of the arm's training stages, in order."""
    evaluation: str
    """Identity of the evaluation of its last checkpoint."""


class PlanArm(_Document):
    """One training history."""

    title: str = ""
    seeds: dict[int, PlanSeed]


class PlanMatch(_Document):
    """What a control is matched with."""

    stage: str
    """Identity of its partner."""
    by: str
    """What is compared: "samples", "tokens" or "flops"."""


class PlanStage(_Document):
    """One stage of the DAG, shared by all arms that start alike."""

    name: str
    type: str
    seed: int
    parent: str | None
    config: dict[str, Any] = {}
    arms: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Identities of the stages, beside the parent, that were done before it."""
    match: PlanMatch | None = None


class PlanEvaluation(_Document):
    """What every arm's last checkpoint was asked."""

    levels: tuple[str, ...]
    probes: tuple[str, ...] = ()
    k: tuple[int, ...] = (1,)
    samples: int


class PlanVerdict(_Document):
    """The rules of the verdict; what each means is said where a recipe states them, in `rlreason.recipe.verdict`.

    The defaults are the recipe's too: they hold for a run that was planned before there were such rules.
    """

    levels: tuple[str, ...] | None = None
    outcome: Literal["answer", "derivation"] = "answer"
    k: tuple[int, ...] | None = None
    alpha: float = 0.05
    minimal_gap: float = 0.05
    minimal_seeds: int = 3
    minimal_unsolved: int = 10
    amplification: int | None = None
    controls: tuple[str, ...] | None = None
    right_derivations: float = 0.8
    probes: tuple[str, ...] | None = None
    mastery: float = 0.8
    chance: float = 0.1
    reach: int = 1024
    reach_derivations: int = 0


class PlanFrozen(_Document):
    """The rules that were frozen: when (ISO 8601), their hash, and what of them the run does otherwise."""

    at: str
    hash: str
    changes: tuple[str, ...] = ()


class PlanRegistration(_Document):
    """The hash of the rules that the run was planned with; `frozen` None: none were frozen."""

    hash: str
    frozen: PlanFrozen | None = None


class PlanRecord(_Document):
    """plan.json: the arms, in the recipe's order, and their stages by identity."""

    arms: dict[str, PlanArm]
    stages: dict[str, PlanStage]
    evaluation: PlanEvaluation
    verdict: PlanVerdict = PlanVerdict()
    registration: PlanRegistration | None = None
    """None: planned before there was such a thing."""


class ManifestRecord(_Document):
    """manifest.json: what ran, where, when and by which command."""

    recipe: str
    description: str = ""
    rlreason: str
    versions: dict[str, str] = {}
    git_commit: str | None = None
    git_dirty: bool | None = None
    hardware: dict[str, Any] = {}
    seeds: tuple[int, ...]
    started: str
    """ISO 8601."""
    finished: str | None = None
    """None while the run has not finished."""
    incidents: dict[str, int] = {}
    """How often what broke, by kind; what incidents.jsonl held when the run finished."""
    command: str


class Ledger(_Document):
    """What a stage spent: of the work that is in its result, each piece once; what a killed start lost is not in it.

    Sums of two are made with +.
    """

    prompts: int = 0
    """Prompts sent to be sampled. A problem that a stage asks again counts once."""
    samples: int = 0
    """Completions sampled."""
    sampled_tokens: int = 0
    trained_tokens: int = 0
    """Tokens that a loss was taken over, as often as it was; steps, where a step scorer is trained."""
    updates: int = 0
    """Optimizer updates."""
    flops: float | None = 0.0
    """Floating-point operations, sampling included, estimated (see `algorithms.budget`); None: the model's sizes are
    not known."""
    device_seconds: float = 0.0
    """Seconds times the GPUs that the run held (a machine without: one). All starts of the stage that could still say
    how long they took are in it, with the work that they lost."""

    def __add__(self, other: Ledger) -> Ledger:
        counted = set(type(self).model_fields) - {"flops"}
        summed = {name: getattr(self, name) + getattr(other, name) for name in counted}
        return Ledger(flops=None if self.flops is None or other.flops is None else self.flops + other.flops, **summed)

    def amount(self, by: str) -> float | None:
        """What `by` ("samples", "tokens", "flops") compares; None where it is not known."""
        amounts = {"samples": self.samples, "tokens": self.trained_tokens, "flops": self.flops}
        return amounts[by]


def read_ledger(folder: RunFolder, stage: str) -> Ledger | None:
    """What a finished stage spent; None where its done.json has no ledger, being older than ledgers are.

    Raises:
        RecordsError: the stage has not finished, or its ledger is malformed; names file and key.
    """
    figures = folder.done(stage)
    return _validate(folder.stage(stage) / "done.json", Ledger, figures["ledger"]) if "ledger" in figures else None


def read_plan(folder: RunFolder) -> PlanRecord:
    """The run's plan.

    Raises:
        RecordsError: missing or malformed; names file and key, or an arm's stage that the plan does not list.
    """
    plan = _read(folder.plan_path, PlanRecord)
    for arm_name, arm in plan.arms.items():
        for seed, run in arm.seeds.items():
            unknown = [stage for stage in run.stages if stage not in plan.stages]
            if unknown:
                raise RecordsError(
                    f"{folder.plan_path}: arms.{arm_name}.seeds.{seed} names the stage {unknown[0]!r}, which "
                    "`stages` does not list; restore the file, or run again"
                )
    return plan


def read_manifest(folder: RunFolder) -> ManifestRecord:
    """The run's manifest.

    Raises:
        RecordsError: missing or malformed; names file and key.
    """
    return _read(folder.manifest_path, ManifestRecord)


def _read(path: Path, model: type[DocumentT]) -> DocumentT:
    return _validate(path, model, read_json(path))


def _validate(path: Path, model: type[DocumentT], value: Any) -> DocumentT:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise RecordsError(f"{path}: {key}: {first['msg']}; restore the file, or run again") from error
