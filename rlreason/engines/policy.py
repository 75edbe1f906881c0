"""A policy as every learner holds it: log-probabilities, entropies and values of completion tokens.

Sequences go through the model in padded rows, or in a flat row that holds a prompt once (`shared_prompts`). Torch only.
What becomes of them is `objective`'s; DeepSpeed or a plain optimizer around them, ranks and checkpoints are
the learners' own affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rlreason.algorithms.logprobs import token_logprobs
from rlreason.algorithms.packing import balanced_micro_batches, shared_micro_batches
from rlreason.algorithms.schedules import learning_rate_at
from rlreason.engines.adapters import add_adapters
from rlreason.engines.models import load_for
from rlreason.engines.protocols import PolicyBatch, PolicySettings
from rlreason.engines.shared_prompts import (
    SharedPrompts,
    can_share,
    describe_row,
    first_of_each,
    flat_row,
    prompt_numbers,
    share_prompts,
)
from rlreason.errors import ModelError
from rlreason.recipe.training import Optimizer

WORTH_SHARING = 0.9
"""Largest share of an update's tokens that is left with every prompt computed once, for which it is done."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows that go through the model together, and the N sampled tokens in them.

    What an environment said between a policy's turns is in the rows and among none of the N.

    Attributes:
        tokens: [R, L] int64. Where a row is a sequence, padding is on the right: there a causal model's earlier
            positions cannot see it, so no attention mask is needed and the fast causal kernel is used.
        rows, columns: [N] int64, position in `tokens` of the hidden state that predicts each completion token.
        sequence: [N] int64, which of the micro-batch's completions a token is of; it is in here whole.
        targets: [N] int64, the sampled tokens.
        generator_logprobs, advantages, weights: [N] float32.
        proximal_logprobs, returns: [N] float32, or None: see `protocols.PolicyBatch`.
        current: [N] bool, or None: see there.
        held: tokens of the sequences, a prompt counted with each of its completions.
        computed: positions that go through the model, `padding` of which hold no token.
        shared: how the one row is read in which prompts stand once; None: a row is a sequence.
    """

    tokens: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    sequence: torch.Tensor
    targets: torch.Tensor
    generator_logprobs: torch.Tensor
    advantages: torch.Tensor
    weights: torch.Tensor
    proximal_logprobs: torch.Tensor | None
    returns: torch.Tensor | None
    current: torch.Tensor | None
    held: int
    computed: int
    padding: int
    shared: SharedPrompts | None

    def under(self, module: nn.Module, temperature: float, top_p: float) -> tuple[torch.Tensor, ...]:
        """Log-probabilities, entropies and values [N] under a `PolicyModule`, or an engine around one."""
        found: tuple[torch.Tensor, ...] = module(
            self.tokens, self.rows, self.columns, self.targets, temperature, top_p, self.shared
        )
        return found


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
        self.shares_prompts = False
        """Whether it takes rows in which a prompt stands once; see `load_policy`."""
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
        shared: SharedPrompts | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(logprobs [N], entropy [N], values [N]) at the targets; arguments as in `MicroBatch`. Values are 0 without a
        critic."""
        placed = {} if shared is None else {"position_ids": shared.positions, "shared_prompts": shared}
        states = self.model.get_decoder()(input_ids=tokens, use_cache=False, **placed).last_hidden_state
        hidden = states[rows, columns]
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
    reference = None
    if settings.kl is not None:
        assert settings.reference is not None, "given with kl"
        reference = PolicyModule(load_for("next_token", settings.reference, dtype).to(device))
        reference.requires_grad_(False).eval()
    modules = [policy] if reference is None else [policy, reference]
    if all(can_share(module.model) for module in modules):
        for module in modules:
            share_prompts(module.model)
            module.shares_prompts = True
    return policy, reference


@dataclass(frozen=True, slots=True)
class Passes:
    """How the sequences of an update go through the model: the indices of each micro-batch of a rank.

    Attributes:
        shared: a micro-batch holds each prompt once.
        left_out: sequences that no rank computes; those of the update stand with rank 0.
    """

    batches: list[list[int]]
    shared: bool = False
    left_out: list[int] = field(default_factory=list)


def sequences_that_teach(batch: PolicyBatch, settings: PolicySettings) -> list[int]:
    """Sequences with a part in the update's gradient.

    Where every completion of a group has the same reward, all advantages are 0: the surrogate's gradient is exactly 0,
    whatever the log-probabilities are. Only a term for which they matter by themselves (KL, entropy, a critic) gives
    such sequences a part.
    """
    if settings.kl is not None or settings.entropy_weight or settings.critic is not None:
        return list(range(len(batch.lengths)))
    moving = (batch.advantages != 0) & (batch.weights != 0)  # an advantage that is no number counts, and is found
    return [int(index) for index in np.unique(np.repeat(np.arange(len(batch.lengths)), batch.lengths)[moving])]


