"""Every option of an update's loss against the papers' formulas, a sequence at a time, in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from rlreason.engines.objective import UpdateTally, may_step, micro_batch_losses, policy_figures
from rlreason.engines.policy import PolicyModule, load_policy
from rlreason.engines.torch_learner import TorchLearner
from rlreason.errors import RunFailed
from rlreason.recipe.objectives import CispoLoss, ClippedLoss, Correction, Critic, GspoLoss, Kl
from rlreason.recipe.training import Lora, Optimizer
from tests.engines.updates import completion_logprobs, draw_batch, policy_settings, sequences_of

CPU = torch.device("cpu")
PLAN = [[4], [], [1, 3], [0, 2]]


def surrogate(loss: Any, ratio: torch.Tensor, new: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """Minus the objective of one sequence's tokens."""
    if isinstance(loss, CispoLoss):
        held = ratio.detach().clamp(1 - loss.clip_low, 1 + loss.clip_high)
        return -held * advantages * new
    if isinstance(loss, GspoLoss):
        mean = ratio.log().mean().exp()
        ratio = (
            mean.detach() * torch.exp(new - new.detach()) if advantages.unique().numel() > 1 else mean.expand(len(new))
        )
    plain = torch.minimum(ratio * advantages, ratio.clamp(1 - loss.clip_low, 1 + loss.clip_high) * advantages)
    if isinstance(loss, ClippedLoss) and loss.dual_clip is not None:
        plain = torch.where(advantages < 0, torch.maximum(plain, loss.dual_clip * advantages), plain)
    return -plain


def importance(said: Correction, old: torch.Tensor, behind: torch.Tensor) -> torch.Tensor:
    weight = torch.exp(old - behind)
    if said.level == "sequence":
        weight = weight.prod().expand(len(old))
    if said.method == "truncate":
        return weight.clamp(max=said.high)
    return torch.where((weight >= said.low) & (weight <= said.high), weight, 0.0)


def plain_loss(model, batch, settings, reference=None) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for tokens, where in sequences_of(batch):
        length = where.stop - where.start
        new = completion_logprobs(model, tokens, length, settings.temperature)
        behind, advantages, weights = (
            torch.from_numpy(array[where].astype(np.float64))
            for array in (batch.generator_logprobs, batch.advantages, batch.weights)
        )
        old, scale, extra = behind, torch.ones(()), torch.zeros(())
        if settings.kl is not None:
            with torch.no_grad():
                far = completion_logprobs(reference, tokens, length, settings.temperature)
            off = new - far
            if settings.kl.place == "advantage":
                advantages = advantages - settings.kl.weight * off.detach()
            else:
                extra = settings.kl.weight * (
                    off**2 / 2 if settings.kl.estimator == "k2" else torch.exp(-off) - 1 + off
                )
        if settings.correction is not None:
            old = new.detach()
            scale = importance(settings.correction, old, behind)
        if settings.entropy_weight:
            ids = torch.from_numpy(tokens.astype(np.int64))[None]
            log_p = torch.log_softmax(model(input_ids=ids).logits[0, -length - 1 : -1] / settings.temperature, dim=-1)
            extra = extra + settings.entropy_weight * (log_p.exp() * log_p).sum(dim=-1)
        own = surrogate(settings.loss, torch.exp(new - old), new, advantages)
        total = total + (weights * (scale * own + extra)).sum()
    return total


OPTIONS: dict[str, dict[str, Any]] = {
    "clip-higher": {"loss": ClippedLoss(clip_high=0.28)},
    "dual clip": {"loss": ClippedLoss(dual_clip=1.3)},
    "cispo": {"loss": CispoLoss(type="cispo", clip_high=0.2)},
    "gspo": {"loss": GspoLoss(type="gspo", clip_low=0.05, clip_high=0.1)},
    "kl k2": {"kl": Kl(weight=0.3, estimator="k2")},
    "kl k3": {"kl": Kl(weight=0.3, estimator="k3")},
    "kl in the advantage": {"kl": Kl(weight=0.3, place="advantage", estimator="k1")},
    "entropy": {"entropy_weight": 0.2},
    "truncated, token": {"correction": Correction(high=1.1)},
    "masked, token": {"correction": Correction(method="mask", low=0.8, high=1.2)},
    "truncated, sequence": {"correction": Correction(level="sequence", high=1.1)},
    "masked, sequence": {"correction": Correction(method="mask", level="sequence", low=0.7, high=1.3)},
    "gspo, masked sequences": {
        "loss": GspoLoss(type="gspo"),
        "correction": Correction(method="mask", level="sequence", low=0.5, high=1.6),
    },
}


