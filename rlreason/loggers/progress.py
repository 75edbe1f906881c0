"""A run's progress, told to its loggers as well: after every update, and when a stage ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rlreason.recipe.plan import PlannedStage

if TYPE_CHECKING:  # they bring the engines, and this module
    from rlreason.loggers.follow import Loggers
    from rlreason.stages.context import Progress


class ToldProgress:
    """Passes everything on to `progress`, and has the loggers read what was written before each of these calls."""

    def __init__(self, progress: Progress, loggers: Loggers) -> None:
        self._progress, self._loggers = progress, loggers

    def run_started(self, stages: Sequence[PlannedStage], done: Sequence[str]) -> None:
        """The run's folder is prepared: the loggers can start."""
        self._progress.run_started(stages, done)
        self._loggers.start()
        self._tell()

    def note(self, text: str) -> None:
        """Shown, not told."""
        self._progress.note(text)

    def stage_started(self, stage: PlannedStage, total: int, unit: str, done: int) -> None:
        """Shown, not told."""
        self._progress.stage_started(stage, total, unit, done)

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        """The update's metrics are in metrics.jsonl."""
        self._progress.stage_advanced(stage, done, metrics)
        self._tell()

    def stage_finished(self, stage: PlannedStage, seconds: float) -> None:
        """Shown, and what is left told."""
        self._progress.stage_finished(stage, seconds)
        self._tell()

    def _tell(self) -> None:
        for sentence in self._loggers.catch_up():
            self._progress.note(sentence)
