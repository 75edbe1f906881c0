import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from rlreason.algorithms.denominators import token_weights
from rlreason.algorithms.losses import cispo, clipped_surrogate, sequence_surrogate
from rlreason.algorithms.packing import balanced_micro_batches

# ratio, advantage, loss, d loss / d learner_logprob, decided by the clip (low 0.2, high 0.3)
CASES = [
    (1.5, 1.0, -1.3, 0.0, True),  # better already by more than 30%: held at 1.3, nothing to learn
    (0.5, 1.0, -0.5, -0.5, False),  # good, and less likely than it was: the ratio itself, pushed up
    (1.5, -1.0, 1.5, 1.5, False),  # bad, and likelier than it was: pushed down with the full ratio
    (0.5, -1.0, 0.8, 0.0, True),  # bad, and rarer already by more than 20%: held at 0.8
    (1.0, 2.0, -2.0, -2.0, False),  # on-policy: the plain policy gradient
    (1.25, -3.0, 3.75, 3.75, False),
    (0.9, 0.0, 0.0, 0.0, False),  # no advantage
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "slope", "clipped"), CASES)
def test_values_and_slopes_worked_by_hand(ratio, advantage, loss, slope, clipped):
    generator = torch.tensor([-1.7], dtype=torch.float64)
    learner = (generator + math.log(ratio)).requires_grad_()
    result = clipped_surrogate(learner, generator, torch.tensor([advantage], dtype=torch.float64), 0.2, 0.3)
    result.loss.sum().backward()
    assert result.loss.item() == pytest.approx(loss)
    assert learner.grad.item() == pytest.approx(slope)
    assert result.clipped.tolist() == [clipped]


logprob = st.floats(-8, -0.01)
token = st.tuples(logprob, logprob, st.floats(-3, 3))


@given(st.lists(token, min_size=1, max_size=20), st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_it_is_the_formula_of_trl_s_grpo_and_of_the_paper(tokens, low, high):
    learner, generator, advantage = (np.array(column) for column in zip(*tokens, strict=True))
    result = clipped_surrogate(*map(torch.from_numpy, (learner, generator, advantage)), low, high)
    ratio = np.exp(learner - generator)
    expected = -np.minimum(ratio * advantage, np.clip(ratio, 1 - low, 1 + high) * advantage)
    assert result.loss.numpy() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    # TRL's own statistics of where its clip decides
    outside = ((ratio < 1 - low) & (advantage < 0)) | ((ratio > 1 + high) & (advantage > 0))
    near_the_edge = np.isclose(ratio, 1 - low) | np.isclose(ratio, 1 + high) | np.isclose(advantage, 0)
    assert (result.clipped.numpy() == outside)[~near_the_edge].all()


@given(st.lists(token, min_size=1, max_size=8))
def test_the_gradient_agrees_with_finite_differences(tokens):
    learner, generator, advantage = (torch.tensor(column, dtype=torch.float64) for column in zip(*tokens, strict=True))
    ratio = torch.exp(learner - generator)
    smooth = ~(
        torch.isclose(ratio, torch.tensor(0.8).double(), 1e-3) | torch.isclose(ratio, torch.tensor(1.2).double(), 1e-3)
    )
    learner.requires_grad_()
    clipped_surrogate(learner, generator, advantage, 0.2, 0.2).loss.sum().backward()
    step = 1e-6
    with torch.no_grad():
        above, below = (clipped_surrogate(learner + d, generator, advantage, 0.2, 0.2).loss for d in (step, -step))
    assert learner.grad[smooth].numpy() == pytest.approx(
        ((above - below) / (2 * step))[smooth].numpy(), rel=1e-4, abs=1e-4
    )


# as CASES, with a dual clip of 3: only where the advantage is negative and the ratio above 3 does it differ
DUAL_CASES = [
    (4.0, -2.0, 6.0, 0.0, True),  # without it 8
    (2.5, -2.0, 5.0, 5.0, False),
    (0.5, -1.0, 0.8, 0.0, True),
    (4.0, 2.0, -2.6, 0.0, True),  # held at 1.3 as ever
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "slope", "clipped"), DUAL_CASES)
def test_a_dual_clip_bounds_what_one_bad_token_can_cost(ratio, advantage, loss, slope, clipped):
    generator = torch.tensor([-1.7], dtype=torch.float64)
    learner = (generator + math.log(ratio)).requires_grad_()
    result = clipped_surrogate(learner, generator, torch.tensor([advantage], dtype=torch.float64), 0.2, 0.3, 3.0)
    result.loss.sum().backward()
    assert result.loss.item() == pytest.approx(loss)
    assert learner.grad.item() == pytest.approx(slope)
    assert result.clipped.tolist() == [clipped]


