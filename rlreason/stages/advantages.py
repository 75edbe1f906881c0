"""From the rewards of an update to what each token is praised or blamed for, as the recipe's `rl` stage says.

    rewards -> advantages of completions -> credit of tokens          (or, with a critic, of tokens at once)

The arithmetic is in `rlreason.algorithms`; who scores steps, and where they lie in the tokens, in `stages.steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlreason.algorithms.advantages import (
    batch_advantages,
    group_relative_advantages,
    leave_one_out_advantages,
    maximum_likelihood_advantages,
    pass_at_k_advantages,
)
from rlreason.algorithms.values import generalised_advantages, whitened
from rlreason.errors import RunFailed
from rlreason.recipe.objectives import GaeAdvantage
from rlreason.recipe.stages import OnPolicyStage
from rlreason.stages.batches import padded, policy_batch, sampled_mask
from rlreason.stages.context import Context
from rlreason.stages.steps import token_credit
from rlreason.types import Group

ADVANTAGES: dict[str, Callable[[Any, np.ndarray, np.ndarray], np.ndarray]] = {
    "grpo": lambda said, rewards, scored: group_relative_advantages(rewards, scored, said.scale),
    "rloo": lambda said, rewards, scored: leave_one_out_advantages(rewards, scored),
    "reinforce_plus_plus": lambda said, rewards, scored: batch_advantages(rewards, scored, said.baseline),
    "maxrl": lambda said, rewards, scored: maximum_likelihood_advantages(rewards, scored),
    "none": lambda said, rewards, scored: np.zeros(rewards.shape),
    "pass_at_k": lambda said, rewards, scored: pass_at_k_advantages(rewards, scored, said.k),
}
"""Those that need nothing but rewards: (the recipe's section, rewards [P, G], scored [P, G]) -> [P, G]."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """What an update's rollouts are told.

    Attributes:
        advantages: [P, G] float64, of completions; with a critic the mean over a completion's tokens.
        credit: [P, G, T] float64, of tokens, 0 behind a completion's last, for those that the policy did not sample
            and where the completion is unscored.
        returns: [P, G, T] float64, what the critic is to predict; None without one.
    """

    advantages: np.ndarray
    credit: np.ndarray
    returns: np.ndarray | None = None


def assign(
    context: Context, groups: Sequence[Group], rewards: np.ndarray, scored: np.ndarray, config: OnPolicyStage
) -> Assigned:
    """Advantages and credit of scored groups.

    Args:
        rewards, scored: [P, G].
    Raises:
        RunFailed: the rewards are outside what the method is defined for.
        ScoringFailed: credit is by steps, and nobody scored one.
    """
    if isinstance(config.advantage, GaeAdvantage):
        return _by_values(context, groups, rewards, scored, config, config.advantage)
    try:
        advantages = ADVANTAGES[config.advantage.type](config.advantage, rewards, scored)
    except ValueError as error:
        raise RunFailed(f"advantage {config.advantage.type}: {error}. No step was made") from None
    return Assigned(advantages, token_credit(context.codec, groups, advantages, scored, config))


def _by_values(
    context: Context,
    groups: Sequence[Group],
    rewards: np.ndarray,
    scored: np.ndarray,
    config: OnPolicyStage,
    said: GaeAdvantage,
) -> Assigned:
    """PPO's: the critic's values as they are before the update. A completion that was cut off ends like any other.

    Of an episode the sampled tokens follow each other: what was observed between two is a transition and no action.
    """
    completions = [rollout.completion for group in groups for rollout in group.rollouts]
    own = sampled_mask(completions)
    shape, lengths = (*scored.shape, own.shape[1]), own.sum(axis=1)
    batch = policy_batch(groups, np.zeros(shape), scored, config)
    values = context.engines.learner.figures(batch).values
    values = padded(values if batch.loss_mask is None else values[batch.loss_mask], lengths)
    ends = np.where(scored, rewards, 0.0).reshape(-1)
    advantages, returns = generalised_advantages(ends, values, lengths, said.gamma, said.lam)
    trained = (np.arange(values.shape[1]) < lengths[:, None]) & scored.reshape(-1, 1)
    credit = np.where(trained, whitened(advantages, trained), 0.0)
    means = credit.sum(axis=1) / np.maximum(lengths, 1)

    def spread(compact: np.ndarray) -> np.ndarray:
        """[B, sampled tokens] as [P, G, T], 0 for the others."""
        tokens = np.zeros(own.shape)
        tokens[own] = compact[np.arange(compact.shape[1]) < lengths[:, None]]
        return tokens.reshape(shape)

    return Assigned(means.reshape(scored.shape), spread(credit), spread(returns))
