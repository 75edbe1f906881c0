"""The benchmark itself, on the engines in one process; with the real ones and TRL beside them behind `slow`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlreason.bench.figures import UpdateFigures
from rlreason.bench.ours import FullLength
from rlreason.bench.prompts import fitting
from rlreason.bench.rl import bench_rl, check_same_work, pairs, setups_of
from rlreason.bench.workload import Setup, Workload
from rlreason.engines.protocols import SamplingSettings
from rlreason.engines.scratch import make_model
from rlreason.errors import RunFailed
from rlreason.recipe.schema import Architecture

SMALL = Workload("0.4M", prompts=2, group=3, prompt_tokens=5, completion_tokens=4)

SMALLEST = Workload("0.4M", prompts=2, group=4, prompt_tokens=8, completion_tokens=8)


def test_an_update_trains_every_token_once_and_pads_none(capfd: pytest.CaptureFixture[str]):
    figures = bench_rl(SMALLEST, [Setup("torch")], updates=1, overrides=["resources.threads=1"])
    ours = figures["sides"]["torch"]
    seconds, phases = (
        ours["seconds_an_update"]["median"],
        {name: each["seconds"] for name, each in ours["phases"].items()},
    )
    # 2 prompts x 4 completions of 8 + 8 tokens: 8 completions, 64 tokens generated, 128 trained, all in one pass
    assert ours["completions_per_s"]["median"] == pytest.approx(8 / seconds)
    assert ours["generated_tokens_per_s"]["median"] == pytest.approx(64 / phases["generate"])
    assert ours["trained_tokens_per_s"]["median"] == pytest.approx(128 / phases["learn"])
    # 2 prompts of 8 tokens once each, and 8 completions of 8
    assert (ours["forward_passes"], ours["padded_share"], ours["computed_tokens"]) == (1, 0.0, 80)
    assert sum(phases.values()) == pytest.approx(seconds)
    assert figures["workload"]["parameters"] == 430_752
    assert ours["peak_memory_gib"] > 0.1
    floor = figures["floor"]["generate"]["seconds"]["median"]
    assert ours["floor_share"]["generate"]["median"] == pytest.approx(floor / phases["generate"])
    assert figures["ratios"] == {} and json.dumps(figures)
    captured = capfd.readouterr()
    assert captured.out == "" and "1/1: torch" in captured.err


@pytest.mark.parametrize(
    ("prompts", "seconds", "wanted"),
    [
        (1, 0.1, 64),  # 64 x 0.1 = 6.4 s, twice that would be 12.8
        (64, 4.9, 128),
        (64, 6.0, 64),
        (64, 21.0, 16),  # half would take 10.5 s
        (1, 60.0, 1),
    ],
)
def test_prompts_are_doubled_while_an_update_stays_short(prompts: int, seconds: float, wanted: int):
    assert fitting(prompts, seconds) == wanted


def test_every_side_is_compared_with_the_peer_and_with_one_process_of_its_engine():
    setups = [Setup("torch"), *setups_of(["vllm"], [1, 2], [1])]
    assert pairs(setups, "trl") == [
        ("torch", "trl"),
        ("vllm", "trl"),
        ("vllm-2x1", "trl"),
        ("vllm-2x1", "vllm"),
    ]
    assert pairs(setups[:2], None) == []


def test_engines_that_were_not_named_are_those_that_can_be_several():
    assert [setup.name for setup in setups_of(None, [1, 2], [1, 2])] == ["vllm", "vllm-1x2", "vllm-2x1", "vllm-2x2"]
    assert setups_of(None, [1], [1])[0] == Setup("torch")


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
    ours = UpdateFigures(1.0, {"generate": 0.5, "learn": 0.25}, 6, 24, 54, 1, 0.0, 54)
    check_same_work({"ours": ours, "trl": replace(ours, seconds=2.0, forward_passes=3)})
    with pytest.raises(RunFailed, match="trl: 6 completions, 23 generated and 54 trained tokens"):
        check_same_work({"ours": ours, "trl": replace(ours, generated_tokens=23)})


@pytest.mark.slow
def test_trl_does_the_same_work_in_turns_with_ours():
    figures = bench_rl(SMALL, [Setup("torch"), Setup("vllm")], "trl", updates=2)
    assert set(figures["ratios"]) == {"torch / trl", "vllm / trl"}
    assert set(figures["ratios"]["vllm / trl"]) == {
        "completions_per_s",
        "generated_tokens_per_s",
        "trained_tokens_per_s",
    }
    assert figures["sides"]["trl"]["padded_share"] == 0.0
    assert figures["sides"]["vllm"]["phases"]["other"]["share"] < 0.5


@pytest.mark.slow
def test_as_many_prompts_are_taken_as_an_update_of_some_seconds_has():
    workload = Workload("0.4M", prompts=None, group=4, prompt_tokens=8, completion_tokens=8)
    figures = bench_rl(workload, [Setup("torch")], updates=1)
    assert figures["workload"]["prompts"] > 8  # 2 of these take a tenth of a second
    assert figures["sides"]["torch"]["seconds_an_update"]["median"] > 1