@pytest.mark.parametrize(
    ("ratio", "advantage", "weight", "clipped"),
    [
        (1.5, 2.0, 1.3, True),
        (1.5, -2.0, 1.3, True),
        (0.5, 2.0, 0.8, True),
        (1.1, -2.0, 1.1, False),
        (9.0, 0.0, 1.3, False),
    ],
)
def test_cispo_weighs_a_token_by_the_clipped_ratio_and_silences_none(ratio, advantage, weight, clipped):
    learner = torch.tensor([-0.4], dtype=torch.float64, requires_grad=True)
    generator = learner.detach() - math.log(ratio)
    result = cispo(learner, generator, torch.tensor([advantage], dtype=torch.float64), 0.2, 0.3)
    result.loss.sum().backward()
    assert result.loss.item() == pytest.approx(weight * advantage * 0.4)
    assert learner.grad.item() == pytest.approx(-weight * advantage)
    assert result.clipped.tolist() == [clipped]


def test_cispo_with_a_low_clip_of_one_has_no_lower_bound():
    learner = torch.tensor([-9.0], dtype=torch.float64)
    result = cispo(learner, torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64), 1.0, 4.0)
    assert result.loss.item() == pytest.approx(9 * math.exp(-9)) and not result.clipped.any()


def test_a_sequence_has_the_geometric_mean_of_its_tokens_ratios():
    # completion 0: ratios 2 and 1/8, mean of the logarithms ln(1/4) / 2: ratio 1/2; completion 1: ratio 3, held at 1.3
    generator = torch.tensor([-1.0, -2.0, -0.5], dtype=torch.float64)
    learner = (generator + torch.tensor([2.0, 3.0, 0.125], dtype=torch.float64).log()).requires_grad_()
    advantages = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)
    result = sequence_surrogate(learner, generator, advantages, torch.tensor([0, 1, 0]), 0.2, 0.3)
    result.loss.sum().backward()
    assert result.loss.tolist() == pytest.approx([-0.5, -1.3, -0.5])
    assert learner.grad.tolist() == pytest.approx([-0.5, 0.0, -0.5])
    assert result.clipped.tolist() == [False, True, False]


def test_advantages_of_tokens_push_their_own_token_only():
    # GSPO-token: the ratio is shared, here 1, the advantage is not
    learner = torch.tensor([-1.0, -2.0], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([3.0, -1.0], dtype=torch.float64)
    sequence_surrogate(learner, learner.detach(), advantages, torch.tensor([0, 0]), 0.1, 0.1).loss.sum().backward()
    assert learner.grad.tolist() == [-3.0, 1.0]


completions = st.lists(
    st.tuples(st.floats(-2, 2), st.lists(st.tuples(logprob, st.floats(-0.4, 0.4)), min_size=1, max_size=5)),
    min_size=1,
    max_size=4,
)


@given(completions)
def test_summed_over_equally_weighted_tokens_it_is_gspo(drawn):
    columns = [
        (base + off, base, advantage, index) for index, (advantage, tokens) in enumerate(drawn) for base, off in tokens
    ]
    new, old, advantages, sequence = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*columns, strict=True)
    )
    sequence = sequence.long()
    lengths = torch.bincount(sequence)
    learner = new.clone().requires_grad_()
    tokens = sequence_surrogate(learner, old, advantages, sequence, 0.2, 0.25).loss
    (tokens / lengths[sequence]).sum().backward()

    # the paper's sequence objective, with the gradient through the ratio of the sequence itself
    exact = new.clone().requires_grad_()
    total = exact.new_zeros(())
    for index, (advantage, _) in enumerate(drawn):
        ratio = (exact - old)[sequence == index].mean().exp()
        total = total - torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.25) * advantage)
    total.backward()
    assert (tokens.detach() / lengths[sequence]).sum().item() == pytest.approx(total.item(), rel=1e-9, abs=1e-9)
    torch.testing.assert_close(learner.grad, exact.grad, rtol=1e-6, atol=1e-9)


