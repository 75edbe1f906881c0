"""Weights & Biases: a run a stage, all of a run in one group. Without an API key it works offline.

A run of the tool has an id made of this run's key, so that a resumed stage goes on in it (offline: `wandb sync
--append` joins the pieces). Its steps are the updates; it takes no step twice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import wandb

from rlreason.loggers.contract import LoggedStage, RunFacts


class WeightsAndBiases:
    """See `rlreason.loggers.contract.Tool`."""

    rewrites = False

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._run: Any = None
        (facts.folder / "wandb").mkdir(exist_ok=True)  # else it writes where it pleases

    def begin(self, stage: LoggedStage, update: int) -> None:
        """Open the stage's run, or go on with it."""
        config = {"recipe": dict(self._facts.recipe), "stage": dict(stage.config)}
        self._open(stage.name, stage.id, "stage", config)

    def log(self, update: int, at: float, metrics: Mapping[str, float]) -> None:
        """All metrics of the update as one step."""
        self._run.log(dict(metrics), step=update)

    def headline(self, figures: Mapping[str, float], text: str) -> None:
        """As the summary of a run "report"."""
        self._open("report", "report", "report", {"recipe": dict(self._facts.recipe)})
        self._run.summary.update({**figures, "verdicts": text})
        self.close()

    def close(self) -> None:
        """End the run that is open."""
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _open(self, name: str, identity: str, kind: str, config: dict[str, Any]) -> None:
        self.close()
        facts = self._facts
        self._run = wandb.init(
            project=facts.project,
            group=f"{facts.name}-{facts.key}",
            name=name,
            id=f"{facts.key}-{identity}",
            job_type=kind,
            config=config,
            resume="allow",
            dir=facts.folder,
            mode=_mode(),
            settings=wandb.Settings(silent=True, console="off"),
        )


def _mode() -> Any:
    """What $WANDB_MODE says; else online with an API key, and offline without: a run must not stop to ask for one."""
    said = os.environ.get("WANDB_MODE")
    return said or ("online" if wandb.api.api_key else "offline")
