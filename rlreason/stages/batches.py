"""Rollouts as a learner takes them: one flat batch an optimizer update."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlreason.algorithms.denominators import token_weights
from rlreason.engines.protocols import PolicyBatch
from rlreason.recipe.stages import OnPolicy
from rlreason.types import Completion, Group


def policy_batch(
    groups: Sequence[Group],
    credit: np.ndarray,
    scored: np.ndarray,
    config: OnPolicy,
    *,
    returns: np.ndarray | None = None,
    proximal_logprobs: np.ndarray | None = None,
    version: int | None = None,
) -> PolicyBatch:
    """The rollouts of an optimizer update. Unscored ones carry weight 0, and those cut off by length where the recipe
    masks them; so does what an environment said.

    Args:
        credit: [P, G, T], the advantage of each token, padded behind a completion's last.
        scored: [P, G].
        returns, proximal_logprobs: [P, G, T], see `PolicyBatch`.
        version: of the learner's weights; None: they sampled all of it.
    """
    completions = [rollout.completion for group in groups for rollout in group.rollouts]
    lengths = np.array([len(completion.tokens) for completion in completions], dtype=np.int32)
    sampled = np.array([completion.sampled_tokens for completion in completions])
    several = any(completion.loss_mask is not None for completion in completions)
    mask = sampled_mask(completions)[np.arange(lengths.max()) < lengths[:, None]] if several else None
    trained = scored.reshape(-1)
    if config.overlong == "mask":
        trained = trained & np.array([completion.finish_reason != "length" for completion in completions])
    weights = token_weights(np.where(trained, sampled, 0), config.loss.denominator, config.sampling.max_new_tokens)
    there = np.arange(credit.shape[-1]) < lengths.reshape(*scored.shape, 1)

    def flat(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[there].astype(np.float32)

    return PolicyBatch(
        tokens=np.concatenate([part for item in completions for part in (item.prompt_tokens, item.tokens)]),
        prompt_lengths=np.array([len(completion.prompt_tokens) for completion in completions], dtype=np.int32),
        lengths=lengths,
        generator_logprobs=np.concatenate([completion.generator_logprobs for completion in completions]),
        advantages=credit[there].astype(np.float32),
        weights=(np.repeat(weights, lengths) * (1 if mask is None else mask)).astype(np.float32),
        proximal_logprobs=flat(proximal_logprobs),
        returns=flat(returns),
        loss_mask=mask,
        current=None if version is None else sampled_by(completions, version),
    )


def sampled_by(completions: Sequence[Completion], version: int) -> np.ndarray | None:
    """[sum of lengths] bool, the tokens of these that the policy's `version` sampled; None: all of them."""
    versions = [
        np.full(len(item.tokens), item.policy_version) if item.policy_versions is None else item.policy_versions
        for item in completions
    ]
    own = np.concatenate(versions) == version
    return None if own.all() else own


def sampled_mask(completions: Sequence[Completion]) -> np.ndarray:
    """[B, T] bool, the tokens of each completion that the policy sampled; False behind its last."""
    mask = np.zeros((len(completions), max(len(completion.tokens) for completion in completions)), dtype=bool)
    for row, completion in zip(mask, completions, strict=True):
        row[: len(completion.tokens)] = True if completion.loss_mask is None else completion.loss_mask
    return mask


def padded(flat: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """[sum(lengths)] as [B, T] float64, 0 behind each row's last."""
    rows = np.zeros((len(lengths), int(lengths.max())))
    rows[np.arange(rows.shape[1]) < np.asarray(lengths)[:, None]] = flat
    return rows
