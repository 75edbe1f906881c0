"""From the rewards of a batch of groups to advantages. Pure numpy; where a rollout has no verdict, it has no say.

One number a rollout. What its tokens make of it is `step_credit`'s; advantages of tokens from a critic are in `values`.
Rewards are [P, G], G rollouts of each of P prompts, and ignored (NaN allowed) where `scored` [P, G] is False: such a
rollout leaves the baseline and gets 0. A group whose scored rewards are all equal (or a group of one) gets exactly 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from rlreason.algorithms.pass_at_k import pass_at_k


def rewards_differ(rewards: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """[P] bool, whether the scored rewards of a group are not all equal; arguments as in the functions below."""
    highest = np.where(scored, rewards, -np.inf).max(axis=1)
    lowest = np.where(scored, rewards, np.inf).min(axis=1)
    differ: np.ndarray = highest > lowest
    return differ


def _centred(rewards: np.ndarray, scored: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(reward minus its group's mean [P, G], 0 where unscored; that mean [P, 1]; the scored [P, 1], at least 1)."""
    valid = np.where(scored, rewards, 0.0)
    count = np.maximum(scored.sum(axis=1, keepdims=True), 1)
    mean = valid.sum(axis=1, keepdims=True) / count
    # Equality is decided on the rewards themselves: a mean of equal floats can differ from them in the last bit, and
    # dividing that residue by a tiny deviation would make an advantage of rounding noise.
    return np.where(scored & rewards_differ(rewards, scored)[:, None], valid - mean, 0.0), mean, count


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
    centred, _, count = _centred(rewards, scored)
    if scale == "none":
        return centred
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    return np.divide(centred, deviation + epsilon, out=np.zeros_like(centred), where=deviation > 0)


def leave_one_out_advantages(rewards: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Reward minus the mean of the *other* scored rollouts of the same prompt.

    Args:
        rewards: [P, G] float, ignored where `scored` is False.
        scored: [P, G] bool.
    Returns:
        [P, G] float64.
    Source:
        RLOO, Ahmadian et al. 2024 (arXiv 2402.14740).
    """
    centred, _, count = _centred(rewards, scored)
    # r - (total - r) / (n - 1) = (r - total / n) n / (n - 1)
    return centred * count / np.maximum(count - 1, 1)


def batch_advantages(rewards: np.ndarray, scored: np.ndarray, baseline: Literal["batch", "group"]) -> np.ndarray:
    """Reward minus a mean, over the standard deviation that these differences have in the whole batch.

    The paper's batch is of tokens where it has a KL penalty on each; without one, all of a completion's are the same,
    and here every rollout counts once, however long.

    Args:
        rewards: [P, G] float, ignored where `scored` is False.
        scored: [P, G] bool.
        baseline: whose mean is taken off. With "batch", a group whose rewards are all equal learns too: all right is
            better than the batch. A batch whose rewards are all equal gets 0.
    Returns:
        [P, G] float64; their standard deviation over the scored rollouts is 1, or they are all 0.
    Source:
        REINFORCE++ ("batch") and REINFORCE++ with baseline ("group"), Hu et al. 2025 (arXiv 2501.03262).
    """
    groups = (1, -1) if baseline == "batch" else rewards.shape
    centred, _, _ = _centred(rewards.reshape(groups), scored.reshape(groups))
    deviation = np.sqrt((centred**2).sum() / max(scored.sum(), 1))
    return (centred / deviation if deviation > 0 else np.zeros_like(centred)).reshape(rewards.shape)


def maximum_likelihood_advantages(rewards: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Reward minus its group's mean, over that mean: the rarer a right answer, the more it is worth.

    With 0/1 rewards and G rollouts, the policy gradient so weighted is without bias that of the sum over k = 1 to G - 1
    of pass@k / k, which are the first terms of log P(right): the more rollouts, the nearer to maximum likelihood.

    Args:
        rewards: [P, G] float in [0, 1], ignored where `scored` is False.
        scored: [P, G] bool.
    Returns:
        [P, G] float64; 0 where the group's mean is 0.
    Raises:
        ValueError: a reward is negative.
    Source:
        MaxRL, Tajwar et al. 2026 (arXiv 2602.02710).
    """
    lowest = rewards.min(where=scored, initial=np.inf)
    if lowest < 0:
        raise ValueError(
            f"reward {lowest:g} is negative, and dividing by a mean of such rewards has no meaning; "
            "give rewards between 0 and 1"
        )
    centred, mean, _ = _centred(rewards, scored)
    return np.divide(centred, mean, out=np.zeros_like(centred), where=mean > 0)


def pass_at_k_advantages(rewards: np.ndarray, scored: np.ndarray, k: int) -> np.ndarray:
    """What a rollout adds to the chance that at least one of k is right, drawn without replacement from its group.

    Each k of the group's rollouts are a team, rewarded 1 if one of them is right. A rollout's advantage is the mean of
    the normalised rewards (mean and standard deviation over all teams) of the teams that it is in, here in closed form.

    Args:
        rewards: [P, G] float, 1 (right) or 0 (wrong), ignored where `scored` is False.
        scored: [P, G] bool.
        k: rollouts of a team, at least 1; with 1 these are GRPO's advantages.
    Returns:
        [P, G] float64; 0 in groups with fewer than k scored rollouts, and where every team has a right one.
    Raises:
        ValueError: a reward is neither 0 nor 1 (it is not guessed which of them is right), or k is below 1.
    Source:
        Pass@k training, Chen et al. 2025 (arXiv 2508.10751), the analytical derivation.
    """
    graded = rewards[scored]
    other = graded[(graded != 0) & (graded != 1)]
    if len(other):
        raise ValueError(f"reward {other[0]:g} is neither 0 (wrong) nor 1 (right); use a reward that only says which")
    if k < 1:
        raise ValueError(f"k {k} must be at least 1")
    right = scored & (rewards == 1)
    enough = scored.sum(axis=1) >= k
    count, correct = scored.sum(axis=1)[enough], right.sum(axis=1)[enough]
    passed = pass_at_k(count, correct, k)
    deviation = np.sqrt(passed * (1.0 - passed))
    # the team of a wrong rollout needs a right one among its k - 1 others
    with_wrong = pass_at_k(count - 1, np.minimum(correct, count - 1), k - 1) if k > 1 else np.zeros(len(count))
    gain = np.where(right[enough], (1.0 - passed)[:, None], (with_wrong - passed)[:, None])
    advantages = np.zeros(rewards.shape)
    advantages[enough] = np.divide(gain, deviation[:, None], out=np.zeros_like(gain), where=deviation[:, None] > 0)
    return np.where(scored, advantages, 0.0)
