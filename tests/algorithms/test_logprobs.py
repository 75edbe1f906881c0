import math

import pytest
import torch
from torch import nn

from rlreason.algorithms import logprobs
from rlreason.algorithms.logprobs import token_logprobs

TOKENS, WIDTH, VOCABULARY = 23, 8, 11


@pytest.fixture
def drawn():
    random = torch.Generator().manual_seed(3)
    hidden = torch.randn(TOKENS, WIDTH, generator=random)
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=random)
    head = nn.Linear(WIDTH, VOCABULARY, bias=False)
    nn.init.normal_(head.weight, generator=random)
    return hidden, targets, head


def test_a_logprob_worked_by_hand():
    # logits (0, ln 3): softmax (1/4, 3/4); at temperature 1/2 logits double: (1/10, 9/10)
    head = nn.Linear(1, 2, bias=False)
    head.weight.data = torch.tensor([[0.0], [math.log(3.0)]])
    hidden, targets = torch.ones(2, 1), torch.tensor([0, 1])
    values, entropy = token_logprobs(hidden, targets, head)
    assert values.exp().tolist() == pytest.approx([1 / 4, 3 / 4])
    assert entropy.tolist() == pytest.approx([-(0.25 * math.log(0.25) + 0.75 * math.log(0.75))] * 2)
    values, entropy = token_logprobs(hidden, targets, head, temperature=0.5)
    assert values.exp().tolist() == pytest.approx([1 / 10, 9 / 10])
    assert entropy.tolist() == pytest.approx([-(0.1 * math.log(0.1) + 0.9 * math.log(0.9))] * 2)


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0])
@pytest.mark.parametrize("rows", [1, 5, TOKENS, TOKENS + 1])
def test_values_and_gradients_equal_a_float64_log_softmax_for_every_chunk_size(drawn, temperature, rows):
    hidden, targets, head = drawn
    weight = torch.linspace(-1, 1, TOKENS)
    ours = hidden.clone().requires_grad_()
    values, entropy = token_logprobs(ours, targets, head, temperature, chunk_elements=rows * VOCABULARY)
    (values * weight).sum().backward()

    exact, matrix = hidden.double().requires_grad_(), head.weight.detach().double().requires_grad_()
    logarithms = torch.log_softmax(exact @ matrix.T / temperature, dim=-1)
    (logarithms[torch.arange(TOKENS), targets] * weight.double()).sum().backward()

    torch.testing.assert_close(values.double(), logarithms[torch.arange(TOKENS), targets], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(entropy.double(), -(logarithms.exp() * logarithms).sum(-1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.weight.grad.double(), matrix.grad, rtol=1e-4, atol=1e-5)
    assert not entropy.requires_grad


def test_chunks_never_hold_more_logits_than_allowed(drawn, monkeypatch):
    hidden, targets, head = drawn
    seen = []
    whole = logprobs._chunk
    monkeypatch.setattr(logprobs, "_chunk", lambda rows, *rest: (seen.append(len(rows)), whole(rows, *rest))[1])
    token_logprobs(hidden, targets, head, chunk_elements=5 * VOCABULARY)
    assert seen == [5, 5, 5, 5, 3]


def test_it_equals_trl_s_own_functions_on_the_same_logits(drawn):
    from trl.trainer.utils import entropy_from_logits, selective_log_softmax

    hidden, targets, head = drawn
    values, entropy = token_logprobs(hidden, targets, head, temperature=0.8)
    logits = head(hidden).detach() / 0.8
    torch.testing.assert_close(values.detach(), selective_log_softmax(logits, targets))
    torch.testing.assert_close(entropy, entropy_from_logits(logits))


def test_bfloat16_hidden_states_are_normalised_in_float32(drawn):
    hidden, targets, head = drawn
    head = head.to(torch.bfloat16)
    values, entropy = token_logprobs(hidden.to(torch.bfloat16), targets, head)
    assert values.dtype == entropy.dtype == torch.float32
    logits = head(hidden.to(torch.bfloat16)).detach().double()
    expected = torch.log_softmax(logits, -1)[torch.arange(TOKENS), targets]
    torch.testing.assert_close(values.detach().double(), expected, rtol=1e-5, atol=1e-5)


def test_no_tokens_give_no_logprobs_but_a_graph(drawn):
    hidden, _, head = drawn
    values, entropy = token_logprobs(hidden[:0].requires_grad_(), torch.zeros(0, dtype=torch.int64), head)
    assert values.shape == entropy.shape == (0,)
    values.sum().backward()  # a rank without sequences still takes part in the backward pass
    assert not head.weight.grad.any()
