"""Where other weights sampled some of the tokens, generator and learner are held against each other on the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlreason.engines.objective import MISMATCH_TOLERANCE, UpdateTally, check_mismatch, micro_batch_losses
from rlreason.engines.policy import PolicyModule
from rlreason.engines.protocols import PolicyBatch
from rlreason.errors import WeightSyncMismatch
from tests.engines.updates import draw_batch, policy_settings

PLAN = [[0, 3], [4, 1], [2]]
OFF = np.float32(0.5)


def metrics_of(checkpoint, batch: PolicyBatch) -> dict[str, float]:
    from transformers import AutoModelForCausalLM

    module, tally = PolicyModule(AutoModelForCausalLM.from_pretrained(checkpoint)), UpdateTally()
    for _ in micro_batch_losses(module, batch, PLAN, policy_settings(), torch.device("cpu"), tally):
        pass
    return tally.metrics(policy_settings())


def stale(batch: PolicyBatch, share: int, **changes: np.ndarray) -> PolicyBatch:
    """The batch with every `share`-th token's generator logprob off by 0.5, as other weights would have it."""
    old = np.arange(len(batch.weights)) % share == 0
    return replace(batch, generator_logprobs=batch.generator_logprobs + OFF * old, **changes)


def test_what_other_weights_sampled_does_not_stop_the_step(tied):
    clean = draw_batch(tied)
    old = np.arange(len(clean.weights)) % 2 == 0
    metrics = metrics_of(tied, stale(clean, 2, current=~old))
    # ten of nineteen tokens are off by a half
    assert metrics["mismatch_mean"] == pytest.approx(0.5 * old.mean(), abs=1e-4)
    assert metrics["mismatch_current"] < MISMATCH_TOLERANCE[torch.float32]
    check_mismatch(metrics, policy_settings(), torch.float32, 3)


def test_what_the_present_weights_sampled_still_does(tied):
    clean = draw_batch(tied)
    current = np.arange(len(clean.weights)) % 2 == 0
    metrics = metrics_of(tied, stale(clean, 2, current=current))
    assert metrics["mismatch_current"] == pytest.approx(0.5, abs=1e-4)
    with pytest.raises(WeightSyncMismatch, match=r"update 3: .* by 0.5 on average"):
        check_mismatch(metrics, policy_settings(), torch.float32, 3)


def test_a_batch_of_one_version_is_measured_and_told_as_before(tied):
    clean = draw_batch(tied)
    plain, marked = (
        metrics_of(tied, stale(clean, 3, current=current)) for current in (None, np.ones(len(clean.weights), bool))
    )
    assert "mismatch_current" not in plain
    assert plain == marked
    with pytest.raises(WeightSyncMismatch):
        check_mismatch(plain, policy_settings(), torch.float32, 3)
