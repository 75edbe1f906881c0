"""What is measured of the rollouts of an update: outcomes, and the signs of a reward that pays for something else.

The task's own check is the independent judge here: what the reward pays is held against it. Nothing is decided or
stopped; the figures go into the records, and the report draws and compares them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rlreason.rewards.failures import kind_of
from rlreason.stages.steps import step_scores_by
from rlreason.types import Group

NONE = float("nan")
"""A share of nothing."""


def outcome_metrics(groups: Sequence[Group], rewards: np.ndarray, informative: np.ndarray) -> dict[str, float]:
    """What is recorded of the rollouts of an update.

    Args:
        rewards: [P, G], NaN where unscored.
        informative: [P] bool, some token of the group was praised or blamed.
    Returns:
        reward_mean, correct_mean, derivation_correct_mean; and for the audit
        right_answer_wrong_steps: share of the right answers that rest on a derivation that is not right;
        reward_when_right, reward_when_wrong: mean reward where the task's check finds the answer right, wrong;
        reward_when_derived: mean reward where it finds the whole derivation right;
        duplicate_completions: share of the rollouts whose text another rollout of the same prompt has before them;
        unscored: rollouts without a reward, and unscored_KIND of each kind of failure that occurred.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    scores = [rollout.score for rollout in rollouts]
    paid = rewards.reshape(-1)
    right = np.array([score.correct is True for score in scores])
    wrong = np.array([score.correct is False for score in scores])
    derived = np.array([score.derivation_correct is True for score in scores])
    judged = np.array([score.derivation_correct is not None for score in scores])
    kinds = Counter(str(kind_of(score.failure)) for score in scores if score.reward is None)
    texts = sum(len({rollout.completion.text for rollout in group.rollouts}) for group in groups)
    return {
        "reward_mean": _mean(paid),
        "correct_mean": _mean(right[right | wrong]),
        "derivation_correct_mean": _mean(derived[judged]),
        "right_answer_wrong_steps": _mean(~derived[right & judged]),
        "reward_when_right": _mean(paid[right]),
        "reward_when_wrong": _mean(paid[wrong]),
        "reward_when_derived": _mean(paid[derived]),
        "duplicate_completions": 1 - texts / len(rollouts),
        "informative_groups": float(informative.mean()),
        "unscored": float(np.isnan(paid).sum()),
        **{f"unscored_{kind}": float(count) for kind, count in kinds.items()},
        "completion_tokens_mean": _mean(np.array([rollout.completion.sampled_tokens for rollout in rollouts])),
        "cut_by_length": _mean(np.array([rollout.completion.finish_reason == "length" for rollout in rollouts])),
    }


def step_metrics(groups: Sequence[Group], scorer: str | None) -> dict[str, float]:
    """What the step scorer pays steps that the task's check finds right, and those it does not; {} without a scorer.

    Steps count where the scorer judged the steps that the check found.
    """
    if scorer is None:
        return {}
    paid: dict[bool, list[float]] = {True: [], False: []}
    for group in groups:
        for rollout in group.rollouts:
            said = step_scores_by(scorer, rollout)
            spans = [(step.start, step.end) for step in rollout.score.steps]
            if [(step.start, step.end) for step in said] == spans:
                for step, each in zip(rollout.score.steps, said, strict=True):
                    paid[step.verdict == "right"].append(each.score)
    return {"step_score_when_right": _mean(np.array(paid[True])), "step_score_when_wrong": _mean(np.array(paid[False]))}


def _mean(values: np.ndarray) -> float:
    """Mean of those that are numbers; NaN where there are none."""
    there = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    return float(np.mean(there)) if len(there) else NONE
