"""A policy as every learner holds it: log-probabilities, entropies and values of completion tokens, in padded rows.

Torch only. What becomes of them is `objective`'s; DeepSpeed or a plain optimizer around them, ranks and checkpoints are
the learners' own affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rlreason.algorithms.logprobs import token_logprobs
from rlreason.algorithms.schedules import learning_rate_at
from rlreason.engines.adapters import add_adapters
from rlreason.engines.models import load_for
from rlreason.engines.protocols import PolicyBatch, PolicySettings
from rlreason.errors import ModelError
from rlreason.recipe.training import Optimizer


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows that go through the model together, right-padded, and the N sampled tokens in them.

    What an environment said between a policy's turns is in the rows and among none of the N.

    Attributes:
        tokens: [R, L] int64. Padding is on the right, where a causal model's earlier positions cannot see it, so no
            attention mask is needed and the fast causal kernel is used.
        rows, columns: [N] int64, position in `tokens` of the hidden state that predicts each completion token. A row
            holds one whole completion, so `rows` also says which completion a token is of.
        targets: [N] int64, the sampled tokens.
        generator_logprobs, advantages, weights: [N] float32.
        proximal_logprobs, returns: [N] float32, or None: see `protocols.PolicyBatch`.
        current: [N] bool, or None: see there.
        held: tokens that are not padding.
    """

    tokens: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor
    generator_logprobs: torch.Tensor
    advantages: torch.Tensor
    weights: torch.Tensor
    proximal_logprobs: torch.Tensor | None
    returns: torch.Tensor | None
    current: torch.Tensor | None
    held: int

    @property
    def asked(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What a `PolicyModule` is called with first."""
        return self.tokens, self.rows, self.columns, self.targets


class PolicyModule(nn.Module):
    """A causal language model whose forward pass gives log-probabilities of chosen tokens instead of all logits."""

    def __init__(self, model: nn.Module, *, critic: bool = False, entropy_gradient: bool = False) -> None:
        """
        Args:
            model: with an output head over its last hidden states.
            critic: adds a value head, which begins at 0.
            entropy_gradient: whether the entropies can be trained.
        Raises:
            ModelError: the logits are not the head's alone.
        """
        super().__init__()
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
            if getattr(model.config, name, None):
                raise ModelError(
                    f"model type {model.config.model_type!r} transforms its logits ({name}), which the learner does "
                    "not reproduce; use a model whose logits are its output head's (Llama, Qwen, Mistral, ...)"
                )
        self.model = model
        self._entropy_gradient = entropy_gradient
        self.value_head: nn.Linear | None = None
        if critic:
            weight = model.get_output_embeddings().weight
            self.value_head = nn.Linear(weight.shape[1], 1, dtype=weight.dtype, device=weight.device)
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)

    def forward(
        self,
        tokens: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        targets: torch.Tensor,
        temperature: float,
        top_p: float = 1.0,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(logprobs [N], entropy [N], values [N]) at the targets; arguments as in `MicroBatch`. Values are 0 without a
        critic."""
        hidden = self.model.get_decoder()(input_ids=tokens, use_cache=False).last_hidden_state[rows, columns]
        logprobs, entropy = token_logprobs(
            hidden,
            targets,
            self.model.get_output_embeddings(),
            temperature,
            top_p,
            entropy_gradient=self._entropy_gradient,
        )
        if self.value_head is None:
            return logprobs, entropy, torch.zeros_like(logprobs)
        return logprobs, entropy, self.value_head(hidden).squeeze(1).float()


def load_policy(
    checkpoint: Path, settings: PolicySettings, dtype: torch.dtype, device: torch.device
) -> tuple[PolicyModule, PolicyModule | None]:
    """The policy that a stage trains, and the reference that it is held near, where its settings ask for one."""
    model = load_for("next_token", checkpoint, dtype).to(device)
    if settings.lora is not None:
        add_adapters(model, settings.lora)
    policy = PolicyModule(
        model,
        critic=settings.critic is not None,
        entropy_gradient=settings.entropy_weight > 0,
    )
    policy.train()
    if settings.kl is None:
        return policy, None
    assert settings.reference is not None, "given with kl"
    reference = PolicyModule(load_for("next_token", settings.reference, dtype).to(device))
    return policy, reference.requires_grad_(False).eval()


def sampled_places(batch: PolicyBatch, start: int, stop: int) -> np.ndarray:
    """[N] int: which of the batch's completion tokens from `start` to `stop` the policy sampled."""
    places = np.arange(start, stop)
    return places if batch.loss_mask is None else places[batch.loss_mask[start:stop]]


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
        own = sampled_places(batch, completion_starts[index], completion_starts[index + 1])
        rows.append(np.full(len(own), row))
        columns.append(own - completion_starts[index] + batch.prompt_lengths[index] - 1)
        picked.append(own)
    flat = np.concatenate(picked) if picked else np.zeros(0, dtype=np.int64)
    row_index = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    column_index = np.concatenate(columns) if columns else np.zeros(0, dtype=np.int64)

    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    def picked_from(array: np.ndarray | None) -> torch.Tensor | None:
        return None if array is None else put(array[flat])

    return MicroBatch(
        tokens=put(tokens),
        rows=put(row_index),
        columns=put(column_index),
        targets=put(tokens[row_index, column_index + 1]),
        generator_logprobs=put(batch.generator_logprobs[flat]),
        advantages=put(batch.advantages[flat]),
        weights=put(batch.weights[flat]),
        proximal_logprobs=picked_from(batch.proximal_logprobs),
        returns=picked_from(batch.returns),
        current=picked_from(batch.current),
        held=int(sum(int(totals[index]) for index in indices)),
    )


def scheduled_rate(optimizer: Optimizer, update: int, updates: int) -> float:
    """Learning rate of update `update` (from 1) of a stage of `updates`, as the recipe schedules it."""
    return learning_rate_at(update, updates, optimizer.learning_rate, optimizer.warmup_updates, optimizer.schedule)
