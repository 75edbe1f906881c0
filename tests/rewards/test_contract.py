"""What a plug-in may look like and may return."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.errors import RewardError
from rlreason.rewards.contract import check_signature, is_batch, reward, to_score
from rlreason.rewards.failures import FailureKind, Unscored, kind_of
from rlreason.types import DerivationCheck, Score, Step, StepScore

TEXT = "one. two. three."
CHECK = DerivationCheck(None, False, False, (Step(0, 4, "right", score=1.0), Step(5, 9, "wrong", "slip")), 1, "slip")
ONE, TWO = StepScore(0, 4, 0.5), StepScore(5, 9, -2.0)


@pytest.mark.parametrize(
    "steps",
    [
        [0.5, -2],
        np.array([0.5, -2.0]),
        [{"start": 0, "end": 4, "score": 0.5}, {"start": 5, "end": 9, "score": -2}],
        (ONE, TWO),
    ],
)
def test_step_scores_are_numbers_for_the_checks_steps_or_spans(steps):
    expected = Score(1.0, step_scores={"steps": (ONE, TWO)})
    assert to_score("x.py:f", {"reward": 1, "steps": steps}, TEXT, CHECK) == expected
    assert to_score("x.py:f", {"reward": 1, "steps": ()}, TEXT, CHECK) == Score(1.0)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([1.0], "1 step scores for a derivation of 2 steps"),
        ([1.0, math.nan], "the score of step 1 as nan"),
        ([1.0, "1"], "the score of step 1 of type str"),
        ("11", "steps of type str"),
        ([{"start": 0, "end": 4}], "its keys are start, end, score"),
        ([StepScore(0, 17, 1.0)], "0 to 17 in a text of 16 characters"),
        ([StepScore(2, 2, 1.0)], "2 to 2"),
        ([TWO, ONE], "step 1 with the span 0 to 4"),
        ([{"start": 0.0, "end": 4, "score": 1}], "not two whole numbers"),
    ],
)
def test_step_scores_that_fit_no_step_are_an_invalid_score(steps, words):
    with pytest.raises(Unscored, match=r"InvalidScore: .*" + words):
        to_score("x.py:f", {"reward": 1.0, "steps": steps}, TEXT, CHECK)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (True, Score(1.0)),
        (np.float32(0.5), Score(0.5)),
        (np.bool_(False), Score(0.0)),
        (Fraction(1, 4), Score(0.25)),
        ({"reward": 2, "correct": np.True_, "parts": {"a": 1}}, Score(2.0, True, {"a": 1.0})),
        (Score(0.5, correct=False, parts={"b": 3}), Score(0.5, False, {"b": 3.0})),
    ],
)
def test_numbers_mappings_and_scores_become_scores(returned, expected):
    score = to_score("x.py:f", returned, TEXT, CHECK)
    assert score == expected and type(score.reward) is float


@pytest.mark.parametrize(
    "returned",
    [
        None,
        "1",
        b"1",
        [1.0],
        1j,
        math.nan,
        -math.inf,
        np.array([1.0]),
        {},
        {"reward": None},
        {"reward": 1.0, "parts": {"a": math.nan}},
        {"reward": 1.0, "parts": [1.0]},
        {"reward": 1.0, "correct": "yes"},
        Score(None),
        Score(1.0, steps=(Step(0, 1, "right"),)),
    ],
)
def test_anything_else_is_an_invalid_score(returned):
    with pytest.raises(Unscored, match=r"InvalidScore: x\.py:f returned") as raised:
        to_score("x.py:f", returned, TEXT, CHECK)
    assert raised.value.kind is FailureKind.INVALID_SCORE


@given(
    st.recursive(st.none() | st.floats() | st.text() | st.integers(), st.lists)
    | st.dictionaries(st.text(), st.floats())
)
def test_whatever_is_returned_is_a_finite_score_or_a_typed_failure(returned):
    try:
        assert math.isfinite(to_score("x.py:f", returned, TEXT, CHECK).reward)
    except Unscored as failure:
        assert kind_of(str(failure)) is FailureKind.INVALID_SCORE


def test_a_failure_text_without_a_kind_has_none():
    assert kind_of("") is None
    assert kind_of("Nonsense: x") is None


def test_swapped_parameters_are_refused_with_what_was_expected_and_found():
    def swapped(completion, problem, derivation): ...

    with pytest.raises(
        RewardError, match=r"takes \(completion, problem, derivation\); a reward takes \(problem, compl"
    ):
        check_signature("x.py:swapped", swapped, False, {})


def test_a_batch_function_that_is_not_marked_is_told_how_to_mark_it():
    def many(problems, completions, derivations): ...

    with pytest.raises(RewardError, match=r"mark it `@reward\(batch=True\)`"):
        check_signature("x.py:many", many, False, {})
    check_signature("x.py:many", many, True, {})


def test_kwargs_that_the_function_does_not_take_are_refused():
    def score(problem, completion, derivation, *, share): ...

    with pytest.raises(RewardError, match="'shares'"):
        check_signature("x.py:score", score, False, {"shares": 1})
    with pytest.raises(RewardError, match="missing a required argument: 'share'"):
        check_signature("x.py:score", score, False, {})
    check_signature("x.py:score", score, False, {"share": 1})


def test_the_decorator_marks_batch_and_nothing_else():
    @reward
    def one(problem, completion, derivation):
        return 7

    @reward(batch=True)
    def many(problems, completions, derivations): ...

    assert one(0, 0, 0) == 7
    assert (is_batch(one), is_batch(many)) == (False, True)
