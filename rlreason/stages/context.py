"""What every stage is given: the recipe, what was built from it, the engines, and where results go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rlreason.engines.codec import TextCodec
from rlreason.engines.meter import Meter
from rlreason.engines.protocols import Engines
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.schema import Recipe
from rlreason.records.run_folder import RunFolder
from rlreason.rewards.pool import ScoringPool
from rlreason.tasks.contract import Task

MODEL = "model"
STATE = "state"


class Progress(Protocol):
    """Where a run says how it goes; the command line draws it, tests ignore it."""

    def run_started(self, stages: Sequence[PlannedStage], done: Sequence[str]) -> None:
        """All stages of the run, and the identities of those that are finished already."""

    def note(self, text: str) -> None:
        """A line worth reading."""

    def stage_started(self, stage: PlannedStage, total: int, unit: str, done: int) -> None:
        """A stage begins, or resumes at `done` of `total`."""

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        """`done` of `total`, with the figures of the newest."""

    def stage_finished(self, stage: PlannedStage, seconds: float) -> None:
        """A stage is done."""


@dataclass(frozen=True, slots=True)
class Context:
    """Borrowed by stages: they swap weights in the engines, never start or stop them."""

    recipe: Recipe
    folder: RunFolder
    tasks: Mapping[str, Task]
    codec: TextCodec
    engines: Engines
    pool: ScoringPool
    progress: Progress
    bases: Mapping[int, Path]
    """Seed -> Hugging Face directory that arms start from."""
    scorer_folders: Mapping[str, Path]
    """Hugging Face directories of the step scorers that are read from one, by name."""
    meter: Meter = field(default_factory=Meter)
    """Counts what `engines` do, where these are metered."""

    def task(self, name: str | None) -> Task:
        """The task of that name; None where the recipe has one task."""
        return self.tasks[name] if name is not None else next(iter(self.tasks.values()))

    def checkpoint(self, stage: str) -> Path:
        """The Hugging Face directory that a training stage leaves."""
        return self.folder.stage(stage) / MODEL

    def model(self, stage: str | None, seed: int) -> Path:
        """The Hugging Face directory that a training stage leaves; None: where arms start from under that seed."""
        return self.bases[seed] if stage is None else self.checkpoint(stage)

    def state(self, stage: str) -> Path:
        """The folder of a stage's resumable states."""
        return self.folder.stage(stage) / STATE
