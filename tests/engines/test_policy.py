import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from rlreason.engines.objective import UpdateTally, check_mismatch, micro_batch_losses
from rlreason.engines.policy import PolicyModule, micro_batch
from rlreason.engines.protocols import PolicyBatch
from rlreason.errors import ModelError, WeightSyncMismatch
from tests.engines.updates import LENGTHS, draw_batch, policy_settings, reference_loss

CPU = torch.device("cpu")


@pytest.fixture
def by_hand() -> PolicyBatch:
    """Two sequences: prompt 11 12, completion 13; prompt 21, completion 22 23."""
    return PolicyBatch(
        tokens=np.array([11, 12, 13, 21, 22, 23], dtype=np.int32),
        prompt_lengths=np.array([2, 1], dtype=np.int32),
        lengths=np.array([1, 2], dtype=np.int32),
        generator_logprobs=np.array([-1, -2, -3], dtype=np.float32),
        advantages=np.array([0.5, -1, -1], dtype=np.float32),
        weights=np.array([0.1, 0.2, 0.2], dtype=np.float32),
    )


def test_rows_worked_by_hand(by_hand):
    part = micro_batch(by_hand, [1, 0], CPU)
    assert part.tokens.tolist() == [[21, 22, 23], [11, 12, 13]]
    # the state at 21 predicts 22, the state at 22 predicts 23; the state at 12 predicts 13
    assert (part.rows.tolist(), part.columns.tolist()) == ([0, 0, 1], [0, 1, 1])
    assert part.targets.tolist() == [22, 23, 13]
    assert part.generator_logprobs.tolist() == [-2, -3, -1]
    assert part.advantages.tolist() == [-1, -1, 0.5]
    assert part.weights.tolist() == pytest.approx([0.2, 0.2, 0.1])
    assert part.held == 6


def test_rows_are_padded_on_the_right(by_hand):
    longer = PolicyBatch(
        tokens=np.append(by_hand.tokens, 24).astype(np.int32),
        prompt_lengths=by_hand.prompt_lengths,
        lengths=np.array([1, 3], dtype=np.int32),
        generator_logprobs=np.zeros(4, dtype=np.float32),
        advantages=np.zeros(4, dtype=np.float32),
        weights=np.zeros(4, dtype=np.float32),
    )
    part = micro_batch(longer, [0, 1], CPU)
    assert part.tokens.tolist() == [[11, 12, 13, 0], [21, 22, 23, 24]]
    assert part.held == 7


def test_an_empty_pass_is_one_row_of_one_token_with_nothing_trained(by_hand):
    part = micro_batch(by_hand, [], CPU)
    assert part.tokens.tolist() == [[0]]
    assert [len(array) for array in (part.rows, part.columns, part.targets, part.weights)] == [0, 0, 0, 0]
    assert part.held == 0


def test_an_empty_pass_reaches_every_parameter_with_a_gradient_of_zero(tied, by_hand):
    module = PolicyModule(AutoModelForCausalLM.from_pretrained(tied))
    tally = UpdateTally()
    (loss,) = micro_batch_losses(module, by_hand, [[]], policy_settings(), CPU, tally)
    loss.backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in module.parameters())
    assert set(tally.sums.values()) == {0.0}
    assert tally.metrics(policy_settings())["padded_share"] == 0.0


@pytest.mark.parametrize("kind", ["tied", "untied"])
@pytest.mark.parametrize("plan", [[[0, 1, 2, 3, 4]], [[4], [], [1, 3], [0, 2]], [[3], [2], [1], [0], [4]]])
def test_loss_and_gradients_equal_a_float64_autograd_of_each_sequence_alone(kind, plan, request):
    checkpoint = request.getfixturevalue(kind)
    batch, settings = draw_batch(checkpoint, noise=0.4), policy_settings()
    exact = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float64)
    expected = reference_loss(exact, batch, settings)
    expected.backward()

    module, tally = PolicyModule(AutoModelForCausalLM.from_pretrained(checkpoint)), UpdateTally()
    for loss in micro_batch_losses(module, batch, plan, settings, CPU, tally):
        loss.backward()
    assert tally.sums["loss"] == pytest.approx(expected.item(), abs=1e-6)
    gradients = {name: parameter.grad for name, parameter in module.model.named_parameters()}
    for name, parameter in exact.named_parameters():
        torch.testing.assert_close(gradients[name].double(), parameter.grad, rtol=1e-3, atol=1e-6)
    assert 0 < tally.sums["clipped"] < tally.sums["tokens"] == sum(length for _, length in LENGTHS)


def test_the_tally_measures_what_it_says(tied):
    batch = draw_batch(tied)
    batch.generator_logprobs[::2] += 0.25
    batch.generator_logprobs[1::2] -= 0.25
    module, tally = PolicyModule(AutoModelForCausalLM.from_pretrained(tied)), UpdateTally()
    list(micro_batch_losses(module, batch, [[0, 1, 2], [3, 4]], policy_settings(), CPU, tally))
    metrics = tally.metrics(policy_settings())
    # rows of 7, 6 and 9 tokens padded to 9, then of 12 and 7 padded to 12
    assert metrics["trained_tokens"] == 41
    assert metrics["padded_share"] == pytest.approx(1 - 41 / (3 * 9 + 2 * 12))
    assert metrics["completion_tokens"] == 19
    assert metrics["mismatch_mean"] == pytest.approx(0.25, abs=1e-4)
    assert 0 < metrics["entropy"] < math.log(320)
    # half of the tokens are more likely under the learner by .25, half less
    assert metrics["mismatch_ratio_max"] == pytest.approx(math.exp(0.25), rel=1e-4)
    more, less = math.exp(0.25) - 1 - 0.25, math.exp(-0.25) - 1 + 0.25
    assert metrics["mismatch_kl"] == pytest.approx((9 * more + 10 * less) / 19, abs=1e-4)


@pytest.mark.parametrize(
    ("mismatch", "tolerance", "dtype", "refused"),
    [
        (0.9e-3, None, torch.float32, False),
        (1.1e-3, None, torch.float32, True),
        (0.04, None, torch.bfloat16, False),
        (0.06, None, torch.bfloat16, True),
        (0.06, 0.1, torch.bfloat16, False),
        (1e-5, 1e-6, torch.float32, True),
        (float("nan"), None, torch.float32, True),
    ],
)
def test_a_mismatch_over_the_tolerance_is_refused(mismatch, tolerance, dtype, refused):
    settings = policy_settings(mismatch_tolerance=tolerance)
    if not refused:
        check_mismatch({"mismatch_mean": mismatch}, settings, dtype, 4)
        return
    with pytest.raises(WeightSyncMismatch, match=r"update 4: .* disagree .* no step was made"):
        check_mismatch({"mismatch_mean": mismatch}, settings, dtype, 4)


def test_a_model_that_transforms_its_logits_is_refused():
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=16))
    PolicyModule(model)
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(ModelError, match=r"'gpt2' transforms its logits \(final_logit_softcapping\)"):
        PolicyModule(model)
