"""An update's loss, put together as the stage's settings say, and what is measured on the way.

Every learner runs this around its own engine; the arithmetic of each piece is in `rlreason.algorithms`. Torch only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from rlreason.algorithms.corrections import importance_weights, mismatch_figures
from rlreason.algorithms.kl import kl_estimate
from rlreason.algorithms.losses import TokenLosses, cispo, clipped_surrogate, sequence_surrogate
from rlreason.engines.policy import MicroBatch, PolicyModule, micro_batch, sampled_places
from rlreason.engines.protocols import PolicyBatch, PolicyFigures, PolicySettings
from rlreason.errors import RunFailed, WeightSyncMismatch

MISMATCH_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}
"""Largest mean |learner - generator| logprob while both hold the same weights: kernels differ, weights must not."""

Surrogate = Callable[[Any, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], TokenLosses]
"""(the recipe's section, logprobs, those the ratio is against, advantages, sequence) -> losses of [N] tokens."""

SURROGATES: dict[str, Surrogate] = {
    "clipped": lambda said, new, old, advantages, sequence: clipped_surrogate(
        new, old, advantages, said.clip_low, said.clip_high, said.dual_clip
    ),
    "cispo": lambda said, new, old, advantages, sequence: cispo(new, old, advantages, said.clip_low, said.clip_high),
    "gspo": lambda said, new, old, advantages, sequence: sequence_surrogate(
        new, old, advantages, sequence, said.clip_low, said.clip_high
    ),
}

SUMS = (
    "loss",
    "tokens",
    "looked_at",
    "held",
    "computed",
    "padding",
    "mismatch",
    "mismatch_kl",
    "current",
    "mismatch_current",
    "clipped",
    "entropy",
    "corrected",
    "reference_kl",
    "squared_error",
)


@dataclass(slots=True)
class UpdateTally:
    """Sums over the micro-batches of an update, from which its metrics are made.

    Attributes:
        sums: name -> sum over the update's sampled tokens that went through the model, but "loss" (the update's),
            "tokens" (sampled ones, "looked_at" of them computed), "held" (tokens of its sequences), "entropy" (over all
            sampled ones), "computed" (positions that went through the model) and "padding" (of these). Ranks add theirs
            up.
        largest_ratio: of the learner's probability of a token to the generator's; ranks take the largest.
    """

    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SUMS, 0.0))
    largest_ratio: float = 0.0

    def count(self, part: MicroBatch, logprobs: torch.Tensor, **sums: float) -> None:
        """Count one micro-batch; `sums` are added as they are."""
        tokens = float(len(logprobs))
        off = mismatch_figures(logprobs, part.generator_logprobs)
        own = {
            "tokens": tokens,
            "looked_at": tokens,
            "held": float(part.held),
            "computed": float(part.computed),
            "padding": float(part.padding),
            "mismatch": off.mean_difference * tokens,
            "mismatch_kl": off.kl * tokens,
            "current": tokens,
            "mismatch_current": off.mean_difference * tokens,
        }
        if part.current is not None:
            there = mismatch_figures(logprobs[part.current], part.generator_logprobs[part.current])
            own["current"] = float(part.current.sum())
            own["mismatch_current"] = there.mean_difference * own["current"]
        self.largest_ratio = max(self.largest_ratio, off.largest_ratio)
        for name, value in (own | sums).items():
            self.sums[name] += value

    def leave_out(self, batch: PolicyBatch, indices: Sequence[int]) -> None:
        """Count sequences of an update that nothing is learned from, and that were not computed.

        Their entropy is estimated by the surprise of what the generator sampled, of which it is the expectation.
        """
        totals = batch.prompt_lengths[list(indices)] + batch.lengths[list(indices)]
        ends = np.cumsum(batch.lengths)
        places = [sampled_places(batch, ends[index] - batch.lengths[index], ends[index]) for index in indices]
        sampled = np.concatenate([np.zeros(0, dtype=np.int64), *places])
        self.sums["tokens"] += float(len(sampled))
        self.sums["held"] += float(totals.sum())
        self.sums["entropy"] -= float(batch.generator_logprobs[sampled].sum(dtype=np.float64))

    def metrics(self, settings: PolicySettings) -> dict[str, float]:
        """What the records keep of an update."""
        sums = self.sums
        tokens, looked_at = max(sums["tokens"], 1.0), max(sums["looked_at"], 1.0)
        found = {
            "loss": sums["loss"],
            "completion_tokens": sums["tokens"],
            "trained_tokens": sums["held"],
            "computed_tokens": sums["computed"],
            "padded_share": sums["padding"] / max(sums["computed"], 1.0),
            "mismatch_mean": sums["mismatch"] / looked_at,
            "mismatch_kl": sums["mismatch_kl"] / looked_at,
            "mismatch_ratio_max": self.largest_ratio,
            "clipped_share": sums["clipped"] / tokens,
            "entropy": sums["entropy"] / tokens,
        }
        if sums["current"] < sums["looked_at"]:
            found["mismatch_current"] = sums["mismatch_current"] / max(sums["current"], 1.0)
        if settings.correction is not None:
            found["corrected_share"] = sums["corrected"] / looked_at
        if settings.kl is not None:
            found["reference_kl"] = sums["reference_kl"] / looked_at
        if settings.critic is not None:
            found["value_error"] = sums["squared_error"] / looked_at
        return found


