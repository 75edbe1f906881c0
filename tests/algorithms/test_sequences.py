import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.sequences import sequence_means, sequence_totals


def test_totals_and_means_worked_by_hand():
    # completions 0 (1 + 4), 2 (2) and 3 (3 + 5 + 7); nothing of 1 is here
    values, sequence = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 7.0]), torch.tensor([0, 2, 3, 0, 3, 3])
    assert sequence_totals(values, sequence).tolist() == [5, 2, 15, 5, 15, 15]
    assert sequence_means(values, sequence).tolist() == [2.5, 2, 5, 2.5, 5, 5]


def test_no_tokens_have_no_totals_but_a_graph():
    values = torch.zeros(0, requires_grad=True)
    totals = sequence_means(values, torch.zeros(0, dtype=torch.int64))
    assert totals.shape == (0,)
    totals.sum().backward()


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-3, 3)), min_size=1, max_size=12))
def test_totals_are_those_of_a_loop(tokens):
    sequence, values = (list(column) for column in zip(*tokens, strict=True))
    totals = sequence_totals(torch.tensor(values, dtype=torch.float64), torch.tensor(sequence))
    assert totals.tolist() == pytest.approx([sum(v for s, v in tokens if s == own) for own in sequence])
