"""Scores the steps of derivations with a process reward model, learned or implicit: one forward pass, batched.

Runs inside a Ray actor or in this process. Training a learned one is the learners' affair (objective "step_labels"),
what the scores do to advantages that of `algorithms.step_credit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rlreason.algorithms.packing import balanced_micro_batches
from rlreason.engines.models import RIGHT, load_classifier, load_for
from rlreason.engines.policy import PolicyModule
from rlreason.engines.protocols import ScorerModel, StepBatch


class TorchStepScorer:
    """One device, the models of one scorer at a time."""

    def __init__(self, *, dtype: str, micro_batch_tokens: int, device: str = "cpu") -> None:
        """`micro_batch_tokens`: padded tokens held at a time."""
        self._dtype = getattr(torch, dtype)
        self._micro_batch_tokens = micro_batch_tokens
        self._device = torch.device(device)
        self._models: list[Any] = []
        self._model: ScorerModel | None = None

    def load(self, model: ScorerModel) -> None:
        """See `protocols.StepScorer.load`."""
        self.close()
        if model.kind == "learned":
            (checkpoint,) = model.checkpoints
            loaded = [load_classifier(checkpoint, self._dtype)]
        else:
            loaded = [PolicyModule(load_for("next_token", checkpoint, self._dtype)) for checkpoint in model.checkpoints]
        self._models = [each.to(self._device).eval() for each in loaded]
        self._model = model

    def score(self, batch: StepBatch) -> np.ndarray:
        """See `protocols.StepScorer.score`."""
        assert self._model is not None, "load() comes first"
        lengths = batch.prompt_lengths + batch.lengths
        starts = np.concatenate([[0], np.cumsum(lengths)])
        firsts = np.concatenate([[0], np.cumsum(batch.counts)])
        scores = np.zeros(int(firsts[-1]), dtype=np.float32)
        with_steps = np.flatnonzero(batch.counts)
        (plan,) = balanced_micro_batches(lengths[with_steps], 1, self._micro_batch_tokens)
        for rows in plan:
            indices = with_steps[rows]
            width = max((int(lengths[index]) for index in indices), default=0)
            tokens = np.zeros((len(indices), width), dtype=np.int64)
            steps = [np.arange(firsts[index], firsts[index + 1]) for index in indices]
            for row, index in enumerate(indices):
                tokens[row, : lengths[index]] = batch.tokens[starts[index] : starts[index + 1]]
            if steps:
                at = np.concatenate(steps)
                row_of = np.repeat(np.arange(len(indices)), [len(own) for own in steps])
                offset = batch.prompt_lengths[indices][row_of]
                scores[at] = self._score_rows(tokens, row_of, offset + batch.starts[at], offset + batch.ends[at])
        return scores

    @torch.inference_mode()
    def _score_rows(self, tokens: np.ndarray, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Scores [N] of the steps at `tokens[rows, starts:ends]`; tokens: [R, L] int64, padded on the right."""
        assert self._model is not None
        inputs = torch.from_numpy(tokens).to(self._device)
        if self._model.kind == "learned":
            (classifier,) = self._models
            logits = classifier(input_ids=inputs, use_cache=False).logits
            last = logits[torch.from_numpy(rows), torch.from_numpy(ends - 1)]
            right: np.ndarray = last.float().softmax(dim=-1)[:, RIGHT].cpu().numpy()
            return right
        policy, reference = (self._token_logprobs(model, inputs, rows, starts, ends) for model in self._models)
        owner = np.repeat(np.arange(len(rows)), ends - starts)
        ratio: np.ndarray = self._model.beta * np.bincount(owner, weights=policy - reference, minlength=len(rows))
        return ratio

    def _token_logprobs(
        self, model: PolicyModule, inputs: torch.Tensor, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        """Log-probability of every token of every step, steps in turn."""
        row = torch.from_numpy(np.repeat(rows, ends - starts)).to(self._device)
        column = torch.from_numpy(_ranges(starts, ends)).to(self._device)
        logprobs, _, _ = model(inputs, row, column - 1, inputs[row, column], 1.0)
        found: np.ndarray = logprobs.double().cpu().numpy()
        return found

    def close(self) -> None:
        """See `protocols.StepScorer.close`."""
        self._models, self._model = [], None


def _ranges(starts: Sequence[int] | np.ndarray, ends: Sequence[int] | np.ndarray) -> np.ndarray:
    """All of starts[0]..ends[0]-1, then of the next."""
    return np.concatenate(
        [np.arange(start, end) for start, end in zip(starts, ends, strict=True)] or [np.zeros(0, int)]
    )