def micro_batch_losses(
    module: nn.Module,
    batch: PolicyBatch,
    plan: Sequence[Sequence[int]],
    settings: PolicySettings,
    device: torch.device,
    tally: UpdateTally,
    reference: PolicyModule | None = None,
    *,
    shared: bool = False,
    left_out: Sequence[int] = (),
) -> Iterator[torch.Tensor]:
    """The loss of each micro-batch, ready for a backward pass; their sum is the update's loss.

    Args:
        module: a `PolicyModule`, or an engine around one.
        batch: the whole update.
        plan: sequence indices of each micro-batch.
        tally: filled on the way.
        reference: what the policy is held near, with `settings.kl`.
        shared: a micro-batch holds each prompt once; only where the module `shares_prompts`.
        left_out: sequences that are in no plan, to be counted here.
    """
    tally.leave_out(batch, left_out)
    for indices in plan:
        part = micro_batch(batch, indices, device, shared=shared)
        logprobs, entropy, values = part.under(module, settings.temperature, settings.top_p)
        behind = None
        if reference is not None:
            with torch.no_grad():
                behind, _, _ = part.under(reference, settings.temperature, settings.top_p)
        yield _loss(part, logprobs, entropy, values, behind, settings, tally)


def _loss(
    part: MicroBatch,
    logprobs: torch.Tensor,
    entropy: torch.Tensor,
    values: torch.Tensor,
    reference_logprobs: torch.Tensor | None,
    settings: PolicySettings,
    tally: UpdateTally,
) -> torch.Tensor:
    """Weighted sum over the tokens of surrogate, KL, entropy and squared error of the critic."""
    counted: dict[str, float] = {}
    advantages, ratio_against = part.advantages, part.generator_logprobs
    kl = settings.kl
    if kl is not None:
        assert reference_logprobs is not None, "loaded where the stage has kl"
        distance = kl_estimate(logprobs, reference_logprobs, kl.estimator)
        counted["reference_kl"] = float(distance.detach().sum())
        if kl.place == "advantage":
            advantages = advantages - kl.weight * distance.detach()
    correction = settings.correction
    if correction is not None:
        proximal = part.proximal_logprobs if part.proximal_logprobs is not None else logprobs.detach()
        importance, share = importance_weights(
            proximal,
            part.generator_logprobs,
            part.sequence,
            method=correction.method,
            level=correction.level,
            low=correction.low,
            high=correction.high,
        )
        ratio_against = proximal
        counted["corrected"] = float(share) * len(proximal)
    surrogate = SURROGATES[settings.loss.type](settings.loss, logprobs, ratio_against, advantages, part.sequence)
    tokens = surrogate.loss if correction is None else surrogate.loss * importance
    if kl is not None and kl.place == "loss":
        tokens = tokens + kl.weight * distance
    if settings.entropy_weight:
        tokens = tokens - settings.entropy_weight * entropy
    if settings.critic is not None and part.returns is not None:
        error = (values - part.returns) ** 2
        tokens = tokens + settings.critic.weight * 0.5 * error
        counted["squared_error"] = float(error.detach().sum())
    loss = (tokens * part.weights).sum()
    tally.count(
        part,
        logprobs,
        loss=float(loss.detach()),
        clipped=float(surrogate.clipped.sum()),
        entropy=float(entropy.detach().sum()),
        **counted,
    )
    return loss