# name -> loss of N tokens, smooth in the logprobs but for the detached parts, which finite differences would move
DIFFERENTIABLE = {
    "clipped": lambda new, old, advantages: clipped_surrogate(new, old, advantages, 0.2, 0.3).loss,
    "dual clip": lambda new, old, advantages: clipped_surrogate(new, old, advantages, 0.2, 0.3, 2.0).loss,
    "sequence": lambda new, old, advantages: sequence_surrogate(
        new, old, advantages, torch.zeros(len(new), dtype=torch.int64), 0.2, 0.3
    ).loss.sum(),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_agree_with_finite_differences(name):
    random = torch.Generator().manual_seed(11)
    old = -3 * torch.rand(24, dtype=torch.float64, generator=random)
    # ratios from 0.6 to 3.3, none at a clip's corner; one completion's mean ratio is within its clip
    offsets = torch.linspace(-0.5, 1.2, 24, dtype=torch.float64)
    new = (old + (offsets - offsets.mean() if name == "sequence" else offsets)).requires_grad_()
    advantages = torch.where(torch.arange(24) % 2 == 0, 1.5, -0.7).double()
    if name == "sequence":
        advantages = torch.full_like(advantages, 1.5)
    assert gradcheck(lambda logprobs: DIFFERENTIABLE[name](logprobs, old, advantages), new)


def test_cispo_s_gradient_is_that_of_its_loss_with_the_weight_held_still():
    random = torch.Generator().manual_seed(4)
    new, old = -3 * torch.rand(2, 16, dtype=torch.float64, generator=random)
    advantages = torch.randn(16, dtype=torch.float64, generator=random)
    learner = new.clone().requires_grad_()
    cispo(learner, old, advantages, 0.2, 0.3).loss.sum().backward()
    weight = torch.exp(new - old).clamp(0.8, 1.3)
    step = 1e-6
    above, below = (-weight * advantages * (new + off) for off in (step, -step))
    torch.testing.assert_close(learner.grad, (above - below) / (2 * step), rtol=1e-6, atol=1e-8)


SURROGATES = {
    "clipped": lambda new, old, advantages, sequence: clipped_surrogate(new, old, advantages, 0.2, 0.3),
    "dual clip": lambda new, old, advantages, sequence: clipped_surrogate(new, old, advantages, 0.2, 0.3, 2.0),
    "cispo": lambda new, old, advantages, sequence: cispo(new, old, advantages, 0.2, 0.3),
    "sequence": lambda new, old, advantages, sequence: sequence_surrogate(new, old, advantages, sequence, 0.1, 0.1),
}


@pytest.mark.parametrize("name", SURROGATES)
@given(completions, st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_cut_into_micro_batches_changes_neither_loss_nor_gradient(name, drawn, budget, random):
    lengths = np.array([len(tokens) for _, tokens in drawn])
    weights = token_weights(lengths, "tokens", max_new_tokens=5)
    columns = [
        (base + off, base, advantage + place / 10, index, weights[index])
        for index, (advantage, tokens) in enumerate(drawn)
        for place, (base, off) in enumerate(tokens)
    ]
    random.shuffle(columns)
    new, old, advantages, sequence, weight = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*columns, strict=True)
    )
    sequence = sequence.long()

    def total(plan: list[list[int]]) -> tuple[float, torch.Tensor]:
        learner = new.clone().requires_grad_()
        value = 0.0
        for batch in plan:
            at = torch.isin(sequence, torch.tensor(batch, dtype=torch.int64))
            part = SURROGATES[name](learner[at], old[at], advantages[at], sequence[at])
            loss = (part.loss * weight[at]).sum()
            loss.backward()
            value += loss.item()
        return value, learner.grad

    value, gradient = total([list(range(len(drawn)))])
    cut = list(itertools.chain.from_iterable(balanced_micro_batches(lengths, 2, budget)))
    cut_value, cut_gradient = total(cut)
    assert cut_value == pytest.approx(value, rel=1e-9, abs=1e-12)
    torch.testing.assert_close(cut_gradient, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SURROGATES)
