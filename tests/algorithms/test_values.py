import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.values import generalised_advantages, whitened


def test_advantages_worked_by_hand():
    # gamma 1/2, lambda 1/2. Errors: 0 + 2/2 - 4 = -3; 0 + 6/2 - 2 = 1; the end: 8 + 0 - 6 = 2.
    # From the end: 2; 1 + 2/4 = 1.5; -3 + 1.5/4 = -2.625. Behind the length nothing, whatever the critic said there
    values = np.array([[4.0, 2.0, 6.0, 99.0]])
    advantages, returns = generalised_advantages(np.array([8.0]), values, np.array([3]), gamma=0.5, lam=0.5)
    assert advantages.tolist() == [[-2.625, 1.5, 2.0, 0.0]]
    assert returns.tolist() == [[1.375, 3.5, 8.0, 0.0]]


def test_an_empty_completion_gets_nothing_and_pays_nobody():
    advantages, returns = generalised_advantages(np.array([5.0, 1.0]), np.zeros((2, 2)), np.array([0, 2]), 1.0, 1.0)
    assert advantages.tolist() == returns.tolist() == [[0.0, 0.0], [1.0, 1.0]]


batches = st.integers(1, 4).flatmap(
    lambda rows: st.lists(
        st.tuples(st.floats(-3, 3), st.lists(st.floats(-3, 3), max_size=7)), min_size=rows, max_size=rows
    )
)


@given(batches, st.floats(0, 1), st.floats(0, 1))
def test_it_is_the_papers_sum_of_errors_completion_by_completion(batch, gamma, lam):
    lengths = np.array([len(values) for _, values in batch])
    padded = np.full((len(batch), max(lengths.max(), 1)), 50.0)
    for row, (_, values) in enumerate(batch):
        padded[row, : len(values)] = values
    advantages, returns = generalised_advantages(
        np.array([reward for reward, _ in batch]), padded.astype(np.float32), lengths, gamma, lam
    )
    for row, (reward, own) in enumerate(batch):
        values = [float(np.float32(value)) for value in own] + [0.0]
        errors = [
            (reward if token == len(own) - 1 else 0.0) + gamma * values[token + 1] - values[token]
            for token in range(len(own))
        ]
        expected = [
            sum((gamma * lam) ** (later - token) * errors[later] for later in range(token, len(own)))
            for token in range(len(own))
        ]
        assert advantages[row, : len(own)] == pytest.approx(expected, abs=1e-9)
        assert returns[row, : len(own)] == pytest.approx(np.add(expected, values[:-1]), abs=1e-9)
        assert not advantages[row, len(own) :].any() and not returns[row, len(own) :].any()


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=6), st.floats(-2, 2))
def test_with_lambda_one_the_critic_is_to_predict_the_reward_itself(values, reward):
    _, returns = generalised_advantages(np.array([reward]), np.array([values]), np.array([len(values)]), 1.0, 1.0)
    assert returns == pytest.approx(np.full((1, len(values)), reward), abs=1e-9)


def test_whitening_worked_by_hand():
    # of 1, 3, 5: mean 3, variance 8/3; the masked 100 neither counts nor stays
    result = whitened(np.array([[1.0, 3.0], [100.0, 5.0]]), np.array([[True, True], [False, True]]))
    assert result == pytest.approx(np.array([[-(1.5**0.5), 0.0], [0.0, 1.5**0.5]]))


@pytest.mark.parametrize("mask", [[True, True, True], [True, False, False], [False, False, False]])
def test_nothing_to_tell_apart_is_whitened_to_zero(mask):
    # the mean of three times 0.1 is not 0.1: its residue must not become an advantage of one
    assert not whitened(np.full((1, 3), 0.1), np.array([mask])).any()
