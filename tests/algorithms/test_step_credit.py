import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.step_credit import min_form_returns, praise_before_first_error, process_returns, token_spans

NO = np.nan


def test_a_steps_tokens_are_those_it_overlaps():
    # "ab cd. ef." as "ab", " cd", ".", " ef", "."
    starts, ends = token_spans(np.array([2, 5, 6, 9, 10]), np.array([0, 7]), np.array([6, 10]))
    assert (starts.tolist(), ends.tolist()) == ([0, 3], [3, 5])


def test_a_token_that_straddles_two_steps_belongs_to_the_first():
    # "ab.cd." as "ab", ".c", "d."
    starts, ends = token_spans(np.array([2, 4, 6]), np.array([0, 3]), np.array([3, 6]))
    assert (starts.tolist(), ends.tolist()) == ([0, 2], [2, 3])


def test_a_step_within_a_token_of_another_has_that_token():
    # "a.b." as one token: both steps end with it
    starts, ends = token_spans(np.array([4]), np.array([0, 2]), np.array([2, 4]))
    assert (starts.tolist(), ends.tolist()) == ([0, 0], [1, 1])


@given(st.data())
def test_every_step_has_a_token_and_spans_lie_in_the_text(data):
    token_ends = np.cumsum(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=12)))
    if token_ends[-1] < 2:
        return
    cuts = sorted(data.draw(st.sets(st.integers(0, int(token_ends[-1])), min_size=2, max_size=8)))
    starts, ends = token_spans(token_ends, np.array(cuts[:-1]), np.array(cuts[1:]))
    assert (starts >= 0).all() and (starts < ends).all() and (ends <= len(token_ends)).all()
    assert (np.diff(ends) >= 0).all() and (np.diff(starts) >= 0).all()


def test_no_steps_have_no_spans():
    starts, ends = token_spans(np.array([1, 2]), np.zeros(0, int), np.zeros(0, int))
    assert len(starts) == len(ends) == 0


def test_a_token_gets_its_own_and_all_later_steps():
    # group 0: scores 1, 0, 1, 0: mean 1/2, deviation 1/2, so +1 -1 | +1 -1
    # group 1: scores 0, 0: all the same, so nothing
    scores = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    ends = np.array([[2, 3], [1, 4], [1, 2]])
    returns = process_returns(scores, ends, np.array([0, 0, 1]), length=5)
    # first: tokens 0, 1 are in step one (+1 - 1), token 2 in step two (-1), tokens 3, 4 behind both
    assert returns.tolist() == [[0, 0, -1, 0, 0], [0, -1, -1, -1, 0], [0, 0, 0, 0, 0]]


def test_the_mean_is_over_the_steps_of_the_group_not_over_completions():
    # three steps 1, 1, 1 and one step 0: mean 3/4, deviation sqrt(3)/4
    scores = np.array([[1.0, 1.0, 1.0], [0.0, NO, NO]])
    ends = np.array([[1, 2, 3], [2, 0, 0]])
    returns = process_returns(scores, ends, np.array([4, 4]), length=3)
    up, down = 1 / np.sqrt(3), -np.sqrt(3)
    assert returns == pytest.approx(np.array([[3 * up, 2 * up, up], [down, down, 0.0]]))


def test_completions_without_steps_get_nothing():
    assert process_returns(np.full((2, 1), NO), np.zeros((2, 1), int), np.zeros(2, int), 3).tolist() == [[0] * 3] * 2
    assert process_returns(np.zeros((2, 0)), np.zeros((2, 0), int), np.zeros(2, int), 3).tolist() == [[0] * 3] * 2


def test_nothing_from_the_first_wrong_step_on_is_praised():
    scores = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.5, NO, NO], [NO, NO, NO]])
    starts = np.array([[0, 2, 3], [0, 1, 3], [0, 0, 0], [0, 0, 0]])
    credit = praise_before_first_error(np.array([2.0, -1.0, 1.0, 3.0]), scores, starts, length=4)
    # a right third step after a wrong second is not praised; blame stays; 0.5 is not below 0.5
    assert credit.tolist() == [[2, 2, 0, 0], [-1, -1, -1, -1], [1, 1, 1, 1], [3, 3, 3, 3]]