def test_on_policy_every_surrogate_is_the_plain_policy_gradient(name):
    random = torch.Generator().manual_seed(8)
    learner = (-3 * torch.rand(12, dtype=torch.float64, generator=random)).requires_grad_()
    advantages = torch.randn(12, dtype=torch.float64, generator=random)
    sequence = torch.arange(12) % 3
    result = SURROGATES[name](learner, learner.detach(), advantages, sequence)
    result.loss.sum().backward()
    torch.testing.assert_close(learner.grad, -advantages)
    assert not result.clipped.any()


@pytest.mark.parametrize("name", SURROGATES)
def test_no_tokens_have_no_loss_but_a_graph(name):
    none = torch.zeros(0, requires_grad=True)
    result = SURROGATES[name](none, none.detach(), none.detach(), torch.zeros(0, dtype=torch.int64))
    assert result.loss.shape == result.clipped.shape == (0,)
    result.loss.sum().backward()


def test_token_weights_worked_by_hand():
    lengths = np.array([3, 0, 1])
    # 4 trained tokens
    assert token_weights(lengths, "tokens", 10).tolist() == [0.25, 0.0, 0.25]
    # two sequences have tokens: each carries half, shared among its tokens
    assert token_weights(lengths, "sequences", 10) == pytest.approx([1 / 6, 0.0, 1 / 2])
    # 3 sequences x 10 tokens, whatever they used of it
    assert token_weights(lengths, "constant", 10) == pytest.approx([1 / 30, 0.0, 1 / 30])


@pytest.mark.parametrize("denominator", ["tokens", "sequences", "constant"])
def test_nothing_trained_weighs_nothing(denominator):
    assert token_weights(np.array([0, 0]), denominator, 5).tolist() == [0.0, 0.0]


def directly(losses: list[np.ndarray], denominator: str, budget: int) -> float:
    """The three losses as their papers write them, without weights."""
    if denominator == "tokens":
        return float(np.concatenate(losses).mean())
    if denominator == "sequences":
        return float(np.mean([loss.mean() for loss in losses]))
    return sum(float(loss.sum()) for loss in losses) / (len(losses) * budget)


@given(
    st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=12), min_size=1, max_size=12),
    st.sampled_from(["tokens", "sequences", "constant"]),
    st.integers(1, 4),
    st.integers(1, 60),
    st.randoms(use_true_random=False),
)
def test_the_update_s_loss_does_not_depend_on_order_micro_batches_or_ranks(losses, denominator, ranks, budget, random):
    random.shuffle(losses)
    sequences = [np.array(loss) for loss in losses]
    lengths = np.array([len(loss) for loss in sequences])
    weights = token_weights(lengths, denominator, max_new_tokens=12)
    plans = balanced_micro_batches(lengths, ranks, budget)
    parts = [
        sum(float(weights[index] * sequences[index].sum()) for index in batch)
        for batch in itertools.chain.from_iterable(plans)
    ]
    assert sum(parts) == pytest.approx(directly(sequences, denominator, 12), rel=1e-9, abs=1e-9)
