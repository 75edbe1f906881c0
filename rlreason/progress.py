"""A run on the terminal: one line a finished stage, and below them a live bar of the one that is running.

Stages call this through `rlreason.stages.context.Progress` and know nothing of terminals. On a pipe only the lines of
finished stages are printed. Figures for machines are in the run's metrics.jsonl, not here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from rlreason.recipe.plan import PlannedStage

SHOWN = {"reward_mean": "reward", "correct_mean": "right", "correct": "right", "loss": "loss"}
"""Metric -> what it is called on the terminal, most telling first; metrics beside these stay in the records."""
BEFORE_AND_AFTER = 3
"""Updates averaged for the first and last value of a finished stage: one alone is noisy."""


class TerminalProgress:
    """Draws a run on `console`. Use it as a context manager: leaving it restores the terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._stages = 0
        self._finished = 0
        self._history: dict[str, list[float]] = {}
        self._unscored = 0.0

    def __enter__(self) -> TerminalProgress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def run_started(self, stages: Sequence[PlannedStage], done: Sequence[str]) -> None:
        """Say how much there is to do."""
        self._stages, self._finished = len(stages), len(done)
        before = f", {len(done)} done before" if done else ""
        self.note(f"{len(stages)} stages{before}")

    def note(self, text: str) -> None:
        """A line of plain text above the bar."""
        self._console.print(Text(text))

    def stage_started(self, stage: PlannedStage, total: int, unit: str, done: int) -> None:
        """Show the bar of this stage, at `done` of `total`."""
        self._close_bar()
        self._history = {}
        self._unscored = 0.0
        description = f"[{self._finished + 1}/{self._stages}] {stage.label}".replace("[", r"\[")
        self._task = self._bar.add_task(description, total=total, completed=done, unit=unit, figures="")

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        """Move the bar and show the newest figures; a figure that is undefined is left out."""
        for metric in SHOWN:
            if math.isfinite(metrics.get(metric, math.nan)):
                self._history.setdefault(metric, []).append(metrics[metric])
        self._unscored += metrics.get("unscored", 0.0)
        if self._task is not None:
            self._bar.update(self._task, completed=done, figures="  ".join([*_newest(metrics), *_rate(metrics)]))

    def stage_finished(self, stage: PlannedStage, seconds: float) -> None:
        """Replace the bar by one line that stays, with what changed from the first updates to the last."""
        self._close_bar()
        self._finished += 1
        took = timedelta(seconds=round(seconds))
        changes = "  ".join(_change(SHOWN[metric], values) for metric, values in self._history.items())
        unscored = f"  {self._unscored:,.0f} rollouts could not be scored" if self._unscored else ""
        self.note(f"[{self._finished}/{self._stages}] {stage.label}  {took}  {changes}{unscored}".rstrip())

    def _close_bar(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None


def _newest(metrics: Mapping[str, float]) -> list[str]:
    shown = [f"{SHOWN[name]} {metrics[name]:.3g}" for name in SHOWN if math.isfinite(metrics.get(name, math.nan))]
    unscored = metrics.get("unscored", 0)
    return [*shown, f"UNSCORED {unscored:.0f}"] if unscored else shown


def _rate(metrics: Mapping[str, float]) -> list[str]:
    rate = metrics.get("generated_tokens_per_second", math.nan)
    if not math.isfinite(rate) and metrics.get("seconds", 0.0) > 0:
        rate = metrics.get("trained_tokens", math.nan) / metrics["seconds"]
    return [f"{rate:,.0f} tokens/s"] if math.isfinite(rate) else []


def _change(name: str, values: Sequence[float]) -> str:
    """Such as reward 0.31 -> 0.92; or the one value where there are too few to compare."""
    if len(values) < 2 * BEFORE_AND_AFTER:
        return f"{name} {values[-1]:.3g}"
    first, last = (sum(part) / BEFORE_AND_AFTER for part in (values[:BEFORE_AND_AFTER], values[-BEFORE_AND_AFTER:]))
    return f"{name} {first:.3g} -> {last:.3g}"