def test_the_threshold_is_the_callers():
    scores, starts = np.array([[0.7, 0.2]]), np.array([[0, 1]])
    assert praise_before_first_error(np.array([1.0]), scores, starts, 2, wrong_below=0.1).tolist() == [[1, 1]]
    assert praise_before_first_error(np.array([1.0]), scores, starts, 2, wrong_below=0.8).tolist() == [[0, 0]]


def test_scores_are_weighted_by_a_soft_minimum():
    # exp(-s / T) with T = 1 / ln 2 is 2^-s: 1/2 and 2 for scores 1 and -1, so weights 1/5 and 4/5
    scores, starts, ends = np.array([[1.0, -1.0]]), np.array([[0, 2]]), np.array([[2, 3]])
    returns = min_form_returns(scores, starts, ends, temperature=1 / np.log(2), length=4)
    # step one keeps 1/5, step two -4/5; tokens 0 and 1 get both, token 2 the second, token 3 is behind both
    assert returns == pytest.approx(np.array([[-0.6, -0.6, -0.8, 0.0]]))


def test_towards_no_temperature_it_is_the_minimum_until_the_worst_step_and_nothing_behind_it():
    scores = np.array([[0.9, -0.5, 0.8], [0.9, 0.2, 0.8], [0.4, NO, NO]])
    starts, ends = np.array([[0, 1, 3]] * 3), np.array([[1, 3, 4]] * 3)
    returns = min_form_returns(scores, starts, ends, temperature=1e-3, length=4)
    assert returns == pytest.approx(np.array([[-0.5, -0.5, -0.5, 0.0], [0.2, 0.2, 0.2, 0.0], [0.4, 0.0, 0.0, 0.0]]))


def test_each_step_pays_what_its_tokens_would_have_earned_in_the_others():
    # one step each, group 0: scores 1, 0, 2 with 2, 1 and 2 tokens; group 1: one completion, nobody to compare with
    scores = np.array([[1.0], [0.0], [2.0], [1.0]])
    starts, ends = np.zeros((4, 1), int), np.array([[2], [1], [2], [1]])
    returns = min_form_returns(scores, starts, ends, 0.1, 2, groups=np.array([5, 5, 5, 9]))
    # others of the first earn (0 + 2) / 3 a token, of the second (1 + 2) / 4, of the third (1 + 0) / 3
    one, two, three = 1 - 2 * 2 / 3, 0 - 3 / 4, 2 - 2 / 3
    assert returns == pytest.approx(np.array([[one, one], [two, 0.0], [three, three], [0.0, 0.0]]))


def test_derivations_alike_have_nothing_to_tell_apart():
    scores, starts, ends = np.full((3, 2), 0.7), np.array([[0, 2]] * 3), np.array([[2, 4]] * 3)
    returns = min_form_returns(scores, starts, ends, 0.1, 4, groups=np.zeros(3, int))
    assert returns == pytest.approx(np.zeros((3, 4)))


def test_completions_without_steps_have_no_minimum_and_are_nobody_s_baseline():
    none = np.full((2, 1), NO), np.zeros((2, 1), int), np.zeros((2, 1), int)
    assert min_form_returns(*none, 0.1, 3).tolist() == [[0.0] * 3] * 2
    empty = np.zeros((2, 0)), np.zeros((2, 0), int), np.zeros((2, 0), int)
    assert min_form_returns(*empty, 0.1, 3, groups=np.zeros(2, int)).tolist() == [[0.0] * 3] * 2
    scores, ends = np.array([[1.0], [NO], [0.0]]), np.array([[1], [0], [1]])
    returns = min_form_returns(scores, np.zeros((3, 1), int), ends, 0.1, 1, groups=np.zeros(3, int))
    assert returns.tolist() == [[1.0], [0.0], [-1.0]]


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=6),
    st.floats(0.01, 10),
    st.integers(0, 3),
)
def test_a_completion_s_return_lies_between_its_lowest_score_and_its_mean(scores, temperature, padding):
    padded = np.array([scores + [NO] * padding])
    ends = np.array([list(range(1, len(scores) + 1)) + [0] * padding])
    first = min_form_returns(padded, np.maximum(ends - 1, 0), ends, temperature, len(scores))[0, 0]
    assert min(scores) - 1e-9 <= first <= np.mean(scores) + 1e-9
