import math

import pytest
import torch

from rlreason.algorithms.preferences import dpo_losses, dpo_margins


def test_margins_and_losses_worked_by_hand():
    # first pair: the chosen one went up by 2, the rejected one down by 1; second: up by 1, up by 4
    margins = dpo_margins(
        chosen=torch.tensor([-3.0, -4.0]),
        rejected=torch.tensor([-8.0, -2.0]),
        reference_chosen=torch.tensor([-5.0, -5.0]),
        reference_rejected=torch.tensor([-7.0, -6.0]),
        beta=0.5,
    )
    assert margins.tolist() == [1.5, -1.5]
    expected = [math.log(1 + math.exp(-1.5)), math.log(1 + math.exp(1.5))]
    assert dpo_losses(margins).tolist() == pytest.approx(expected)


def test_at_the_reference_the_loss_is_log_2_and_pulls_the_two_completions_apart_alike():
    policy = torch.tensor([[-3.0], [-5.0]], requires_grad=True)
    loss = dpo_losses(dpo_margins(*policy, *policy.detach(), beta=0.1)).sum()
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    # minus beta times sigmoid(-0) for the chosen one, plus that for the rejected one
    assert policy.grad.tolist() == [[pytest.approx(-0.05)], [pytest.approx(0.05)]]


def test_a_hopeless_pair_has_a_finite_loss():
    assert dpo_losses(torch.tensor([-1000.0, 1000.0])).tolist() == [1000.0, 0.0]
