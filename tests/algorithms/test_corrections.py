import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.corrections import importance_weights, mismatch_figures

# ratios 4, 1/2 of completion 0 (product 2) and 1/8, 1, 2 of completion 1 (product 1/4), interleaved
RATIOS = torch.tensor([4.0, 0.125, 0.5, 1.0, 2.0], dtype=torch.float64)
SEQUENCE = torch.tensor([0, 1, 0, 1, 1])
GENERATOR = torch.tensor([-2.5, -0.7, -1.1, -3.0, -2.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("method", "level", "expected", "share"),
    [
        ("truncate", "token", [1.5, 0.125, 0.5, 1.0, 1.5], 2 / 5),
        ("mask", "token", [0.0, 0.0, 0.5, 1.0, 0.0], 3 / 5),
        ("truncate", "sequence", [1.5, 0.25, 1.5, 0.25, 0.25], 2 / 5),
        ("mask", "sequence", [0.0, 0.0, 0.0, 0.0, 0.0], 1.0),
    ],
)
def test_weights_worked_by_hand(method, level, expected, share):
    learner = (GENERATOR + RATIOS.log()).requires_grad_()
    weights, bounded = importance_weights(learner, GENERATOR, SEQUENCE, method, level, low=0.4, high=1.5)
    assert weights.tolist() == pytest.approx(expected)
    assert float(bounded) == pytest.approx(share)
    assert not weights.requires_grad


def test_a_completion_within_the_band_keeps_its_weight_while_another_is_dropped():
    weights, bounded = importance_weights(GENERATOR + RATIOS.log(), GENERATOR, SEQUENCE, "mask", "sequence", 0.5, 2.5)
    assert weights.tolist() == pytest.approx([2.0, 0.0, 2.0, 0.0, 0.0])
    assert float(bounded) == pytest.approx(3 / 5)


@pytest.mark.parametrize("method", ["truncate", "mask"])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_equal_policies_weigh_one_and_no_tokens_are_no_trouble(method, level):
    weights, share = importance_weights(GENERATOR, GENERATOR, SEQUENCE, method, level, 0.5, 2.0)
    assert weights.tolist() == [1.0] * 5 and float(share) == 0.0
    none = torch.zeros(0)
    weights, share = importance_weights(none, none, none.long(), method, level, 0.5, 2.0)
    assert weights.shape == (0,) and float(share) == 0.0


@pytest.mark.parametrize(("method", "expected"), [("truncate", [2.0, 0.0]), ("mask", [0.0, 0.0])])
def test_a_ratio_beyond_what_a_float_holds_is_bounded_like_any_other(method, expected):
    learner, generator = torch.tensor([0.0, -200.0]), torch.tensor([-200.0, 0.0])
    weights, _ = importance_weights(learner, generator, torch.tensor([0, 1]), method, "token", 0.5, 2.0)
    assert weights.tolist() == expected


tokens = st.lists(st.tuples(st.integers(0, 3), st.floats(-2, 2)), min_size=1, max_size=12)


@given(tokens, st.sampled_from(["truncate", "mask"]), st.sampled_from(["token", "sequence"]))
def test_the_cut_into_micro_batches_of_whole_completions_changes_no_weight(drawn, method, level):
    sequence = torch.tensor([index for index, _ in drawn])
    learner = torch.tensor([value for _, value in drawn], dtype=torch.float64)
    generator = torch.zeros_like(learner)
    whole, share = importance_weights(learner, generator, sequence, method, level, 0.5, 2.0)
    bounded = 0.0
    for own in sequence.unique():
        at = sequence == own
        part, part_share = importance_weights(learner[at], generator[at], sequence[at], method, level, 0.5, 2.0)
        torch.testing.assert_close(part, whole[at])
        bounded += float(part_share) * int(at.sum())
    assert bounded == pytest.approx(float(share) * len(drawn))


def test_mismatch_worked_by_hand():
    # ratios 2 and 1/2: differences ln 2 and -ln 2; k3 for either: ratio - 1 - ln ratio
    figures = mismatch_figures(
        torch.tensor([math.log(0.8), math.log(0.1)]), torch.tensor([math.log(0.4), math.log(0.2)])
    )
    assert figures.mean_difference == pytest.approx(math.log(2), rel=1e-6)
    assert figures.kl == pytest.approx(((2 - 1 - math.log(2)) + (0.5 - 1 + math.log(2))) / 2, rel=1e-6)
    assert figures.largest_ratio == pytest.approx(2.0, rel=1e-6)


def test_the_kl_figure_is_on_average_that_of_the_generator_from_the_learner():
    generator = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    learner = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    drawn = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)  # every token as often as the generator draws it
    exact = float((generator * (generator / learner).log()).sum())
    assert mismatch_figures(learner.log()[drawn], generator.log()[drawn]).kl == pytest.approx(exact)


def test_no_tokens_are_not_apart():
    figures = mismatch_figures(torch.zeros(0), torch.zeros(0))
    assert (figures.mean_difference, figures.kl, figures.largest_ratio) == (0.0, 0.0, 0.0)
