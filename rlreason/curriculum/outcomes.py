"""From the scored groups of an update to what each bandit arm showed: payoffs and successes, problem by problem.

Between the training loop, which has rollouts, and the curriculum, which knows arms and numbers. The past that two of
the payoffs compare with is kept here, and saved with the curriculum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlreason.curriculum.contract import Outcome, bandit_arm
from rlreason.curriculum.payoffs import (
    RunningMeans,
    mean_absolute_advantage,
    nearness_to_half,
    reward_slope,
    reward_variance,
    step_progress,
    success_rate,
)
from rlreason.recipe.curricula import Payoff
from rlreason.types import Group, Problem, Score


def arm_of(problem: Problem) -> str:
    """The bandit arm that a problem was drawn from."""
    return bandit_arm(problem.task, problem.level, problem.cell)


class Payer:
    """Computes one kind of payoff."""

    def __init__(self, payoff: Payoff, arms: Sequence[str]) -> None:
        """`arms`: all bandit arms of the stage."""
        self._payoff = payoff
        self._past = RunningMeans(arms)

    def outcomes(
        self, groups: Sequence[Group], rewards: np.ndarray, advantages: np.ndarray, scored: np.ndarray
    ) -> dict[str, Outcome]:
        """Bandit arm -> what its problems showed, of the arms that were drawn.

        Args:
            rewards, advantages: [P, G] float. scored: [P, G] bool.
        """
        correct = np.array([[_number(rollout.score.correct) for rollout in group.rollouts] for group in groups])
        steps = np.array([[_steps_right(rollout.score) for rollout in group.rollouts] for group in groups])
        arms = np.array([arm_of(group.problem) for group in groups])
        found = {}
        for arm in dict.fromkeys(arms.tolist()):
            own = arms == arm
            payoffs = self._pay(arm, rewards[own], advantages[own], scored[own], correct[own], steps[own])
            found[arm] = Outcome(payoffs.tolist(), success_rate(correct[own]).tolist())
        return found

    def _pay(
        self,
        arm: str,
        rewards: np.ndarray,
        advantages: np.ndarray,
        scored: np.ndarray,
        correct: np.ndarray,
        steps: np.ndarray,
    ) -> np.ndarray:
        before = self._past.before(arm)
        match self._payoff:
            case "advantage":
                return mean_absolute_advantage(advantages, scored)
            case "half_success":
                return nearness_to_half(correct)
            case "variance":
                return reward_variance(rewards, scored)
            case "slope":
                self._past.absorb(arm, np.where(scored, rewards, np.nan))
                return reward_slope(rewards, scored, before)
            case "step_progress":
                self._past.absorb(arm, steps)
                return step_progress(steps, before)

    def state_dict(self) -> dict[str, Any]:
        """{"means": ...}: the past of each arm."""
        return self._past.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state is of other arms, or damaged.
        """
        self._past.load_state_dict(state)


def _number(verdict: bool | None) -> float:
    return float("nan") if verdict is None else float(verdict)


def _steps_right(score: Score) -> float:
    """Steps before the first error; all of them where there is none; NaN where the derivation was not checked."""
    if score.derivation_correct is None:
        return float("nan")
    return float(len(score.steps) if score.first_error is None else score.first_error)
