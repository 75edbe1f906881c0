import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.losses import clipped_surrogate, token_weights
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
