import math

import numpy as np
import pytest

from rlreason.stages.audit import outcome_metrics, step_metrics
from rlreason.stages.draws import rewards_of
from rlreason.types import Score, Step, StepScore
from tests.stages.groups import failed, group


def test_outcome_metrics_worked_by_hand():
    groups = [
        group(
            "a",
            ([3, 9], Score(1.0, correct=True, derivation_correct=True)),
            ([4, 5, 6, 9], Score(0.5, correct=True, derivation_correct=False)),
        ),
        group(
            "b", ([7, 8], Score(0.25, correct=False, derivation_correct=False)), ([7, 8], failed("PluginRaised: no"))
        ),
    ]
    assert outcome_metrics(groups, rewards_of(groups)[0], np.array([True, False])) == pytest.approx(
        {
            "reward_mean": 1.75 / 3,
            "correct_mean": 2 / 3,
            "derivation_correct_mean": 1 / 3,
            "right_answer_wrong_steps": 1 / 2,
            "reward_when_right": 0.75,
            "reward_when_wrong": 0.25,
            "reward_when_derived": 1.0,
            "duplicate_completions": 1 / 4,  # "[7, 8]" is there twice
            "informative_groups": 1 / 2,
            "unscored": 1,
            "unscored_PluginRaised": 1,
            "completion_tokens_mean": 10 / 4,
            "cut_by_length": 1 / 2,
        }
    )


def test_rewards_that_judge_no_answer_leave_those_figures_undefined():
    groups = [group("a", ([3], Score(0.3)), ([4], Score(0.1)))]
    metrics = outcome_metrics(groups, rewards_of(groups)[0], np.array([True]))
    undefined = {name for name, value in metrics.items() if math.isnan(value)}
    assert undefined == {
        "correct_mean",
        "derivation_correct_mean",
        "right_answer_wrong_steps",
        "reward_when_right",
        "reward_when_wrong",
        "reward_when_derived",
    }


def test_a_scorer_is_held_against_the_check_where_both_judged_the_same_steps():
    steps = (Step(0, 1, "right", score=1.0), Step(1, 2, "wrong"), Step(2, 3, "repeated"))
    own = {"prm": (StepScore(0, 1, 0.9), StepScore(1, 2, 0.2), StepScore(2, 3, 0.4)), "mine": (StepScore(0, 3, 7.0),)}
    groups = [group("a", ([3], Score(1.0, steps=steps, step_scores=own)))]
    assert step_metrics(groups, "prm") == pytest.approx({"step_score_when_right": 0.9, "step_score_when_wrong": 0.3})
    assert step_metrics(groups, "symbolic") == {"step_score_when_right": 1.0, "step_score_when_wrong": 0.0}
    assert all(math.isnan(value) for value in step_metrics(groups, "mine").values())  # spans of its own
    assert step_metrics(groups, None) == {}
