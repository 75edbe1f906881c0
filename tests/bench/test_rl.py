"""The benchmark itself, on the engines in one process; with the real ones and TRL beside them behind `slow`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlreason.bench.figures import UpdateFigures
from rlreason.bench.ours import FullLength
from rlreason.bench.rl import bench_rl, check_same_work
from rlreason.bench.workload import Workload
from rlreason.engines.protocols import SamplingSettings
from rlreason.engines.scratch import make_model
from rlreason.errors import RunFailed
from rlreason.recipe.schema import Architecture

SMALL = Workload("0.4M", "torch", prompts=2, group=3, prompt_tokens=5, completion_tokens=4)


def test_an_update_trains_every_token_once_and_pads_none(capfd: pytest.CaptureFixture[str]):
    figures = bench_rl(SMALL, None, updates=1)
    ours, seconds = figures["ours"], figures["ours"]["seconds_an_update"]["median"]
    phases = {name: phase["seconds"] for name, phase in ours["phases"].items()}
    # 2 prompts x 3 completions: 6 completions, 6 x 4 tokens generated, 6 x (5 + 4) trained, all in one pass
    assert ours["completions_per_s"]["median"] == pytest.approx(6 / seconds)
    assert ours["generated_tokens_per_s"]["median"] == pytest.approx(24 / phases["generate"])
    assert ours["trained_tokens_per_s"]["median"] == pytest.approx(54 / phases["learn"])
    assert (ours["forward_passes"], ours["padded_share"]) == (1, 0.0)
    assert sum(phases.values()) == pytest.approx(seconds)
    assert figures["workload"]["parameters"] == 430_752
    assert ours["peak_memory_gib"] > 0.1
    assert "ratios" not in figures and json.dumps(figures)
    captured = capfd.readouterr()
    assert captured.out == "" and "1/1: ours" in captured.err


def test_a_full_length_generator_goes_on_past_the_end(tmp_path: Path):
    from rlreason.engines.torch_generator import TorchGenerator

    make_model(tmp_path, Architecture(layers=1, width=32, heads=1, max_positions=32), [], seed=0)
    ends = list(range(json.loads((tmp_path / "config.json").read_text())["vocab_size"]))  # every token is an end token
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    generator = TorchGenerator(tmp_path, dtype="float32", max_concurrent=4)
    prompts, settings = [np.array([5, 6], dtype=np.int32)] * 2, SamplingSettings(1.0, 1.0, 7)
    assert generator.generate(prompts, [1, 2], settings).lengths.tolist() == [1, 1]
    forced = FullLength(generator).generate(prompts, [1, 2], settings)
    assert forced.lengths.tolist() == [7, 7]
    assert not forced.stopped.any()


def test_sides_that_did_different_work_are_not_compared():
    ours = UpdateFigures(1.0, {"generate": 0.5, "learn": 0.25}, 6, 24, 54, 1, 0.0)
    check_same_work({"ours": ours, "trl": replace(ours, seconds=2.0, forward_passes=3)})
    with pytest.raises(RunFailed, match="trl: 6 completions, 23 generated and 54 trained tokens"):
        check_same_work({"ours": ours, "trl": replace(ours, generated_tokens=23)})


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "vllm"])
def test_trl_does_the_same_work_in_turns_with_ours(engine: str):
    figures = bench_rl(replace(SMALL, engine=engine), "trl", updates=2)
    assert set(figures["ratios"]) == {"completions_per_s", "generated_tokens_per_s", "trained_tokens_per_s"}
    assert figures["trl"]["padded_share"] == 0.0
    assert figures["ours"]["phases"]["other"]["share"] < 0.5
