import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from rlreason.algorithms.number_tokens import number_token_loss

NO = math.nan
# a vocabulary of two words and the digits 0, 4, 8
VALUES = torch.tensor([NO, 0.0, 4.0, NO, 8.0], dtype=torch.float64)


def test_the_loss_worked_by_hand():
    # digits at 1/2, 1/4, 1/4 (their logits ln 2, 0, 0), whatever the words' logits: expected value 0 + 1 + 2 = 3.
    # label 8: 25; label 4: 1; the word and the ignored label do not count
    logits = torch.tensor([[9.0, math.log(2), 0.0, -9.0, 0.0]] * 4, dtype=torch.float64)
    loss = number_token_loss(logits, torch.tensor([4, 2, 0, -100]), VALUES)
    assert loss.item() == pytest.approx((25 + 1) / 2)


def test_a_nearer_wrong_digit_costs_less():
    def sure_of(token: int) -> float:
        logits = torch.zeros(1, 5, dtype=torch.float64)
        logits[0, token] = 40.0
        return number_token_loss(logits, torch.tensor([4]), VALUES).item()

    assert [sure_of(token) for token in (4, 2, 1)] == pytest.approx([0.0, 16.0, 64.0], abs=1e-9)


def test_words_get_no_gradient_and_numbers_that_of_finite_differences():
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    labels = torch.tensor([1, 0, 4, 2, 3, -100])
    assert gradcheck(lambda given: number_token_loss(given, labels, VALUES), logits)
    number_token_loss(logits, labels, VALUES).backward()
    assert not logits.grad[:, [0, 3]].any()
    assert not logits.grad[[1, 4, 5]].any()
    assert logits.grad[[0, 2, 3]][:, [1, 2, 4]].all()


def test_no_number_among_the_labels_costs_nothing_but_keeps_the_graph():
    logits = torch.randn(2, 5, requires_grad=True)
    loss = number_token_loss(logits, torch.tensor([0, -100]), VALUES.float())
    assert loss.item() == 0.0
    loss.backward()  # a rank without numbers still takes part in the backward pass
    assert not logits.grad.any()


def test_an_ignored_label_is_no_number_even_where_the_first_token_is_one():
    assert number_token_loss(torch.zeros(2, 2), torch.tensor([-100, -1]), torch.tensor([3.0, 5.0])).item() == 0.0


def test_it_is_the_paper_s_formula_label_by_label():
    random = np.random.default_rng(7)
    logits, labels = random.normal(size=(40, 5)), random.integers(0, 5, size=40)
    errors = []
    for row, label in zip(logits, labels, strict=True):
        if label in (1, 2, 4):
            weights = np.exp(row[[1, 2, 4]])
            errors.append((weights @ [0.0, 4.0, 8.0] / weights.sum() - VALUES[label].item()) ** 2)
    loss = number_token_loss(torch.from_numpy(logits), torch.from_numpy(labels), VALUES)
    assert loss.item() == pytest.approx(np.mean(errors))


def test_bfloat16_logits_are_computed_in_the_precision_of_the_values():
    logits = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0]], dtype=torch.bfloat16)
    loss = number_token_loss(logits, torch.tensor([4]), VALUES.float())
    expected = (12 / (math.e + 2) - 8) ** 2
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected, rel=1e-6)
