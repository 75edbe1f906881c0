"""Hours of a plan against arithmetic by hand, and what is said of where its rates are from."""

from __future__ import annotations

from typing import Any

import pytest

from rlreason.recipe import build_plan, load_recipe
from rlreason.recipe.schema import Resources
from rlreason.simulate.hours import PlanHours, held_devices, plan_hours, scaled_to
from rlreason.simulate.rates import MeasuredDecoding, ModelSize, load_rates
from tests.simulate.works import rates

MODEL = ModelSize(parameters=1000, value_bytes=2)


def hours(recipe: str = "quickstart", *overrides: str, devices: int = 1, **changes: Any) -> PlanHours:
    """Of a shipped recipe by `works.RATES`; every prompt has 20 tokens and every completion 10."""
    loaded = load_recipe(recipe, overrides).recipe
    plan = build_plan(loaded, model_fingerprint="m")
    tokens = {stage.id: (20.0, 10.0) for stage in plan.stages}
    return plan_hours(plan, loaded, rates(**changes), MODEL, tokens, counted=True, devices=devices)


def seconds(found: PlanHours, name: str) -> tuple[float, float, float]:
    """(generate, learn, other) of the first stage of that name."""
    stage = next(each for each in found.stages if each.stage.name == name)
    return stage.generate, stage.learn, stage.other


def test_a_supervised_stage_takes_its_rows():
    # 150 updates of 28 rows of 256 tokens at 100 tokens/s
    assert seconds(hours(), "atomic") == pytest.approx((0, 150 * 28 * 256 / 100, 0))


def test_an_rl_stage_generates_then_learns_prompt_and_completion_then_syncs():
    # 60 updates: 10 steps of 0.01 + 0.256 s; 256 x (20 + 10) tokens at 100/s; a sync of 0.5 s
    assert seconds(hours(), "rl") == pytest.approx((60 * 2.66, 60 * 76.8, 30))


def test_an_evaluation_is_decoded_in_full_batches():
    # 3 x 128 + 2 x 64 problems, one greedy and 16 sampled completions each: 17 batches of 512, 10 steps of 0.522 s
    assert seconds(hours(), "evaluate") == pytest.approx((17 * 5.22, 0, 0))


def test_what_does_not_fill_a_batch_is_decoded_in_shorter_steps():
    # 1 problem a level and probe, 3 completions: 5 x 3 sequences, 10 steps of 0.025 s
    few = ("evaluation.problems=1", "evaluation.samples=2", "evaluation.k=[1]")
    probes = ("evaluation.probes.parametric.problems=1", "evaluation.probes.contextual.problems=1")
    assert seconds(hours("quickstart", *few, *probes), "evaluate") == pytest.approx((0.25, 0, 0))


def test_prompts_are_read_once_for_a_group():
    reading = {"type": "linear", "step_s": 0.01, "sequence_s": 0.001, "prompt_token_s": 0.1}
    # 32 prompts of 20 tokens, whatever the group of 8
    assert seconds(hours(decoding=reading), "rl")[0] == pytest.approx(60 * (2.66 + 32 * 20 * 0.1))


def test_rejection_sampling_matched_by_samples_draws_its_partners():
    # 60 x 32 x 8 samples over 4 rounds: 3,840 = 7 full batches and 256 each, 10 steps of 0.522 s and of 0.266 s
    generate, learn, _ = seconds(hours("controls"), "rft")
    assert generate == pytest.approx(4 * 10 * (7 * 0.522 + 0.266))
    assert learn == pytest.approx(4 * 30 * 28 * 256 / 100)


def test_every_seed_counts_and_every_device_is_held():
    one, three = hours(devices=2), hours("quickstart", "seeds=[0, 1, 2]", devices=2)
    assert three.wall_hours == pytest.approx(3 * one.wall_hours)
    assert one.wall_hours == pytest.approx(sum(each.total for each in one.stages) / 3600)
    assert one.device_hours == pytest.approx(2 * one.wall_hours)
    assert one.as_json()["device_hours"] == one.device_hours


def test_the_forms_say_what_is_measured_and_what_assumed():
    assert (hours().generating, hours().learning) == ("measured", "measured")
    loaded = load_recipe("quickstart").recipe
    plan = build_plan(loaded, model_fingerprint="m")
    tokens = {stage.id: (20.0, 10.0) for stage in plan.stages}
    assumed = plan_hours(plan, loaded, load_rates("assumed_h200"), MODEL, tokens, counted=False, devices=1)
    assert (assumed.generating, assumed.learning) == ("assumed", "assumed")
    assert assumed.as_json()["tokens"] == "assumed"


def test_rates_of_another_model_are_scaled_by_parameters_and_say_so():
    smaller = {"parameters": 500}
    assert seconds(hours(model=smaller), "atomic")[1] == pytest.approx(2 * seconds(hours(), "atomic")[1])
    assert seconds(hours(model=smaller), "rl")[0] == pytest.approx(2 * seconds(hours(), "rl")[0])
    assert hours(model=smaller).learning == "measured with 500 parameters, scaled by parameters"
    assert hours(model={"parameters": 1015}).learning == "measured"  # within 2%


def test_measured_points_are_scaled_too():
    points = {"type": "measured", "points": [{"sequences": 8, "tokens_per_s": 100}], "prefill_tokens_per_s": 1000}
    decoding = scaled_to(rates(decoding=points, model={"parameters": 500}), MODEL).decoding
    assert isinstance(decoding, MeasuredDecoding)
    assert (decoding.points[0].tokens_per_s, decoding.prefill_tokens_per_s) == (50, 500)


@pytest.mark.parametrize(
    ("said", "gpus", "devices"),
    [
        ({}, 1, 1),  # generator and learner share the one there is
        ({}, 2, 2),
        ({}, None, 1),
        ({"generators": 4, "learners": 2, "placement": "colocated"}, 8, 4),
        ({"generators": 2, "tensor_parallel": 2, "learners": 3}, 8, 7),
        ({"generator": "torch", "learner": "torch"}, 8, 1),
    ],
)
def test_devices_are_those_that_engines_hold(said: dict[str, Any], gpus: int | None, devices: int):
    assert held_devices(Resources(**said), on_gpu=True, gpus=gpus, scorers=0) == devices
    assert held_devices(Resources(), on_gpu=False, gpus=0, scorers=0) == 1