@pytest.mark.parametrize("option", OPTIONS)
def test_loss_and_gradient_are_the_formula_s(option, tied, other):
    changes = OPTIONS[option]
    settings = policy_settings(**changes, reference=other if "kl" in changes else None)
    batch = draw_batch(tied, noise=0.4)
    exact = AutoModelForCausalLM.from_pretrained(tied, dtype=torch.float64)
    far = AutoModelForCausalLM.from_pretrained(other, dtype=torch.float64) if "kl" in changes else None
    expected = plain_loss(exact, batch, settings, far)
    expected.backward()

    module, reference = load_policy(tied, settings, torch.float32, CPU)
    tally = UpdateTally()
    for loss in micro_batch_losses(module, batch, PLAN, settings, CPU, tally, reference=reference):
        loss.backward()
    assert tally.sums["loss"] == pytest.approx(expected.item(), abs=2e-6)
    gradients = {name: parameter.grad for name, parameter in module.model.named_parameters()}
    for name, parameter in exact.named_parameters():
        torch.testing.assert_close(gradients[name].double(), parameter.grad, rtol=1e-3, atol=2e-6)


def test_what_a_correction_and_a_reference_did_is_measured(tied, other):
    batch = draw_batch(tied)
    batch.generator_logprobs[:4] -= 0.5  # 4 of 19 tokens look e^.5 = 1.65 times as likely to the learner
    settings = policy_settings(correction=Correction(high=1.5), kl=Kl(weight=1.0, estimator="k2"), reference=other)
    module, reference = load_policy(tied, settings, torch.float32, CPU)
    tally = UpdateTally()
    list(micro_batch_losses(module, batch, PLAN, settings, CPU, tally, reference=reference))
    metrics = tally.metrics(settings)
    assert metrics["corrected_share"] == pytest.approx(4 / 19)
    assert metrics["mismatch_ratio_max"] == pytest.approx(np.exp(0.5), rel=1e-4)
    one, two = (AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64) for path in (tied, other))
    off = [
        completion_logprobs(one, tokens, where.stop - where.start, 1.3)
        - completion_logprobs(two, tokens, where.stop - where.start, 1.3)
        for tokens, where in sequences_of(batch)
    ]
    assert metrics["reference_kl"] == pytest.approx((torch.cat(off) ** 2 / 2).mean().item(), rel=1e-3)


def test_a_nucleus_is_renormalised_and_the_sampled_token_is_always_in_it(tied):
    settings = policy_settings(top_p=0.5)
    batch = draw_batch(tied)
    module, _ = load_policy(tied, settings, torch.float32, CPU)
    found = policy_figures(module, batch, PLAN, settings, CPU).logprobs
    exact = AutoModelForCausalLM.from_pretrained(tied, dtype=torch.float64)
    for tokens, where in sequences_of(batch):
        length = where.stop - where.start
        ids = torch.from_numpy(tokens.astype(np.int64))[None]
        probabilities = torch.softmax(exact(input_ids=ids).logits[0, -length - 1 : -1] / 1.3, dim=-1)
        for row, token, logprob in zip(probabilities, tokens[-length:], found[where], strict=True):
            order = row.argsort(descending=True)
            kept = set(order[: int((row[order].cumsum(0) < 0.5).sum()) + 1].tolist()) | {int(token)}
            assert logprob == pytest.approx(float(torch.log(row[token] / row[sorted(kept)].sum())), abs=1e-4)


# --- the critic


def with_returns(batch, scale=1.0):
    return replace(batch, returns=np.linspace(-1, 1, len(batch.advantages)).astype(np.float32) * scale)


