from __future__ import annotations

import math

import numpy as np
import pytest

from rlreason.recipe import load_recipe
from rlreason.simulate.costs import Layout, draw_lengths, lognormal_of, work_of
from rlreason.simulate.rates import ConstantLengths, EmpiricalLengths, LognormalLengths, ModelSize
from tests.simulate.works import costs, work


def test_a_roofline_step_reads_weights_and_caches_or_computes():
    decoding = {
        "type": "roofline", "flops": 1e6, "bandwidth": 1e4, "flops_share": 0.5, "bandwidth_share": 0.5, "step_s": 0.1
    }  # fmt: skip
    model = ModelSize(parameters=1000, value_bytes=2, cache_bytes_per_token=10)
    step = costs(Layout(1, 1), work(model=model, sequences=2000), decoding=decoding, prompt_tokens=50).step_seconds
    # constant lengths of 100: a running sequence has 50 + 50 tokens behind it, 1000 bytes
    assert step[0] == 0
    assert step[1] == pytest.approx(0.1 + (2000 + 1000) / 5000)
    assert step[2] - step[1] == pytest.approx(1000 / 5000)
    halved = costs(
        Layout(1, 1, tensor_parallel=2), work(model=model, sequences=2000), decoding=decoding, prompt_tokens=50
    )
    assert halved.step_seconds[1] == pytest.approx(0.1 + (2000 + 1000) / 10_000)
    # without caches the arithmetic overtakes: 2 x 1000 x n / 5e5 against 0.4 s of reading the weights
    bare = costs(Layout(1, 1), work(sequences=2000), decoding=decoding).step_seconds
    assert bare[10] == pytest.approx(0.1 + 0.4)
    assert bare[1000] == pytest.approx(0.1 + 4.0)


def test_measured_points_are_met_and_seconds_lie_between():
    points = [{"sequences": 2, "tokens_per_s": 20}, {"sequences": 10, "tokens_per_s": 50}]
    measured = {"type": "measured", "points": points, "prefill_tokens_per_s": 1000}
    there = costs(Layout(1, 1), decoding=measured, prompt_tokens=100)
    # steps of 0.1 and 0.2 s at the points
    assert there.step_seconds[[1, 2, 6, 10, 20]] == pytest.approx([0.1, 0.1, 0.15, 0.2, 0.4])
    assert there.prompt_s == pytest.approx(0.1)


def test_a_learner_is_bound_by_its_longest_sequence_however_many_ranks():
    lengths = np.array([[100, 100], [100, 300]])
    seconds = [costs(Layout(1, ranks), prompt_tokens=100).learn_s(lengths) for ranks in (1, 2, 64)]
    assert seconds == pytest.approx([10.0, 5.0, 4.0])


def test_zero_sends_gradients_once_an_update_and_weights_once_a_pass():
    learning = {"tokens_per_s": 1000, "bandwidth": 1e4, "latency_s": 0.01, "update_s": 0.2}
    lengths = np.full((4, 2), 100)
    # 800 tokens on 4 ranks: 0.2 s; 2 x 2000 bytes x 3/4 / 1e4 = 0.3 s and 2 latencies an update
    plain = costs(Layout(1, 4), work(minibatches=2), learning=learning)
    assert plain.learn_s(lengths) == pytest.approx(0.2 + 2 * (0.2 + 0.3 + 0.02))
    # ZeRO 3: two passes of 100 tokens; 3 x 2000 bytes x 3/4 / 1e4 = 0.45 s a pass
    sharded = costs(Layout(1, 4), work(zero_stage=3, pass_tokens=100), learning=learning)
    assert sharded.learn_s(lengths) == pytest.approx(0.2 + 0.2 + 2 * (0.45 + 0.02))


def test_a_training_token_costs_six_operations_a_weight():
    there = costs(Layout(1, 1), learning={"flops": 6e5, "flops_share": 0.5})
    assert there.learn_s(np.array([[50]])) == pytest.approx(50 * 6000 / 3e5)


def test_lengths_are_cut_and_groups_stay_together():
    random = np.random.default_rng(0)
    assert (draw_lengths(ConstantLengths(type="constant", tokens=9), random, 2, 3, 5) == 5).all()
    recorded = EmpiricalLengths(type="empirical", groups=((1, 2), (10, 20)))
    drawn = draw_lengths(recorded, random, 50, 2, 100)
    assert {tuple(row) for row in drawn.tolist()} == {(1, 2), (10, 20)}
    wider = draw_lengths(recorded, random, 50, 4, 100)
    assert all(set(row) <= {1, 2} or set(row) <= {10, 20} for row in wider.tolist())


def test_a_lognormal_is_found_again_although_its_tail_is_cut():
    said = LognormalLengths(type="lognormal", median=400, sigma=0.7)
    drawn = draw_lengths(said, np.random.default_rng(0), 4000, 4, 900)
    found = lognormal_of(EmpiricalLengths(type="empirical", groups=tuple(map(tuple, drawn.tolist()))))
    assert (found.median, found.sigma) == (pytest.approx(400, rel=0.02), pytest.approx(0.7, rel=0.03))
    assert math.isclose(drawn.max(), 900)


def test_work_is_what_the_recipe_says():
    recipe = load_recipe("quickstart", ["stages.rl.prompts_per_update=64", "resources.max_concurrent=99"]).recipe
    asked = work_of(recipe, recipe.stages["rl"], ModelSize(parameters=5))  # type: ignore[arg-type]
    assert (asked.prompts, asked.group, asked.completions, asked.max_new_tokens) == (64, 8, 512, 48)
    assert (asked.sequences, asked.checkpoint_every, asked.zero_stage, asked.pass_tokens) == (99, 10, 1, 16_384)
