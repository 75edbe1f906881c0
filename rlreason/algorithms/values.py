"""Advantages of tokens from a critic's values: PPO's. Pure numpy; who predicts the values is the learner's affair."""

from __future__ import annotations

import numpy as np


def generalised_advantages(
    rewards_at_end: np.ndarray, values: np.ndarray, lengths: np.ndarray, gamma: float, lam: float
) -> tuple[np.ndarray, np.ndarray]:
    """Exponentially weighted sums of temporal-difference errors, and what the critic should have said.

    The last token of a completion is an end, also where the token budget cut it off: the value behind it is 0.

    Args:
        rewards_at_end: [B] float, the completion's reward, paid with its last token.
        values: [B, T] float, the critic's expectation before each token; ignored behind the length.
        lengths: [B] int, tokens of each completion; 0 allowed (it gets nothing).
        gamma: discount a token.
        lam: 1 gives the return minus the value; 0 the one-step error.
    Returns:
        (advantages [B, T], returns [B, T] = advantages + values), float64, 0 behind the length.
    Source:
        Schulman et al. 2016 (generalised advantage estimation), equation 16.
    """
    own = np.arange(values.shape[1]) < lengths[:, None]
    values = np.where(own, values, 0.0).astype(np.float64)
    rewards = np.zeros(values.shape)
    rows = np.flatnonzero(lengths)
    rewards[rows, lengths[rows] - 1] += rewards_at_end[rows]
    following = np.pad(values[:, 1:], ((0, 0), (0, 1)))
    errors = rewards + gamma * following - values
    advantages = np.zeros(values.shape)
    running = np.zeros(len(values))
    for token in reversed(range(values.shape[1])):
        running = errors[:, token] + gamma * lam * running
        advantages[:, token] = running
    return advantages, advantages + values


def whitened(advantages: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Shifted and scaled to mean 0 and (population) standard deviation 1 over the tokens of `mask`.

    Args:
        advantages: [B, T] float.
        mask: [B, T] bool.
    Returns:
        [B, T] float64; 0 outside the mask, and everywhere where all within it are equal.
    """
    inside = advantages[mask].astype(np.float64)
    result = np.zeros(advantages.shape)
    if len(inside) and inside.max() > inside.min():
        result[mask] = (inside - inside.mean()) / inside.std()
    return result