def test_a_critic_begins_at_zero_and_learns_the_returns(tied):
    settings = policy_settings(critic=Critic(weight=0.5), optimizer=Optimizer(learning_rate=1e-2))
    batch = with_returns(draw_batch(tied))
    batch.advantages[:] = 0.0  # only the critic has something to learn
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.begin(tied, settings, None)
    assert not learner.figures(batch).values.any()
    first = learner.update(batch, 1, on_policy=True)
    assert first["value_error"] == pytest.approx(float((batch.returns**2).mean()), rel=1e-5)
    # half the squared error, times the weight, times each token's weight in the update
    assert first["loss"] == pytest.approx(float((0.5 * 0.5 * batch.returns**2 * batch.weights).sum()), rel=1e-5)
    for update in range(2, 40):
        last = learner.update(batch, update, on_policy=False)
    assert last["value_error"] < 0.5 * first["value_error"]
    assert learner.figures(batch).values.any()


def test_a_critic_is_saved_with_the_state_and_not_with_the_model(tied, tmp_path):
    settings = policy_settings(critic=Critic())
    batch = with_returns(draw_batch(tied))
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.begin(tied, settings, None)
    learner.update(batch, 1, on_policy=True)
    learner.save_state(tmp_path / "state", {})
    learner.save_model(tmp_path / "model")
    values, served = learner.figures(batch).values, [name for name, _ in learner.weights()]
    learner.end()  # the state is written by then
    again = TorchLearner(dtype="float32", micro_batch_tokens=24)
    again.begin(tied, settings, tmp_path / "state")
    np.testing.assert_array_equal(again.figures(batch).values, values)
    PolicyModule(AutoModelForCausalLM.from_pretrained(tmp_path / "model"))
    assert not any("value" in name for name in served)


# --- what a learner keeps beside the weights


@pytest.mark.parametrize("changes", [{"optimizer": Optimizer(learning_rate=1e-2, ema=0.5)}, {"lora": Lora(rank=2)}])
def test_a_resumed_learner_makes_the_same_update_and_leaves_the_same_model(changes, tied, tmp_path):
    batches = [draw_batch(tied, seed) for seed in range(3)]
    whole = TorchLearner(dtype="float32", micro_batch_tokens=24)
    whole.begin(tied, policy_settings(**changes), None)
    for update, batch in enumerate(batches[:2], 1):
        whole.update(batch, update, on_policy=False)
    whole.save_state(tmp_path / "state", {})
    whole.update(batches[2], 3, on_policy=False)
    whole.save_model(tmp_path / "whole")
    whole.end()  # the state is written by then
    again = TorchLearner(dtype="float32", micro_batch_tokens=24)
    again.begin(tied, policy_settings(**changes), tmp_path / "state")
    again.update(batches[2], 3, on_policy=False)
    again.save_model(tmp_path / "again")
    one, two = (AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "again"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_what_is_left_is_the_average_and_what_is_served_are_the_last_weights(tied, tmp_path):
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.begin(tied, policy_settings(optimizer=Optimizer(learning_rate=1e-2, ema=0.75)), None)
    name = "model.layers.0.mlp.down_proj.weight"
    seen = [dict(learner.weights())[name].clone()]
    for update in (1, 2):
        learner.update(draw_batch(tied, update), update, on_policy=False)
        seen.append(dict(learner.weights())[name].clone())
    learner.save_model(tmp_path / "model")
    left = AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict()[name]
    # .75 (.75 w0 + .25 w1) + .25 w2
    torch.testing.assert_close(left, 0.5625 * seen[0] + 0.1875 * seen[1] + 0.25 * seen[2])
    torch.testing.assert_close(dict(learner.weights())[name], seen[2])


# --- updates that are not made


def test_a_loss_that_is_no_number_makes_no_step_and_is_counted(tied):
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.begin(tied, policy_settings(), None)
    before = {name: tensor.clone() for name, tensor in learner.weights()}
    bad = draw_batch(tied)
    bad.advantages[3] = np.nan
    assert learner.update(bad, 1, on_policy=True)["skipped"] == 1.0
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.weights())
    good = learner.update(draw_batch(tied), 2, on_policy=True)
    assert good["skipped"] == 0.0 and np.isfinite(good["grad_norm"])


def test_a_gradient_that_is_no_number_stops_the_stage(tied, monkeypatch):
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.begin(tied, policy_settings(), None)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(RunFailed, match="update 7: the gradient's norm is inf"):
        learner.update(draw_batch(tied), 7, on_policy=True)


def test_only_an_on_policy_update_is_held_to_the_generator():
    metrics = {"mismatch_mean": 9.0, "loss": 1.0}
    assert may_step(metrics, policy_settings(), torch.float32, 1, on_policy=False)
    assert metrics["skipped"] == 0.0
