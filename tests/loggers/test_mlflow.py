"""Against MLflow itself, its database in the run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loggers.told import told_twice

pytest.importorskip("mlflow")


def test_a_resumed_run_goes_on_in_the_same_runs_without_a_point_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    import mlflow

    folder, key = told_twice(tmp_path, "mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"first", "rl.sft_rl.seed0.0"}
    stage, parent = runs["rl.sft_rl.seed0.0"], runs["first"]
    assert stage.data.tags["mlflow.parentRunId"] == parent.info.run_id
    history = client.get_metric_history(stage.info.run_id, "loss")
    assert [(point.step, point.value, point.timestamp) for point in sorted(history, key=lambda point: point.step)] == [
        *((update, float(update), 1_000_000 + 1000 * update) for update in (1, 2, 3, 4)),
        (5, 50.0, 1_005_000),
    ]
    assert (parent.data.metrics["sft_rl/iid"], parent.data.tags["rlreason.key"]) == (0.75, key)
    assert parent.data.tags["verdicts"] == "sft_rl against sft on iid: amplification"
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
