"""How parts become one reward, against hand-worked values; and the built-in parts."""

from __future__ import annotations

import math

import pytest

from rlreason.errors import RewardError
from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards import builtin
from rlreason.rewards.failures import Unscored
from rlreason.rewards.rubric import Part, combine, parts_of
from rlreason.types import DerivationCheck, Score, Step

CHECK = DerivationCheck("7", True, False, (Step(0, 1, "wrong", "slip"),), 0, "slip")
PARTS = (Part("a", "a.py:a", 2.0, {}, 1.0), Part("b", "b.py:b", -1.0, {}, 1.0), Part("c", "c.py:c", 1.0, {}, 1.0))


def scores(a: float, b: float, c: float) -> dict[str, Score]:
    return {"a": Score(a), "b": Score(b, correct=True, parts={"x": 0.25}), "c": Score(c)}


@pytest.mark.parametrize(
    ("how", "values", "expected"),
    [
        ("sum", (1.0, 0.5, 0.25), 1.75),  # 2 x 1 - 1 x 0.5 + 1 x 0.25
        ("product", (1.0, 0.5, 0.5), 0.25),
        ("product", (0.0, 0.5, 0.5), 0.0),
        ("first_failure", (1.0, 0.5, 0.0), 0.5),
        ("first_failure", (1.0, 2.0, 1.0), 1.0),
    ],
)
def test_parts_combine(how, values, expected):
    score = combine(how, PARTS, scores(*values), CHECK)
    assert score.reward == expected
    assert score.parts == {"a": values[0], "b": values[1], "b/x": 0.25, "b/correct": 1.0, "c": values[2]}
    assert (score.correct, score.derivation_correct, score.first_error, score.answer) == (True, False, 0, "7")
    assert (score.first_error_kind, score.steps) == ("slip", CHECK.steps)


def test_finite_parts_that_overflow_are_an_invalid_score():
    with pytest.raises(Unscored, match="InvalidScore: the product"):
        combine("product", PARTS, scores(1e200, 1e200, 1.0), CHECK)


def test_names_come_from_the_recipe_or_the_function():
    rubric = Rubric(
        parts=(Reward(spec="x.py:score"), Reward(spec="pkg.mod:score", name="second"), Reward(spec="point"))
    )
    assert [part.name for part in parts_of(rubric)] == ["score", "second", "point"]


def test_two_parts_of_one_name_are_refused():
    with pytest.raises(RewardError, match=r"two rewards are called 'score'.*rewards.parts\[1\]"):
        parts_of(Rubric(parts=(Reward(spec="x.py:score"), Reward(spec="y.py:score"))))


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_is_refused(weight):
    with pytest.raises(RewardError, match=f"weight {weight} of reward 'score' is not a finite number"):
        parts_of(Rubric(parts=(Reward(spec="x.py:score", weight=weight),)))


@pytest.mark.parametrize(
    ("verdicts", "answer_correct", "sound", "expected"),
    [
        (["right", "right"], True, True, 1.0),
        (["right", "wrong", "right", "repeated"], True, False, 0.5),
        (["right", "right"], False, False, 2 / 3),  # the answer is the step that is not right
        ([], True, False, 0.0),  # a bare answer shows no step
    ],
)
def test_the_derivation_reward_is_the_share_of_right_steps(problem, verdicts, answer_correct, sound, expected):
    steps = tuple(Step(0, 1, verdict) for verdict in verdicts)
    check = DerivationCheck("7", answer_correct, sound, steps)
    assert builtin.derivation(problem, "", check) == expected
    assert builtin.answer(problem, "", check) == float(answer_correct)
    assert builtin.format(problem, "", check) == 1.0


def test_the_format_reward_asks_only_for_a_readable_answer(problem):
    assert builtin.format(problem, "", DerivationCheck(None, False, False)) == 0.0


@pytest.fixture
def problem():
    from toy_task import toy_problem

    return toy_problem(6)
