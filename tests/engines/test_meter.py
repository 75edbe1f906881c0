"""What metered engines count, by hand, and against torch's own counter of operations."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from rlreason.algorithms.budget import Spending, TransformerCost
from rlreason.engines.meter import (
    Meter,
    MeteredGenerator,
    MeteredLearner,
    MeteredScorer,
    model_cost,
    preference_spending,
    supervised_spending,
)
from rlreason.engines.protocols import (
    PolicyBatch,
    PreferencePairs,
    SampleBatch,
    SamplingSettings,
    ScorerModel,
    StepBatch,
    SupervisedJob,
)
from rlreason.recipe.objectives import Kl
from rlreason.recipe.training import Optimizer
from tests.engines.rows import make_rows
from tests.engines.updates import policy_settings

COST = TransformerCost(parameters=100, attention_width=10)
"""A token: 200 forward; a key: 40."""


class Anything:
    """An engine that answers each call with what it was given for that method."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **more: self._answers.get(name)


def tokens(*lengths: int) -> list[np.ndarray]:
    return [np.arange(length, dtype=np.int32) for length in lengths]


def sampled(*lengths: int) -> SampleBatch:
    total = sum(lengths)
    return SampleBatch(np.zeros(total, np.int32), np.zeros(total), np.array(lengths), np.ones(len(lengths), bool), 0)


def policy_batch(weights: list[float]) -> PolicyBatch:
    """Two sequences: prompts of 2 and 1, completions of 2 and 1."""
    flat = np.zeros(3, np.float32)
    return PolicyBatch(
        np.zeros(6, np.int32), np.array([2, 1]), np.array([2, 1]), flat, flat, np.array(weights, np.float32)
    )


@pytest.mark.parametrize("model", ["tied", "untied"])
def test_the_cost_of_a_model_is_what_torch_counts_of_it(model, request):
    folder, length = request.getfixturevalue(model), 16
    cost = model_cost(folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        loaded(input_ids=torch.zeros(1, length, dtype=torch.int64), use_cache=False)
    # the eager kernel computes the masked half of the attention too; norms are not multiplied as matrices
    norms = sum(each.numel() for name, each in loaded.named_parameters() if "norm" in name)
    expected = cost.forward(length, length * length) - 2 * norms * length
    # the rotary angles are products of matrices as well, of no account
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-3)


def test_sampling_computes_a_prompt_once_and_every_completion_behind_it():
    meter = Meter(COST)
    generator = MeteredGenerator(Anything(generate=sampled(2, 1, 3)), meter)
    prompts = tokens(3, 3, 2)
    generator.generate(prompts, [0, 1, 2], SamplingSettings(1.0, 1.0, 4))
    # tokens: prompts 3 + 2, completions 6; keys: 6 + 3 of the prompts, (4 + 5) + 4 + (3 + 4 + 5) of the completions
    assert meter.take() == Spending(prompts=2, samples=3, sampled_tokens=6, flops=200 * 11 + 40 * (9 + 9 + 4 + 12))
    assert meter.take() == Spending()


def test_a_prompt_asked_twice_is_one_prompt_and_two_samples():
    meter = Meter(COST)
    generator = MeteredGenerator(Anything(generate=sampled(1)), meter)
    for _ in range(2):
        generator.generate(tokens(3), [0], SamplingSettings(0.0, 1.0, 4))
    spent = meter.take()
    assert (spent.prompts, spent.samples, spent.sampled_tokens) == (1, 2, 2)


def test_an_update_trains_the_tokens_that_have_weight_and_pays_for_all():
    meter = Meter(COST)
    learner = MeteredLearner(Anything(update={"skipped": 0.0}), meter)
    learner.update(policy_batch([0.5, 0.5, 0.0]), 1, on_policy=True)
    # sequences of 4 and 2 tokens, keys 10 + 3
    assert meter.take() == Spending(trained_tokens=2, updates=1, flops=3 * (200 * 6 + 40 * 13))


def test_a_skipped_update_is_none_and_costs_the_same():
    meter = Meter(COST)
    MeteredLearner(Anything(update={"skipped": 1.0}), meter).update(policy_batch([1, 1, 1]), 1, on_policy=True)
    assert meter.take() == Spending(flops=3 * (200 * 6 + 40 * 13))


def test_a_reference_and_a_look_at_the_logprobs_are_forward_passes(tmp_path):
    meter = Meter(COST)
    learner = MeteredLearner(Anything(update={"skipped": 0.0}), meter)
    learner.begin(tmp_path, policy_settings(kl=Kl(weight=0.1), reference=tmp_path), None)
    learner.figures(policy_batch([1, 1, 1]))
    learner.update(policy_batch([1, 1, 1]), 1, on_policy=True)
    assert meter.take().flops == (1 + 3 + 1) * (200 * 6 + 40 * 13)


