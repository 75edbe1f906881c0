"""MLflow: an experiment a recipe, a parent run a run and in it a child run a stage.

Written where $MLFLOW_TRACKING_URI says; else into a database in the run's folder, mlflow.db. Which runs of the tool
are this run's is told by their tags, so that a resumed run goes on in them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping

import mlflow
import yaml
from mlflow.entities import Metric

from rlreason.loggers.contract import LoggedStage, RunFacts

KEY_TAG, STAGE_TAG, PARENT_TAG = "rlreason.key", "rlreason.stage", "mlflow.parentRunId"


class MLflow:
    """See `rlreason.loggers.contract.Tool`."""

    rewrites = False

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        for library in ("mlflow", "alembic"):  # they tell of every table, in the middle of the run's progress
            logging.getLogger(library).setLevel(logging.WARNING)
        where = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{facts.folder / 'mlflow.db'}"
        self._client = mlflow.MlflowClient(tracking_uri=where)
        known = self._client.get_experiment_by_name(facts.project)
        artifacts = None if os.environ.get("MLFLOW_TRACKING_URI") else (facts.folder / "mlartifacts").as_uri()
        self._experiment = (
            known.experiment_id if known else self._client.create_experiment(facts.project, artifact_location=artifacts)
        )
        self._parent = self._run(facts.name, "", {})
        self._client.set_tag(self._parent, "recipe", yaml.safe_dump(dict(facts.recipe), sort_keys=False))
        self._stage: str | None = None

    def begin(self, stage: LoggedStage, update: int) -> None:
        """Open the stage's run, or go on with it."""
        self._end()
        self._stage = self._run(stage.name, stage.id, {PARENT_TAG: self._parent})
        self._client.set_tag(self._stage, "stage", yaml.safe_dump(dict(stage.config), sort_keys=False))

    def log(self, update: int, at: float, metrics: Mapping[str, float]) -> None:
        """All metrics of the update at once; dated as recorded, so that the same line is the same point."""
        points = [Metric(name, value, int(at * 1000), update) for name, value in metrics.items()]
        self._client.log_batch(self._stage, metrics=points)

    def headline(self, figures: Mapping[str, float], text: str) -> None:
        """As metrics and a tag of the parent run; a report made again replaces the tag."""
        moment = int(time.time() * 1000)
        self._client.log_batch(
            self._parent, metrics=[Metric(name, value, moment, 0) for name, value in figures.items()]
        )
        self._client.set_tag(self._parent, "verdicts", text)

    def close(self) -> None:
        """Mark the runs as ended."""
        self._end()
        self._client.set_terminated(self._parent)

    def _end(self) -> None:
        if self._stage is not None:
            self._client.set_terminated(self._stage)
            self._stage = None

    def _run(self, name: str, stage: str, tags: dict[str, str]) -> str:
        """The id of the run of that stage ("": the parent), made where there is none yet."""
        mine = f"tags.`{KEY_TAG}` = '{self._facts.key}' and tags.`{STAGE_TAG}` = '{stage or 'none'}'"
        found = self._client.search_runs([self._experiment], filter_string=mine, max_results=1)
        if found:
            self._client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
        told = {KEY_TAG: self._facts.key, STAGE_TAG: stage or "none", **tags}
        return str(self._client.create_run(self._experiment, tags=told, run_name=name).info.run_id)
