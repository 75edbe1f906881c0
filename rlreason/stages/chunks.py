"""A generator that looks for new weights while it samples: completions are continued a chunk of tokens at a time.

What was sampled stays as it is, with the log-probabilities under which it was sampled; the version of each token is
told. Where new weights come from is the pipeline's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.protocols import Generator, SampleBatch, SamplingSettings


class ChunkedGenerator:
    """A `protocols.Generator` around another one."""

    def __init__(self, generator: Generator, chunk_tokens: int, refresh: Callable[[], None]) -> None:
        """
        Args:
            chunk_tokens: of each completion, between two looks for new weights.
            refresh: has `generator` serve newer weights where there are any; called before each chunk.
        """
        self._generator, self._chunk_tokens, self._refresh = generator, chunk_tokens, refresh

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """See `protocols.Generator.generate`. Each chunk draws from a seed of its own."""
        parts: list[list[np.ndarray]] = [[] for _ in prompts]
        logprobs: list[list[np.ndarray]] = [[] for _ in prompts]
        versions: list[list[np.ndarray]] = [[] for _ in prompts]
        stopped = np.zeros(len(prompts), dtype=bool)
        going, left = list(range(len(prompts))), settings.max_new_tokens
        for chunk in count():
            self._refresh()
            size = min(self._chunk_tokens, left)
            batch = self._generator.generate(
                [np.concatenate([prompts[index], *parts[index]]) for index in going],
                [derive_seed(seeds[index], "chunk", chunk) if chunk else seeds[index] for index in going],
                replace(settings, max_new_tokens=size, continued=settings.continued or chunk > 0),
            )
            for index, (tokens, own) in zip(going, batch.split(), strict=True):
                parts[index].append(tokens)
                logprobs[index].append(own)
                versions[index].append(np.full(len(tokens), batch.policy_version, dtype=np.int32))
            stopped[going] = batch.stopped
            going, left = [index for index in going if not stopped[index]], left - size
            if not going or not left:
                break
        flat = np.concatenate([piece for own in versions for piece in own])
        return SampleBatch(
            tokens=np.concatenate([piece for own in parts for piece in own]),
            logprobs=np.concatenate([piece for own in logprobs for piece in own]),
            lengths=np.array([sum(map(len, own)) for own in parts], dtype=np.int32),
            stopped=stopped,
            policy_version=int(flat.min()),
            policy_versions=None if (flat == flat[0]).all() else flat,
        )

    def load_checkpoint(self, checkpoint: Path, policy_version: int) -> None:
        """See `protocols.Generator.load_checkpoint`."""
        self._generator.load_checkpoint(checkpoint, policy_version)

    def load_weights(self, weights: Any, policy_version: int) -> None:
        """See `protocols.Generator.load_weights`."""
        self._generator.load_weights(weights, policy_version)

    def close(self) -> None:
        """See `protocols.Generator.close`."""
        self._generator.close()
