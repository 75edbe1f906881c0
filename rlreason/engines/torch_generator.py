"""The in-process generator: plain torch over a Hugging Face model, with a key-value cache and batched decoding.

For unit tests and for machines without vLLM. Same seeds a request, same logprob definition, its own random stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlreason.engines.decoding import prepare, start_decoding
from rlreason.engines.protocols import SampleBatch, SamplingSettings
from rlreason.engines.weights import HEAD, PackedWeights, read_checkpoint

GOING = 7 / 8
"""Largest share of a batch that goes on, for which those that ended leave it: to leave is to copy the cache."""


def draw(logits: torch.Tensor, uniforms: torch.Tensor, settings: SamplingSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """One token a row, and its log-probability under the distribution it was drawn from.

    Args:
        logits: [B, V] float.
        uniforms: [B] float64 in [0, 1), one a row; the token is the inverse of the cumulative distribution there.
        settings: temperature 0 takes the largest logit (log-probability at temperature 1).
    Returns:
        (tokens [B] int64, logprobs [B] float32).
    """
    if settings.temperature == 0:
        tokens = logits.argmax(dim=-1)
        return tokens, torch.log_softmax(logits.float(), dim=-1).gather(1, tokens[:, None]).squeeze(1)
    scaled = logits.float() / settings.temperature
    if settings.top_p < 1:
        ordered, order = torch.sort(scaled, dim=-1, descending=True)
        mass = torch.softmax(ordered, dim=-1)
        beyond = mass.cumsum(dim=-1) - mass >= settings.top_p
        scaled = scaled.scatter(1, order, ordered.masked_fill(beyond, -torch.inf))
    logprobs = torch.log_softmax(scaled, dim=-1)
    cumulative = logprobs.exp().cumsum(dim=-1, dtype=torch.float64)
    threshold = uniforms[:, None] * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, threshold, right=True).squeeze(1)
    return tokens, logprobs.gather(1, tokens[:, None]).squeeze(1)


class TorchGenerator:
    """Decodes in batches of `max_concurrent`; prompts that repeat are prefilled once; finished rows leave the batch."""

    def __init__(self, checkpoint: Path, *, dtype: str, max_concurrent: int, device: str = "cpu") -> None:
        """Load a Hugging Face directory in `dtype` ("float32", "bfloat16") on `device`."""
        from transformers import AutoModelForCausalLM, GenerationConfig

        self._device = torch.device(device)
        self._model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=getattr(torch, dtype)).to(self._device)
        self._model.eval()
        prepare(self._model)
        end: int | list[int] | None = self._model.config.eos_token_id
        if (checkpoint / "generation_config.json").exists():
            end = GenerationConfig.from_pretrained(checkpoint).eos_token_id or end
        ends = end if isinstance(end, list) else [] if end is None else [end]
        self._ends = torch.tensor(ends, dtype=torch.int64, device=self._device)
        self._max_concurrent = max_concurrent
        self._policy_version = 0

    @torch.inference_mode()
    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """One completion a prompt, in order. See `protocols.Generator.generate`."""
        uniforms = np.stack(
            [np.random.Generator(np.random.Philox(seed)).random(settings.max_new_tokens) for seed in seeds]
        )
        order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), prompts[index].tobytes()))
        found: list[tuple[np.ndarray, np.ndarray, bool]] = [None] * len(prompts)  # type: ignore[list-item]
        for at in range(0, len(order), self._max_concurrent):
            chosen = order[at : at + self._max_concurrent]
            batch = self._decode([prompts[index] for index in chosen], uniforms[chosen], settings)
            for index, sample in zip(chosen, batch, strict=True):
                found[index] = sample
        return SampleBatch(
            tokens=np.concatenate([tokens for tokens, _, _ in found]).astype(np.int32),
            logprobs=np.concatenate([logprobs for _, logprobs, _ in found]).astype(np.float32),
            lengths=np.asarray([len(tokens) for tokens, _, _ in found], dtype=np.int32),
            stopped=np.asarray([stopped for _, _, stopped in found], dtype=bool),
            policy_version=self._policy_version,
        )

    def _decode(
        self, prompts: Sequence[np.ndarray], uniforms: np.ndarray, settings: SamplingSettings
    ) -> list[tuple[np.ndarray, np.ndarray, bool]]:
        """(tokens [T], logprobs [T], stopped) of each prompt, decoded together."""
        rows = start_decoding(self._model, prompts)
        noise = torch.from_numpy(uniforms).to(self._device)
        tokens = torch.zeros(noise.shape, dtype=torch.int64, device=self._device)
        logprobs = torch.zeros(noise.shape, dtype=torch.float32, device=self._device)
        lengths = torch.zeros(len(prompts), dtype=torch.int64, device=self._device)
        stopped = torch.zeros(len(prompts), dtype=torch.bool, device=self._device)
        alive = torch.arange(len(prompts), device=self._device)
        ends = self._ends[:0] if settings.ignore_end else self._ends
        for position in range(settings.max_new_tokens):
            picked, logprob = draw(rows.logits, noise[alive, position], settings)
            tokens[alive, position], logprobs[alive, position] = picked, logprob
            lengths[alive] += ~stopped[alive]
            stopped[alive] |= torch.isin(picked, ends)
            going = ~stopped[alive]
            if position + 1 == settings.max_new_tokens or not bool(going.any()):
                break
            if int(going.sum()) <= GOING * len(alive):
                keep = going.nonzero().squeeze(1)
                rows.keep(keep)
                alive, picked = alive[keep], picked[keep]
            rows.step(picked)
        return [
            (tokens[row, :length].cpu().numpy(), logprobs[row, :length].cpu().numpy(), bool(stopped[row]))
            for row, length in enumerate(lengths.tolist())
        ]

    def load_checkpoint(self, checkpoint: Path, policy_version: int) -> None:
        """Serve another checkpoint of the same architecture."""
        self._load(read_checkpoint(checkpoint).items(), policy_version)

    def load_weights(self, weights: PackedWeights, policy_version: int) -> None:
        """Serve new weights."""
        self._load(weights, policy_version)

    def _load(self, named: Any, policy_version: int) -> None:
        parameters = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, tensor in named:
                # a tied head is the embedding itself here, and not a parameter of its own
                if name in parameters or name != HEAD:
                    parameters[name].copy_(tensor)
        self._policy_version = policy_version

    def close(self) -> None:
        """Drop the model."""
        self._model = None
