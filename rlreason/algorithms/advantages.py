"""From the rewards of a batch of groups to advantages. Pure numpy; where a rollout has no verdict, it has no say."""

from __future__ import annotations

from typing import Literal

import numpy as np


def group_relative_advantages(
    rewards: np.ndarray, scored: np.ndarray, scale: Literal["std", "none"] = "std", epsilon: float = 1e-6
) -> np.ndarray:
    """Reward minus its group's mean, over its group's standard deviation.

    Args:
        rewards: [P, G] float, one reward a rollout; ignored (NaN allowed) where `scored` is False.
        scored: [P, G] bool, False where no verdict exists (a grader failed): such a rollout leaves the baseline.
        scale: "std" divides by the population standard deviation of the scored rollouts; "none" does not.
        epsilon: added to the standard deviation.
    Returns:
        [P, G] float64. Exactly 0 where unscored, and in groups whose scored rewards are all equal (or a group of one).
    Source:
        GRPO, Shao et al. 2024 (DeepSeekMath), section 4.1.2; scale "none": Dr. GRPO, Liu et al. 2025.
    """
    valid = np.where(scored, rewards, 0.0)
    count = np.maximum(scored.sum(axis=1, keepdims=True), 1)
    centred = np.where(scored, valid - valid.sum(axis=1, keepdims=True) / count, 0.0)
    lowest = np.where(scored, rewards, np.inf).min(axis=1, keepdims=True)
    highest = np.where(scored, rewards, -np.inf).max(axis=1, keepdims=True)
    # Equality is decided on the rewards themselves: a mean of equal floats can differ from them in the last bit, and
    # dividing that residue by a tiny deviation would make an advantage of rounding noise.
    centred = np.where(highest > lowest, centred, 0.0)
    if scale == "none":
        return centred
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    return np.where(deviation > 0, centred / (deviation + epsilon), 0.0)
