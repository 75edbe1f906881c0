"""Tokens that the policy did not sample are read like the prompt: they change no loss, no gradient and no figure."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from rlreason.engines.objective import UpdateTally, micro_batch_losses, policy_figures
from rlreason.engines.policy import PolicyModule, micro_batch
from rlreason.engines.protocols import PolicyBatch, PolicySettings
from rlreason.recipe.objectives import CispoLoss, ClippedLoss, Correction, Critic, GspoLoss, Kl
from tests.engines.updates import draw_batch, policy_settings

CPU = torch.device("cpu")
PLAN = [[0, 3], [4, 1], [2]]
EVERYTHING = {"kl": Kl(weight=0.1), "entropy_weight": 0.1, "critic": Critic()}


def masked(batch: PolicyBatch, junk: float = 0.0) -> PolicyBatch:
    """The batch as if every third token had been said by somebody else, with `junk` for all that is said of these."""
    mask = np.arange(len(batch.weights)) % 3 != 1
    drawn = np.random.default_rng(1).normal(size=len(mask)).astype(np.float32)

    def spoilt(values: np.ndarray) -> np.ndarray:
        return np.where(mask, values, np.float32(junk))

    return replace(
        batch,
        loss_mask=mask,
        generator_logprobs=spoilt(batch.generator_logprobs),
        advantages=spoilt(batch.advantages),
        weights=np.where(mask, batch.weights, 0.0).astype(np.float32),
        returns=spoilt(drawn),
        proximal_logprobs=spoilt(batch.generator_logprobs + 0.01 * drawn),
    )


def loss_of(
    checkpoint, batch: PolicyBatch, settings: PolicySettings
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """(metrics, gradients) of an update."""
    torch.manual_seed(0)
    module = PolicyModule(
        AutoModelForCausalLM.from_pretrained(checkpoint), critic=settings.critic is not None, entropy_gradient=True
    )
    reference = PolicyModule(AutoModelForCausalLM.from_pretrained(checkpoint)) if settings.kl else None
    tally = UpdateTally()
    for loss in micro_batch_losses(module, batch, PLAN, settings, CPU, tally, reference=reference):
        loss.backward()
    return tally.metrics(settings), {name: each.grad for name, each in module.named_parameters()}


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": ClippedLoss()},
        {"loss": CispoLoss(type="cispo"), **EVERYTHING},
        {"loss": GspoLoss(type="gspo"), "correction": Correction(level="sequence")},
        {"loss": ClippedLoss(), "correction": Correction(level="token", method="mask")},
    ],
    ids=["clipped", "everything", "gspo", "token correction"],
)
def test_what_stands_there_changes_neither_loss_nor_gradient_nor_figures(tied, changes):
    settings = policy_settings(**changes)
    batch = draw_batch(tied, noise=0.3)
    metrics, gradients = loss_of(tied, masked(batch), settings)
    spoilt_metrics, spoilt_gradients = loss_of(tied, masked(batch, junk=float("nan")), settings)
    assert spoilt_metrics == metrics and np.isfinite(metrics["loss"])
    assert metrics["completion_tokens"] == 13  # of 19 tokens, 6 are somebody else's
    for name, gradient in gradients.items():
        assert torch.equal(spoilt_gradients[name], gradient) and torch.isfinite(gradient).all()


def test_without_sequence_figures_the_loss_is_that_of_weight_nothing(tied):
    batch = masked(draw_batch(tied, noise=0.3))
    metrics, gradients = loss_of(tied, batch, policy_settings())
    weighed, weighed_gradients = loss_of(tied, replace(batch, loss_mask=None), policy_settings())
    assert metrics["loss"] == pytest.approx(weighed["loss"], abs=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, weighed_gradients[name], rtol=1e-4, atol=1e-7)
    # while the canary would have taken the zeros that stand for log-probabilities at their word
    assert metrics["mismatch_mean"] < 0.3 < weighed["mismatch_mean"]


def test_figures_are_0_where_nothing_was_sampled(tied):
    batch = masked(draw_batch(tied))
    module = PolicyModule(AutoModelForCausalLM.from_pretrained(tied))
    every = policy_figures(module, replace(batch, loss_mask=None), PLAN, policy_settings(), CPU).logprobs
    found = policy_figures(module, batch, PLAN, policy_settings(), CPU).logprobs
    np.testing.assert_allclose(found, np.where(batch.loss_mask, every, 0.0), atol=1e-6)


def test_masked_rows_worked_by_hand():
    # prompt 1 2, turn 3 4, answer 5 6, turn 7
    batch = PolicyBatch(
        tokens=np.arange(1, 8, dtype=np.int32),
        prompt_lengths=np.array([2], dtype=np.int32),
        lengths=np.array([5], dtype=np.int32),
        generator_logprobs=np.array([-1, -2, 0, 0, -3], dtype=np.float32),
        advantages=np.array([1, 2, 0, 0, 3], dtype=np.float32),
        weights=np.array([0.5, 0.5, 0, 0, 0.5], dtype=np.float32),
        loss_mask=np.array([True, True, False, False, True]),
    )
    part = micro_batch(batch, [0], CPU)
    assert part.tokens.tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    # the last turn's token is predicted from the answer before it
    assert part.columns.tolist() == [1, 2, 5] and part.targets.tolist() == [3, 4, 7]
    assert part.generator_logprobs.tolist() == [-1, -2, -3] and part.advantages.tolist() == [1, 2, 3]
    assert part.held == 7
