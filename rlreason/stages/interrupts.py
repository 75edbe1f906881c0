"""A Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever the main thread happens to be. Where that is a callback of a C library (Ray's
object store, for one), the exception can be dropped there, and the run would go on as if nothing had been said. Here
the wish is written down too, and looked at between updates.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from rlreason.recipe.plan import PlannedStage
from rlreason.stages.context import Progress


@contextmanager
def interrupts_kept() -> Iterator[Callable[[], None]]:
    """Within it a Ctrl-C is remembered; yields a function that raises KeyboardInterrupt where there was one.

    Beside the main thread of a process it remembers nothing: signals do not arrive there.
    """
    asked = threading.Event()

    def remember(number: int, frame: FrameType | None) -> None:
        asked.set()
        raise KeyboardInterrupt

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, remember)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


class InterruptibleProgress:
    """A `Progress` that looks for a lost Ctrl-C whenever a stage goes on or ends."""

    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._progress, self._check = progress, check

    def run_started(self, stages: Sequence[PlannedStage], done: Sequence[str]) -> None:
        """See `Progress.run_started`."""
        self._progress.run_started(stages, done)

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        self._progress.note(text)

    def stage_started(self, stage: PlannedStage, total: int, unit: str, done: int) -> None:
        """See `Progress.stage_started`."""
        self._progress.stage_started(stage, total, unit, done)

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        """See `Progress.stage_advanced`.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed, and swallowed somewhere.
        """
        self._progress.stage_advanced(stage, done, metrics)
        self._check()

    def stage_finished(self, stage: PlannedStage, seconds: float) -> None:
        """See `Progress.stage_finished`.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed, and swallowed somewhere.
        """
        self._progress.stage_finished(stage, seconds)
        self._check()
