import math

import pytest
import torch
from torch.autograd import gradcheck

from rlreason.algorithms.kl import kl_estimate

ESTIMATORS = ["k1", "k2", "k3"]


@pytest.mark.parametrize(
    ("estimator", "estimate", "slope"),
    [
        # d = ln 2
        ("k1", math.log(2), 1.0),
        ("k2", math.log(2) ** 2 / 2, math.log(2)),
        ("k3", 0.5 - 1 + math.log(2), 1 - 0.5),
    ],
)
def test_estimates_and_slopes_worked_by_hand(estimator, estimate, slope):
    learner = torch.tensor([math.log(0.4)], dtype=torch.float64, requires_grad=True)
    value = kl_estimate(learner, torch.tensor([math.log(0.2)], dtype=torch.float64), estimator)
    value.sum().backward()
    assert value.item() == pytest.approx(estimate)
    assert learner.grad.item() == pytest.approx(slope)


@pytest.fixture
def policies():
    random = torch.Generator().manual_seed(5)
    logits, reference = torch.randn(2, 6, dtype=torch.float64, generator=random)
    return logits.requires_grad_(), torch.log_softmax(reference, dim=0)


def gradient(value: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value, logits)[0]


def on_average(logits: torch.Tensor, reference: torch.Tensor, estimator: str) -> torch.Tensor:
    """The estimate's mean over a token drawn from the policy, as a loss sees it: the draw itself has no gradient."""
    logprobs = torch.log_softmax(logits, dim=0)
    return (logprobs.exp().detach() * kl_estimate(logprobs, reference, estimator)).sum()


def reverse_kl(logits: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    logprobs = torch.log_softmax(logits, dim=0)
    return (logprobs.exp() * (logprobs - reference)).sum()


def test_k1_and_k3_estimate_the_reverse_kl_without_bias_and_k2_does_not(policies):
    logits, reference = policies
    exact = reverse_kl(logits, reference).item()
    assert on_average(logits, reference, "k1").item() == pytest.approx(exact)
    assert on_average(logits, reference, "k3").item() == pytest.approx(exact)
    assert abs(on_average(logits, reference, "k2").item() - exact) > 0.1 * exact


def test_k2_in_a_loss_has_the_gradient_of_the_reverse_kl(policies):
    logits, reference = policies
    reverse = gradient(reverse_kl(logits, reference), logits)
    torch.testing.assert_close(gradient(on_average(logits, reference, "k2"), logits), reverse)


def test_k3_in_a_loss_has_the_gradient_of_the_forward_kl(policies):
    logits, reference = policies
    logprobs = torch.log_softmax(logits, dim=0)
    forward = gradient((reference.exp() * (reference - logprobs)).sum(), logits)
    torch.testing.assert_close(gradient(on_average(logits, reference, "k3"), logits), forward)


def test_k1_in_a_loss_holds_nothing(policies):
    logits, reference = policies
    found = gradient(on_average(logits, reference, "k1"), logits)
    torch.testing.assert_close(found, torch.zeros_like(found))


def test_k1_taken_off_the_reward_has_the_gradient_of_the_reverse_kl(policies):
    # why it belongs there: the gradient of E[k1.detach() log policy]
    logits, reference = policies
    logprobs = torch.log_softmax(logits, dim=0)
    penalty = kl_estimate(logprobs, reference, "k1").detach()
    found = gradient((logprobs.exp().detach() * penalty * logprobs).sum(), logits)
    torch.testing.assert_close(found, gradient(reverse_kl(logits, reference), logits))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_agree_with_finite_differences(estimator):
    random = torch.Generator().manual_seed(1)
    learner, reference = -3 * torch.rand(2, 9, dtype=torch.float64, generator=random)
    assert gradcheck(lambda logprobs: kl_estimate(logprobs, reference, estimator), learner.requires_grad_())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_policies_are_no_way_apart(estimator):
    logprobs = torch.tensor([-0.1, -4.0, -30.0])
    assert not kl_estimate(logprobs, logprobs, estimator).any()


def test_k3_does_not_lose_a_small_difference_in_float32():
    # d = 2e-4: d^2 / 2 = 2e-8, which exp(-d) - 1 + d, term by term in float32, misses by half of itself
    learner = torch.zeros(1)
    reference = torch.full((1,), -2e-4)
    assert kl_estimate(learner, reference, "k3").item() == pytest.approx(2e-8, rel=0.05)
