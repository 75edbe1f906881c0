"""Preference pairs under a policy: their log-probabilities, and the gradients of an update of DPO, in plain torch.

For the in-process learner; the learner that ships hands its pairs to TRL (`trl_dpo`). Resuming, stepping and saving
are the learner's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rlreason.algorithms.packing import balanced_micro_batches
from rlreason.algorithms.preferences import dpo_losses, dpo_margins
from rlreason.engines.policy import PolicyModule
from rlreason.engines.protocols import PreferencePairs


class PairTrainer:
    """The gradients of DPO on some pairs, against the policy as it is when this is made."""

    def __init__(self, module: PolicyModule, pairs: PreferencePairs, beta: float, micro_batch_tokens: int) -> None:
        """`micro_batch_tokens`: padded tokens held at a time; a pair is never cut."""
        self._module, self._pairs, self._beta = module, pairs, beta
        self._micro_batch_tokens = micro_batch_tokens
        self._sequences = pairs.split()
        everything = np.arange(len(pairs.lengths) // 2)
        self._reference = np.zeros((2, len(everything)), dtype=np.float64)
        with torch.no_grad():
            for part in self._micro_batches(everything):
                self._reference[:, part] = self._logprobs(part).double().cpu().numpy()

    def _micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        """The pairs `indices` in parts that fit."""
        lengths = (self._pairs.prompt_lengths + self._pairs.lengths).reshape(-1, 2).max(axis=1)
        (plan,) = balanced_micro_batches(2 * lengths[indices], 1, self._micro_batch_tokens)
        return [indices[part] for part in plan]

    def _logprobs(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """[2, n] log-probability of the better and of the worse completion of each pair, summed over its tokens."""
        sequences = [self._sequences[2 * index + side] for side in (0, 1) for index in indices]
        tokens = np.zeros((len(sequences), max(len(prompt) + len(own) for prompt, own in sequences)), dtype=np.int64)
        for row, (prompt, completion) in enumerate(sequences):
            tokens[row, : len(prompt) + len(completion)] = np.concatenate([prompt, completion])
        rows = np.repeat(np.arange(len(sequences)), [len(completion) for _, completion in sequences])
        columns = np.concatenate([len(prompt) + np.arange(len(completion)) for prompt, completion in sequences])
        device = next(self._module.parameters()).device
        row, column, inputs = (torch.from_numpy(array).to(device) for array in (rows, columns, tokens))
        logprobs, *_ = self._module(inputs, row, column - 1, inputs[row, column], 1.0)
        totals = torch.zeros(len(sequences), dtype=logprobs.dtype, device=device).index_add(0, row, logprobs)
        return totals.reshape(2, -1)

    def gradients(self, indices: np.ndarray) -> dict[str, float]:
        """Accumulate the gradients of the mean loss of the pairs `indices`; returns the update's metrics."""
        figures = {"loss": 0.0, "preference_margin": 0.0, "preference_accuracy": 0.0}
        for part in self._micro_batches(indices):
            chosen, rejected = self._logprobs(part)
            references = torch.from_numpy(self._reference[:, part]).to(chosen)
            margins = dpo_margins(chosen, rejected, references[0], references[1], self._beta)
            loss = dpo_losses(margins).sum() / len(indices)
            loss.backward()
            figures["loss"] += float(loss.detach())
            figures["preference_margin"] += float(margins.detach().sum()) / len(indices)
            figures["preference_accuracy"] += float((margins > 0).sum()) / len(indices)
        return figures
