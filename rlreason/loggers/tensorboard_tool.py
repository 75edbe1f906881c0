"""TensorBoard: event files in the run's folder, `tensorboard --logdir RUN/tensorboard`; one run a stage.

Where updates come again, TensorBoard drops what it had from there on (`purge_step`).
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml
from torch.utils.tensorboard import SummaryWriter

from rlreason.loggers.contract import LoggedStage, RunFacts

FLUSH_S = 10
"""Seconds until what was told is on the disk, at most."""


class TensorBoard:
    """See `rlreason.loggers.contract.Tool`."""

    rewrites = True

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._folder = facts.folder / "tensorboard"
        self._writer: SummaryWriter | None = None

    def begin(self, stage: LoggedStage, update: int) -> None:
        """A file of its own in the stage's folder, which replaces what is there from `update` on."""
        self.close()
        self._writer = SummaryWriter(self._folder / stage.name, purge_step=update, flush_secs=FLUSH_S)
        if update == 1:
            self._writer.add_text("recipe", _as_code(self._facts.recipe), 0)
            self._writer.add_text("stage", _as_code(stage.config), 0)

    def log(self, update: int, at: float, metrics: Mapping[str, float]) -> None:
        """One scalar a metric, at the update."""
        assert self._writer is not None, "begun first"
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, update, walltime=at)

    def headline(self, figures: Mapping[str, float], text: str) -> None:
        """In a run "report"; a report made again replaces it."""
        with SummaryWriter(self._folder / "report", purge_step=0) as writer:
            for name, value in figures.items():
                writer.add_scalar(name, value, 0)
            if text:
                writer.add_text("verdicts", text.replace("\n", "\n\n"), 0)  # Markdown

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _as_code(value: Mapping[str, object]) -> str:
    text = yaml.safe_dump(dict(value), sort_keys=False)
    return "\n".join(f"    {line}" for line in text.splitlines())  # Markdown: four blanks are code
