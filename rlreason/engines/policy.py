"""The part that every learner shares: log-probabilities of completions, their loss, and what is measured on the way.

Torch only. DeepSpeed or a plain optimizer around it, ranks and checkpoints are the learners' own affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rlreason.algorithms.logprobs import token_logprobs
from rlreason.algorithms.losses import clipped_surrogate
from rlreason.algorithms.schedules import learning_rate_at
from rlreason.engines.protocols import PolicyBatch, PolicySettings
from rlreason.errors import ModelError, WeightSyncMismatch
from rlreason.recipe.stages import Optimizer

MISMATCH_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}
"""Largest mean |learner - generator| logprob while both hold the same weights: kernels differ, weights must not."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows that go through the model together, right-padded, and the N completion tokens in them.

    Attributes:
        tokens: [R, L] int64. Padding is on the right, where a causal model's earlier positions cannot see it, so no
            attention mask is needed and the fast causal kernel is used.
        rows, columns: [N] int64, position in `tokens` of the hidden state that predicts each completion token.
        targets: [N] int64, the completion tokens.
        generator_logprobs, advantages, weights: [N] float32.
        held: tokens that are not padding.
    """

    tokens: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor
    generator_logprobs: torch.Tensor
    advantages: torch.Tensor
    weights: torch.Tensor
    held: int


class PolicyModule(nn.Module):
    """A causal language model whose forward pass gives log-probabilities of chosen tokens instead of all logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
            if getattr(model.config, name, None):
                raise ModelError(
                    f"model type {model.config.model_type!r} transforms its logits ({name}), which the learner does "
                    "not reproduce; use a model whose logits are its output head's (Llama, Qwen, Mistral, ...)"
                )
        self.model = model

    def forward(
        self, tokens: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, targets: torch.Tensor, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(logprobs [N], entropy [N]) of the targets; arguments as in `MicroBatch`."""
        hidden = self.model.get_decoder()(input_ids=tokens, use_cache=False).last_hidden_state
        return token_logprobs(hidden[rows, columns], targets, self.model.get_output_embeddings(), temperature)


def micro_batch(batch: PolicyBatch, indices: Sequence[int], device: torch.device) -> MicroBatch:
    """The sequences `indices` of an update as padded rows. No indices: one row of one token, with nothing trained."""
    totals = batch.prompt_lengths + batch.lengths
    starts = np.concatenate([[0], np.cumsum(totals)])
    completion_starts = np.concatenate([[0], np.cumsum(batch.lengths)])
    width = max((int(totals[index]) for index in indices), default=1)
    tokens = np.zeros((max(1, len(indices)), width), dtype=np.int64)
    rows, columns, picked = [], [], []
    for row, index in enumerate(indices):
        tokens[row, : totals[index]] = batch.tokens[starts[index] : starts[index + 1]]
        length, prompt = int(batch.lengths[index]), int(batch.prompt_lengths[index])
        rows.append(np.full(length, row))
        columns.append(np.arange(prompt - 1, prompt - 1 + length))
        picked.append(np.arange(completion_starts[index], completion_starts[index + 1]))
    flat = np.concatenate(picked) if picked else np.zeros(0, dtype=np.int64)
    row_index = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    column_index = np.concatenate(columns) if columns else np.zeros(0, dtype=np.int64)

    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return MicroBatch(
        tokens=put(tokens),
        rows=put(row_index),
        columns=put(column_index),
        targets=put(tokens[row_index, column_index + 1]),
        generator_logprobs=put(batch.generator_logprobs[flat]),
        advantages=put(batch.advantages[flat]),
        weights=put(batch.weights[flat]),
        held=int(sum(int(totals[index]) for index in indices)),
    )


@dataclass(slots=True)
class UpdateTally:
    """Sums over the micro-batches of an update, from which its metrics are made. Summable over ranks as one vector."""

    loss: float = 0.0
    tokens: float = 0.0
    held: float = 0.0
    computed: float = 0.0
    mismatch: float = 0.0
    clipped: float = 0.0
    entropy: float = 0.0

    def add(self, part: MicroBatch, loss: float, mismatch: float, clipped: float, entropy: float) -> None:
        """Count one micro-batch; arguments but the loss are sums over its completion tokens."""
        self.loss += loss
        self.tokens += len(part.targets)
        self.held += part.held
        self.computed += part.tokens.numel() if part.held else 0
        self.mismatch += mismatch
        self.clipped += clipped
        self.entropy += entropy

    def vector(self) -> list[float]:
        """The sums in field order."""
        return [self.loss, self.tokens, self.held, self.computed, self.mismatch, self.clipped, self.entropy]

    def metrics(self) -> dict[str, float]:
        """What the records keep of an update."""
        tokens = max(self.tokens, 1.0)
        return {
            "loss": self.loss,
            "completion_tokens": self.tokens,
            "trained_tokens": self.held,
            "padded_share": 1.0 - self.held / self.computed if self.computed else 0.0,
            "mismatch_mean": self.mismatch / tokens,
            "clipped_share": self.clipped / tokens,
            "entropy": self.entropy / tokens,
        }


def micro_batch_losses(
    module: nn.Module,
    batch: PolicyBatch,
    plan: Sequence[Sequence[int]],
    settings: PolicySettings,
    device: torch.device,
    tally: UpdateTally,
) -> Iterator[torch.Tensor]:
    """The loss of each micro-batch, ready for a backward pass; their sum is the update's loss.

    Args:
        module: a `PolicyModule`, or an engine around one.
        batch: the whole update.
        plan: sequence indices of each micro-batch.
        tally: filled on the way.
    """
    for indices in plan:
        part = micro_batch(batch, indices, device)
        logprobs, entropy = module(part.tokens, part.rows, part.columns, part.targets, settings.temperature)
        losses = clipped_surrogate(
            logprobs, part.generator_logprobs, part.advantages, settings.loss.clip_low, settings.loss.clip_high
        )
        loss = (losses.loss * part.weights).sum()
        with torch.no_grad():
            tally.add(
                part,
                loss=float(loss.detach()),
                mismatch=float((logprobs - part.generator_logprobs).abs().sum()),
                clipped=float(losses.clipped.sum()),
                entropy=float(entropy.sum()),
            )
        yield loss


def scheduled_rate(optimizer: Optimizer, update: int, updates: int) -> float:
    """Learning rate of update `update` (from 1) of a stage of `updates`, as the recipe schedules it."""
    return learning_rate_at(update, updates, optimizer.learning_rate, optimizer.warmup_updates, optimizer.schedule)


def check_mismatch(metrics: dict[str, float], settings: PolicySettings, dtype: torch.dtype, update: int) -> None:
    """Refuse an on-policy update whose generator did not hold the learner's weights.

    Raises:
        WeightSyncMismatch: mean |learner - generator| logprob is over the tolerance, or not a number.
    """
    tolerance = settings.mismatch_tolerance or MISMATCH_TOLERANCE[dtype]
    if not metrics["mismatch_mean"] <= tolerance:
        raise WeightSyncMismatch(
            f"update {update}: generator and learner disagree on the log-probabilities of the same tokens by "
            f"{metrics['mismatch_mean']:.3g} on average (allowed: {tolerance:g}), so the generator does not serve the "
            "learner's weights; no step was made. If the engines' kernels are known to differ that much, raise the "
            "stage's mismatch_tolerance."
        )
