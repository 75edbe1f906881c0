"""Sequences that nothing is learned from are not computed: the update is the same to the last digits, and cheaper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlreason.engines import policy
from rlreason.engines.policy import load_policy, plan_update, sequences_that_teach
from rlreason.engines.protocols import PolicyBatch
from rlreason.engines.torch_learner import TorchLearner
from rlreason.engines.weights import read_checkpoint
from rlreason.recipe.objectives import CispoLoss, ClippedLoss, Correction, Critic, GspoLoss, Kl
from tests.engines.updates import UNEVEN, draw_batch, grouped, policy_settings

EQUAL = ((8, (5, 5, 5, 5)), (8, (5, 5, 5, 5)))


def silenced(batch: PolicyBatch, sequences: list[int]) -> PolicyBatch:
    """The batch with no advantage in these sequences, as groups whose rewards are all the same have none."""
    owner = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
    return replace(batch, advantages=np.where(np.isin(owner, sequences), 0, batch.advantages).astype(np.float32))


def updated(checkpoint, batch, settings, tmp_path, monkeypatch, *, all_computed):
    """(metrics of two updates, the weights after them)."""
    if all_computed:
        monkeypatch.setattr(policy, "sequences_that_teach", lambda batch, settings: list(range(len(batch.lengths))))
    learner = TorchLearner(dtype="float32", micro_batch_tokens=40)
    learner.begin(checkpoint, settings, None)
    metrics = [dict(learner.update(batch, update, on_policy=False)) for update in (1, 2)]
    output = tmp_path / str(all_computed)
    learner.save_model(output)
    learner.close()
    return metrics, dict(read_checkpoint(output))


@pytest.mark.parametrize(
    "loss", [ClippedLoss(), CispoLoss(type="cispo"), GspoLoss(type="gspo")], ids=lambda loss: loss.type
)
@pytest.mark.parametrize("silent", [[0, 1, 2], [4], [0, 1, 2, 3, 4, 5]], ids=str)
def test_the_weights_are_those_of_an_update_that_computes_all(tied, tmp_path, monkeypatch, loss, silent):
    batch = silenced(grouped(UNEVEN), silent)
    settings = policy_settings(loss=loss, correction=Correction(method="truncate", level="sequence", high=2.0))
    with monkeypatch.context() as patched:
        whole, wanted = updated(tied, batch, settings, tmp_path, patched, all_computed=True)
    ours, found = updated(tied, batch, settings, tmp_path, monkeypatch, all_computed=False)
    # Adam divides a gradient by its own size, rounding included, so the few that are nearly 0 may differ by more
    off = torch.cat([(found[name] - weight).abs().flatten() for name, weight in wanted.items()])
    assert off.quantile(0.999) < 2e-6 and off.max() < 1e-4
    for mine, theirs in zip(ours, whole, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-6)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3, abs=1e-7)
        # what was sampled and trained on is the same; what went through the model is less
        for name in ("completion_tokens", "trained_tokens", "learning_rate"):
            assert mine[name] == theirs[name]
        assert mine["computed_tokens"] < theirs["computed_tokens"]


def test_what_teaches_worked_by_hand():
    # two groups of four; the first has no advantage but in its last completion's last token, the second's first
    # completion has no weight
    batch = silenced(grouped(EQUAL), [0, 1, 2, 3])
    batch.advantages[19] = 0.5
    batch.weights[20:25] = 0
    assert sequences_that_teach(batch, policy_settings()) == [3, 5, 6, 7]
    for needs_all in (
        {"entropy_weight": 0.01},
        {"kl": Kl(weight=0.1)},
        {"critic": Critic(weight=0.5)},
    ):
        assert sequences_that_teach(batch, policy_settings(**needs_all)) == list(range(8))


def test_an_advantage_that_is_no_number_is_not_left_out():
    batch = silenced(grouped(EQUAL), list(range(8)))
    batch.advantages[7] = np.nan
    assert sequences_that_teach(batch, policy_settings()) == [1]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_rank_has_its_share_of_what_teaches_and_equally_many_passes(tied, ranks):
    module, _ = load_policy(tied, policy_settings(), torch.float32, torch.device("cpu"))
    batch = silenced(grouped(EQUAL), [0, 1, 2, 3, 6])
    plans = plan_update(module, batch, policy_settings(), ranks, 20)
    assert sorted(index for plan in plans for part in plan.batches for index in part) == [4, 5, 7]
    assert len({len(plan.batches) for plan in plans}) == 1
    # counted once, by one rank
    assert [plan.left_out for plan in plans] == [[0, 1, 2, 3, 6]] + [[]] * (ranks - 1)


def test_figures_of_an_update_are_of_all_its_tokens(tied, tmp_path, monkeypatch):
    # five sequences of 19 completion tokens whose generator is the learner itself
    batch = silenced(draw_batch(tied), [0, 3, 4])
    ((found, _), _) = updated(tied, batch, policy_settings(), tmp_path, monkeypatch, all_computed=False)
    # the second has no weight; so the third alone, of 2 + 7 tokens, goes through the model
    assert (found["computed_tokens"], found["completion_tokens"], found["trained_tokens"]) == (9, 19, 41)
    assert found["mismatch_mean"] < 1e-5
    alone = replace(
        batch,
        tokens=batch.tokens[7 + 6 : 7 + 6 + 9],
        **{name: getattr(batch, name)[2:3] for name in ("prompt_lengths", "lengths")},
        **{name: getattr(batch, name)[5:12] for name in ("generator_logprobs", "advantages", "weights")},
    )
    ((third, _), _) = updated(tied, alone, policy_settings(), tmp_path / "alone", monkeypatch, all_computed=False)
    surprise = -(batch.generator_logprobs[:5].sum() + batch.generator_logprobs[12:].sum())
    assert found["entropy"] == pytest.approx((7 * third["entropy"] + surprise) / 19, rel=1e-5)
