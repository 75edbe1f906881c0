"""Operations of a transformer, and the tally of what was spent, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.budget import Spending, TransformerCost, attended_keys

COST = TransformerCost(parameters=100, attention_width=10)


def test_a_token_sees_itself_and_all_before_it():
    # 1 + 2 + 3, and 1
    assert attended_keys(np.array([3, 1])).tolist() == [6.0, 1.0]
    # behind a prompt of 4: 5 + 6 + 7
    assert attended_keys(np.array([3]), 4).tolist() == [18.0]


def test_a_forward_pass_costs_two_operations_a_weight_and_four_a_key():
    # 3 tokens: 2 x 100 x 3 = 600; 6 keys: 4 x 10 x 6 = 240
    assert COST.forward(3, 6) == 840
    assert COST.training(3, 6) == 3 * 840


def test_frozen_weights_have_no_gradients_to_make():
    # forward 840, and backward through the activations: as much again
    assert COST.training(3, 6, frozen=True) == 2 * 600 + 3 * 240


def test_over_a_whole_context_it_is_half_of_palms_attention():
    # PaLM counts 12 L H Q T a token with every key seen; a causal token sees half of them on average
    length = 10_000
    attention = COST.training(length, float(attended_keys(np.array([length]))[0])) - 6 * 100 * length
    assert math.isclose(attention, 12 * 10 * length * length / 2, rel_tol=1e-3)


@given(st.integers(1, 50), st.integers(0, 50))
def test_a_completion_costs_what_the_whole_costs_less_its_prompt(length, prompt):
    whole, front = attended_keys(np.array([prompt + length, prompt]))
    assert attended_keys(np.array([length]), prompt)[0] == whole - front


def test_spending_comes_back_from_the_metrics_of_an_update():
    spent = Spending(samples=8, sampled_tokens=40, trained_tokens=30, updates=1, flops=1.5e15)
    assert spent.metrics() == {
        "spent_samples": 8.0,
        "spent_sampled_tokens": 40.0,
        "spent_trained_tokens": 30.0,
        "spent_updates": 1.0,
        "spent_flops": 1.5e15,
    }
    assert Spending.of_metrics({**spent.metrics(), "loss": 2.0}) == spent


def test_operations_that_are_not_known_make_their_sum_unknown():
    total = Spending(samples=2, flops=5.0) + Spending(samples=3, flops=math.nan)
    assert total.samples == 5
    assert total.known_flops is None
    assert "spent_flops" in total.metrics()
