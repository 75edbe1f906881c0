"""Against trackio itself, its database in a folder of the test's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loggers.told import told_twice

pytest.importorskip("trackio")


def test_a_resumed_stage_goes_on_in_its_run_without_a_step_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio", raising=False)
    from trackio.sqlite_storage import SQLiteStorage

    _, key = told_twice(tmp_path, "trackio")
    name = f"first-{key}.rl.sft_rl.seed0.0"
    assert set(SQLiteStorage.get_runs("tiny")) == {name, f"first-{key}.report"}
    logs = SQLiteStorage.get_logs("tiny", name)
    assert [(log["step"], log["loss"]) for log in logs] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 50.0)]
    (report,) = SQLiteStorage.get_logs("tiny", f"first-{key}.report")
    assert report["sft_rl/iid"] == 0.75