def plan_update(
    module: PolicyModule, batch: PolicyBatch, settings: PolicySettings, ranks: int, budget: int
) -> list[Passes]:
    """The passes of every rank in an update: those of the sequences that teach, all others left out."""
    chosen = sequences_that_teach(batch, settings)
    first, *others = plan_passes(module, batch, ranks, budget, chosen)
    left_out = sorted(set(range(len(batch.lengths))) - set(chosen))
    return [replace(first, left_out=left_out), *others]


def plan_passes(
    module: PolicyModule, batch: PolicyBatch, ranks: int, budget: int, chosen: Sequence[int] | None = None
) -> list[Passes]:
    """The passes of every rank; a prompt is computed once a pass where the model can, and where that saves enough.

    Args:
        budget: tokens that a pass may hold.
        chosen: the sequences to compute; None: all.
    """
    indices = np.arange(len(batch.lengths)) if chosen is None else np.asarray(chosen, dtype=np.int64)
    prompts, completions = batch.prompt_lengths[indices], batch.lengths[indices]
    lengths = prompts + completions
    if module.shares_prompts:
        starts = np.cumsum(batch.prompt_lengths + batch.lengths)[indices] - lengths
        numbers = prompt_numbers([batch.tokens[at : at + length] for at, length in zip(starts, prompts, strict=True)])
        firsts = first_of_each(numbers)
        if prompts[firsts].sum() + completions.sum() <= WORTH_SHARING * lengths.sum():
            plans = shared_micro_batches(numbers, prompts, completions, ranks, budget)
            return [Passes(_named(plan, indices), shared=True) for plan in plans]
    return [Passes(_named(plan, indices)) for plan in balanced_micro_batches(lengths, ranks, budget)]


def _named(plan: Sequence[Sequence[int]], indices: np.ndarray) -> list[list[int]]:
    """A plan over some sequences of a batch, by their places in the batch."""
    return [[int(indices[index]) for index in part] for part in plan]


def sampled_places(batch: PolicyBatch, start: int, stop: int) -> np.ndarray:
    """[N] int: which of the batch's completion tokens from `start` to `stop` the policy sampled."""
    places = np.arange(start, stop)
    return places if batch.loss_mask is None else places[batch.loss_mask[start:stop]]


def micro_batch(
    batch: PolicyBatch, indices: Sequence[int], device: torch.device, *, shared: bool = False
) -> MicroBatch:
    """The sequences `indices` of an update, as padded rows or with each prompt once (`shared`).

    No indices: one row of one token, with nothing trained.
    """
    totals = batch.prompt_lengths + batch.lengths
    starts = np.concatenate([[0], np.cumsum(totals)])
    completion_starts = np.concatenate([[0], np.cumsum(batch.lengths)])
    sequences = [batch.tokens[starts[index] : starts[index + 1]] for index in indices]
    row = None
    if shared and sequences:
        prompt_lengths = batch.prompt_lengths[list(indices)]
        tokens, places, numbers = flat_row(sequences, prompt_lengths)
        row = describe_row(places, prompt_lengths, numbers, device)
    else:
        tokens, places = padded_rows(sequences)
    picked, before, targets = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)], [tokens[0, :0]]
    for index, own, placed in zip(indices, sequences, places, strict=True):
        sampled = sampled_places(batch, completion_starts[index], completion_starts[index + 1])
        offset = sampled - completion_starts[index] + batch.prompt_lengths[index]
        picked.append(sampled)
        before.append(placed[offset - 1])
        targets.append(own[offset])
    flat, at = np.concatenate(picked), np.concatenate(before)
    held = sum(len(own) for own in sequences)

    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    def picked_from(array: np.ndarray | None) -> torch.Tensor | None:
        return None if array is None else put(array[flat])

    return MicroBatch(
        tokens=put(tokens),
        rows=put(at // tokens.shape[1]),
        columns=put(at % tokens.shape[1]),
        sequence=put(np.repeat(np.arange(len(sequences)), [len(each) for each in picked[1:]])),
        targets=put(np.concatenate(targets).astype(np.int64)),
        generator_logprobs=put(batch.generator_logprobs[flat]),
        advantages=put(batch.advantages[flat]),
        weights=put(batch.weights[flat]),
        proximal_logprobs=picked_from(batch.proximal_logprobs),
        returns=picked_from(batch.returns),
        current=picked_from(batch.current),
        held=held,
        computed=tokens.size if sequences else 0,
        padding=tokens.size - held if sequences and row is None else 0,
        shared=row,
    )


def padded_rows(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Tokens [R, L], a row a sequence; for every sequence the places [its length] of its tokens, rows in turn."""
    tokens = np.zeros((max(1, len(sequences)), max(map(len, sequences), default=1)), dtype=np.int64)
    for row, own in enumerate(sequences):
        tokens[row, : len(own)] = own
    return tokens, [row * tokens.shape[1] + np.arange(len(own)) for row, own in enumerate(sequences)]


def scheduled_rate(optimizer: Optimizer, update: int, updates: int) -> float:
    """Learning rate of update `update` (from 1) of a stage of `updates`, as the recipe schedules it."""
    return learning_rate_at(update, updates, optimizer.learning_rate, optimizer.warmup_updates, optimizer.schedule)
