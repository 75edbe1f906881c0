"""trackio: a project a recipe, a run a stage, in a database on this machine (`trackio show`); $TRACKIO_DIR says where.

Nothing is sent anywhere. Runs are known by their name, which has this run's key in it, so that a resumed stage goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import trackio

from rlreason.loggers.contract import LoggedStage, RunFacts


class Trackio:
    """See `rlreason.loggers.contract.Tool`."""

    rewrites = False

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._run: Any = None

    def begin(self, stage: LoggedStage, update: int) -> None:
        """Open the stage's run, or go on with it."""
        self._open(stage.name, {"recipe": dict(self._facts.recipe), "stage": dict(stage.config)})

    def log(self, update: int, at: float, metrics: Mapping[str, float]) -> None:
        """All metrics of the update as one step."""
        self._run.log(dict(metrics), step=update)

    def headline(self, figures: Mapping[str, float], text: str) -> None:
        """As step 0 of a run "report"."""
        self._open("report", {"recipe": dict(self._facts.recipe), "verdicts": text})
        self._run.log(dict(figures), step=0)
        self.close()

    def close(self) -> None:
        """End the run that is open, once what it was told is written."""
        if self._run is not None:
            with redirect_stdout(StringIO()):
                self._run.finish()
            self._run = None

    def _open(self, name: str, config: dict[str, Any]) -> None:
        self.close()
        facts = self._facts
        with redirect_stdout(StringIO()):  # it greets, in the middle of the run's progress
            self._run = trackio.init(
                project=facts.project,
                name=f"{facts.name}-{facts.key}.{name}",
                group=f"{facts.name}-{facts.key}",
                config=config,
                resume="allow",
                embed=False,
                auto_log_gpu=False,
            )
