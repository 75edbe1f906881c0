"""Against TensorBoard itself: what its own reader finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loggers.told import told_twice

pytest.importorskip("tensorboard")


def test_updates_made_again_replace_those_before_and_the_headline_is_there(tmp_path: Path):
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    folder, _ = told_twice(tmp_path, "tensorboard")
    found = EventMultiplexer().AddRunsFromDirectory(str(folder.path / "tensorboard")).Reload()
    assert set(found.Runs()) == {"rl.sft_rl.seed0.0", "report"}
    losses = found.Tensors("rl.sft_rl.seed0.0", "loss") if not found.Runs()["report"]["scalars"] else []
    points = losses or found.Scalars("rl.sft_rl.seed0.0", "loss")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0), (5, 50.0)]
    assert points[0].wall_time == 1001.0
    assert [(point.step, point.value) for point in found.Scalars("report", "sft_rl/iid")] == [(0, 0.75)]
    (verdicts,) = found.Tensors("report", "verdicts/text_summary")
    assert verdicts.tensor_proto.string_val == [b"sft_rl against sft on iid: amplification"]
    (recipe,) = found.Tensors("rl.sft_rl.seed0.0", "recipe/text_summary")
    assert b"name: tiny" in recipe.tensor_proto.string_val[0]