def test_rows_cost_their_sequences_and_not_their_padding():
    # rows of 10 tokens: sequences of 5 and 3, of 7, of 4 and 5; of each all but 2 prompt tokens are trained
    spent = supervised_spending(make_rows(), 1, COST)
    keys = (15 + 6, 28, 10 + 15)
    assert [each.trained_tokens for each in spent] == [3 + 1, 5, 2 + 3]
    assert [each.flops for each in spent] == [
        3 * (200 * held + 40 * seen) for held, seen in zip((8, 7, 9), keys, strict=True)
    ]
    (all_at_once,) = supervised_spending(make_rows(), 3, COST)
    assert all_at_once.flops == sum(each.flops for each in spent)
    assert all_at_once.updates == 1


def test_a_supervised_job_reports_what_each_update_spent(tmp_path):
    class Learner:
        weights = save_model = save_state = end = close = None

        def supervised(self, job, rows, report):
            report(2, {"loss": 1.0})
            return {}

    told = {}
    job = SupervisedJob(tmp_path, tmp_path, tmp_path, 3, Optimizer(learning_rate=1.0), 10, 0, batch_rows=1)
    MeteredLearner(Learner(), Meter(COST)).supervised(
        job, make_rows(), lambda update, said: told.update({update: said})
    )
    flops = 3.0 * (200 * 7 + 40 * 28)
    assert told == {2: {"loss": 1.0, "spent_trained_tokens": 5.0, "spent_updates": 1.0, "spent_flops": flops}}


def test_a_pair_is_trained_and_passes_the_reference():
    # two pairs: prompts of 1, completions of 2 and 1, then of 3 and 1; the second pair is trained twice
    pairs = PreferencePairs(
        np.zeros(11, np.int32), np.array([1, 1, 1, 1]), np.array([2, 1, 3, 1]), np.array([1, 0, 1, 1])
    )
    first, second = preference_spending(pairs, 2, COST)
    # tokens 3 + 2 and 4 + 2, keys 6 + 3 and 10 + 3
    one, other = 200 * 5 + 40 * 9, 200 * 6 + 40 * 13
    assert first == Spending(trained_tokens=4 + 3, updates=1, flops=4 * (one + other))
    assert second == Spending(trained_tokens=8, updates=1, flops=4 * 2 * other)


def test_an_implicit_scorer_passes_two_models_over_derivations_that_have_steps(tied, other):
    meter = Meter(COST)
    scorer = MeteredScorer(Anything(score=np.zeros(1)), meter)
    scorer.load(ScorerModel("implicit", (tied, other)))
    steps = np.zeros(1, np.int32)
    scorer.score(StepBatch(np.zeros(9, np.int32), np.array([2, 2]), np.array([3, 2]), np.array([1, 0]), steps, steps))
    cost = model_cost(tied)
    assert meter.take() == Spending(flops=2 * cost.forward(5, 15))


def test_without_known_sizes_everything_is_counted_but_operations():
    meter = Meter(None)
    MeteredGenerator(Anything(generate=sampled(2)), meter).generate(tokens(3), [0], SamplingSettings(1.0, 1.0, 4))
    spent = meter.take()
    assert (spent.samples, spent.sampled_tokens, spent.known_flops) == (1, 2, None)


def test_an_episode_that_goes_on_is_no_new_sample():
    meter = Meter()
    generator = MeteredGenerator(Anything(generate=sampled(2, 3)), meter)
    generator.generate(tokens(3, 3), [0, 1], SamplingSettings(1.0, 1.0, 4))
    generator.generate(tokens(6, 6), [0, 1], SamplingSettings(1.0, 1.0, 4, continued=True))
    spent = meter.take()
    assert (spent.samples, spent.sampled_tokens, spent.prompts) == (2, 10, 1)


def test_each_thread_is_told_what_its_own_work_cost():
    meter = Meter()
    meter.add(Spending(updates=1))
    found = []

    def sample() -> None:
        meter.add(Spending(samples=3), [b"a", b"b", b"a"])
        found.append(meter.take())

    thread = threading.Thread(target=sample)
    thread.start()
    thread.join()
    assert (found[0].samples, found[0].prompts, found[0].updates) == (3, 2, 0)
    # what one thread hands over to another is counted there, prompts and all
    meter.add(found[0])
    both = meter.take()
    assert (both.samples, both.prompts, both.updates) == (3, 2, 1)
