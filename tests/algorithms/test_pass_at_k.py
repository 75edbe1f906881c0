import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.pass_at_k import pass_at_k


def by_enumeration(n: int, c: int, k: int) -> float:
    verdicts = [True] * c + [False] * (n - c)
    draws = list(itertools.combinations(verdicts, k))
    return sum(any(draw) for draw in draws) / len(draws)


@given(st.data())
def test_it_equals_the_share_of_subsets_that_hold_a_right_sample(data):
    n = data.draw(st.integers(1, 9))
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    assert pass_at_k(n, c, k) == pytest.approx(by_enumeration(n, c, k), abs=1e-12)


def test_values_worked_by_hand():
    # n=4, c=1: k=1 1/4; k=2 1 - C(3,2)/C(4,2) = 1 - 3/6; k=4 certain (a bootstrap with replacement would say 0.68)
    assert [float(pass_at_k(4, 1, k)) for k in (1, 2, 4)] == [0.25, 0.5, 1.0]


def test_problems_with_different_numbers_of_samples_go_together():
    # 1 - C(2,2)/C(4,2) = 5/6; none right: 0; 1 - C(1,2)/C(3,2) = 1
    result = pass_at_k(np.array([4, 4, 3]), np.array([2, 0, 2]), 2)
    assert result == pytest.approx([5 / 6, 0.0, 1.0])


def test_large_counts_neither_overflow_nor_lose_the_small_value():
    # k=1 is c/n whatever the size; for k=1000 compare with exact integers
    assert pass_at_k(1_000_000, 1, 1) == pytest.approx(1e-6, rel=1e-9)
    exact = 1 - math.comb(9_990, 1_000) / math.comb(10_000, 1_000)
    assert pass_at_k(10_000, 10, 1_000) == pytest.approx(exact, rel=1e-9)


@given(st.integers(1, 40), st.integers(0, 40))
def test_it_never_falls_as_k_grows(n, c):
    c = min(c, n)
    values = [float(pass_at_k(n, c, k)) for k in range(1, n + 1)]
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(values))


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1), (4, -1, 1)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(ValueError, match=r"k \d|right samples"):
        pass_at_k(n, c, k)
