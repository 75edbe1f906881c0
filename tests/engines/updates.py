"""Updates for learners to make, and their loss computed the plain way: a sequence at a time, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from rlreason.algorithms.denominators import token_weights
from rlreason.engines.protocols import PolicyBatch, PolicySettings
from rlreason.recipe.objectives import ClippedLoss
from rlreason.recipe.stages import Optimizer

LENGTHS = ((3, 4), (5, 1), (2, 7), (9, 3), (3, 4))
"""(prompt tokens, completion tokens) of each sequence of `draw_batch`."""
UNEVEN = ((7, (3, 1, 9)), (12, (4, 4)), (2, (6,)))
"""(prompt tokens, tokens of each of its completions) for `grouped`: 48 distinct tokens of 74."""


def policy_settings(**changes: Any) -> PolicySettings:
    """AdamW at 1e-3 for ten updates, temperature 1.3, everything else as by default."""
    settings: dict[str, Any] = {
        "optimizer": Optimizer(learning_rate=1e-3),
        "loss": ClippedLoss(),
        "updates": 10,
        "temperature": 1.3,
        "mismatch_tolerance": None,
        "seed": 0,
    }
    return PolicySettings(**{**settings, **changes})


def sequences_of(batch: PolicyBatch) -> list[tuple[np.ndarray, slice]]:
    """(tokens of prompt and completion, where the completion lies in the batch's flat arrays) of each sequence."""
    ends = np.cumsum(batch.prompt_lengths + batch.lengths)
    flat = np.cumsum(batch.lengths)
    return [
        (batch.tokens[end - prompt - length : end], slice(last - length, last))
        for end, last, prompt, length in zip(ends, flat, batch.prompt_lengths, batch.lengths, strict=True)
    ]


def completion_logprobs(model: torch.nn.Module, tokens: np.ndarray, length: int, temperature: float) -> torch.Tensor:
    """[length] log-probabilities of the last `length` tokens, from a whole forward pass over this sequence alone."""
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    logits = model(input_ids=ids).logits[0, -length - 1 : -1]
    return torch.log_softmax(logits / temperature, dim=-1).gather(1, ids[0, -length:, None]).squeeze(1)


def draw_batch(checkpoint: Path, seed: int = 0, temperature: float = 1.3, noise: float = 0.0) -> PolicyBatch:
    """Random tokens; generator_logprobs are the checkpoint's own, moved by up to `noise`. The second is not trained."""
    random = np.random.default_rng(seed)
    prompts, lengths = (np.array(column, dtype=np.int32) for column in zip(*LENGTHS, strict=True))
    weights = token_weights(np.where(np.arange(len(lengths)) == 1, 0, lengths), "sequences", 8)
    total = int(lengths.sum())
    batch = PolicyBatch(
        tokens=random.integers(2, 280, int((prompts + lengths).sum())).astype(np.int32),
        prompt_lengths=prompts,
        lengths=lengths,
        generator_logprobs=np.zeros(total, dtype=np.float32),
        advantages=np.repeat(random.normal(size=len(lengths)), lengths).astype(np.float32),
        weights=np.repeat(weights, lengths).astype(np.float32),
    )
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float64)
    with torch.no_grad():
        for tokens, where in sequences_of(batch):
            own = completion_logprobs(model, tokens, where.stop - where.start, temperature)
            batch.generator_logprobs[where] = own.numpy()
    batch.generator_logprobs[:] += random.uniform(-noise, noise, total)
    return batch


def grouped(
    groups: Sequence[tuple[int, Sequence[int]]],
    seed: int = 0,
    **changes: Callable[[np.random.Generator, int], np.ndarray],
) -> PolicyBatch:
    """Random tokens in groups (tokens of the prompt, tokens of each of its completions); generator_logprobs are random.

    `changes`: other arrays of the batch, each made from a random generator and the number of completion tokens.
    """
    random = np.random.default_rng(seed)
    rows = [
        (prompt, random.integers(2, 280, length))
        for prompt, lengths in [(random.integers(2, 280, tokens), lengths) for tokens, lengths in groups]
        for length in lengths
    ]
    lengths = np.array([len(completion) for _, completion in rows], dtype=np.int32)
    total = int(lengths.sum())
    batch = PolicyBatch(
        tokens=np.concatenate([part for row in rows for part in row]).astype(np.int32),
        prompt_lengths=np.array([len(prompt) for prompt, _ in rows], dtype=np.int32),
        lengths=lengths,
        generator_logprobs=random.uniform(-6.2, -5.2, total).astype(np.float32),
        advantages=random.normal(size=total).astype(np.float32),
        weights=np.full(total, 1 / total, dtype=np.float32),
    )
    return replace(batch, **{name: make(random, total) for name, make in changes.items()})


def reference_loss(model: torch.nn.Module, batch: PolicyBatch, settings: PolicySettings) -> torch.Tensor:
    """The update's loss as the papers write it."""
    total = torch.zeros((), dtype=torch.float64)
    for tokens, where in sequences_of(batch):
        logprobs = completion_logprobs(model, tokens, where.stop - where.start, settings.temperature)
        behind, advantages, weights = (
            torch.from_numpy(array[where].astype(np.float64))
            for array in (batch.generator_logprobs, batch.advantages, batch.weights)
        )
        ratio = torch.exp(logprobs - behind)
        held = ratio.clamp(1 - settings.loss.clip_low, 1 + settings.loss.clip_high)
        total = total - (weights * torch.minimum(ratio * advantages, held * advantages)).sum()
    return total