@torch.no_grad()
def policy_figures(
    module: nn.Module,
    batch: PolicyBatch,
    plan: Sequence[Sequence[int]],
    settings: PolicySettings,
    device: torch.device,
    *,
    shared: bool = False,
) -> PolicyFigures:
    """Log-probabilities and values of the sequences in `plan`; 0 for all others, so that ranks can add theirs up."""
    starts = np.concatenate([[0], np.cumsum(batch.lengths)])
    found = PolicyFigures(np.zeros(starts[-1], np.float32), np.zeros(starts[-1], np.float32))
    for indices in plan:
        part = micro_batch(batch, indices, device, shared=shared)
        logprobs, _, values = part.under(module, settings.temperature, settings.top_p)
        at = [sampled_places(batch, starts[index], starts[index + 1]) for index in indices]
        if at:
            where = np.concatenate(at)
            found.logprobs[where] = logprobs.float().cpu().numpy()
            found.values[where] = values.float().cpu().numpy()
    return found


def check_mismatch(metrics: dict[str, float], settings: PolicySettings, dtype: torch.dtype, update: int) -> None:
    """Refuse an on-policy update whose generator did not hold the learner's weights.

    Raises:
        WeightSyncMismatch: mean |learner - generator| logprob is over the tolerance, or not a number. Where other
            weights sampled some of the tokens, these do not count.
    """
    tolerance = settings.mismatch_tolerance or MISMATCH_TOLERANCE[dtype]
    mismatch = metrics.get("mismatch_current", metrics["mismatch_mean"])
    if not mismatch <= tolerance:
        raise WeightSyncMismatch(
            f"update {update}: generator and learner disagree on the log-probabilities of the same tokens by "
            f"{mismatch:.3g} on average (allowed: {tolerance:g}), so the generator does not serve the "
            "learner's weights; no step was made. If the engines' kernels are known to differ that much, raise the "
            "stage's mismatch_tolerance."
        )


def may_step(
    metrics: dict[str, float], settings: PolicySettings, dtype: torch.dtype, update: int, on_policy: bool
) -> bool:
    """Whether an update whose gradients are there is to be made; notes in the metrics where it is not.

    Raises:
        WeightSyncMismatch: see `check_mismatch`; not looked at where weights have moved since the rollouts.
    """
    if on_policy:
        check_mismatch(metrics, settings, dtype, update)
    metrics["skipped"] = 0.0 if np.isfinite(metrics["loss"]) else 1.0
    return not metrics["skipped"]


def check_gradient(norm: float, update: int) -> float:
    """The norm of an update's gradient, if it is one.

    Raises:
        RunFailed: it is not finite although the loss was; the weights that it made are not to be used.
    """
    if not np.isfinite(norm):
        raise RunFailed(
            f"update {update}: the gradient's norm is {norm}; the stage goes on from its last saved state when it is "
            "run again, and would come here again: lower the learning rate or max_grad_norm first"
        )
    return norm
