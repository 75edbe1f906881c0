"""The number-token loss of a supervised stage: which tokens are numbers, and how its parts make up an update's loss.

The loss itself is in `algorithms.number_tokens`. Both learners add what this gives to their cross entropy.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from rlreason.algorithms.number_tokens import number_token_loss
from rlreason.engines.codec import TextCodec
from rlreason.engines.protocols import SupervisedJob, SupervisedRows
from rlreason.errors import ModelError

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def number_values(checkpoint: Path) -> np.ndarray:
    """[V] float32: what each token of a Hugging Face directory's vocabulary stands for, read without the space around
    it; NaN where it is no number.

    Raises:
        ModelError: no token is a number.
    """
    from transformers import AutoConfig

    size = AutoConfig.from_pretrained(checkpoint).get_text_config().vocab_size
    texts = TextCodec(checkpoint).decode([np.array([token]) for token in range(size)])
    values = np.array([float(text) if _NUMBER.fullmatch(text.strip()) else np.nan for text in texts], dtype=np.float32)
    if np.isnan(values).all():
        raise ModelError(
            f"`number_loss` is asked for, but no token of {checkpoint} is a number; leave it out, or use a tokenizer "
            "that has digits"
        )
    return values


class NumberLoss:
    """The part that number tokens have in each update's loss, however the update is cut."""

    def __init__(self, job: SupervisedJob, rows: SupervisedRows) -> None:
        values = number_values(job.checkpoint)
        numbers = (rows.labels != -100) & np.isfinite(values)[rows.tokens]
        self._counts = numbers.reshape(job.updates, -1).sum(axis=1)
        self._values, self._weight = torch.from_numpy(values), job.number_loss

    def at(self, labels: torch.Tensor) -> torch.Tensor:
        """[N] bool: where a number is to be written; labels: [N] int64, negative where nothing is."""
        return (labels >= 0) & torch.isfinite(self._values.to(labels.device)[labels.clamp(min=0)])

    def part(self, logits: torch.Tensor, labels: torch.Tensor, update: int) -> torch.Tensor:
        """What N positions of update `update` (from 1) add to its loss: over all its positions, the weight times the
        mean over those that are numbers.

        Args:
            logits: [N, V] float with gradient.
            labels: [N] int64, all of them numbers.
        """
        mean = number_token_loss(logits, labels, self._values.to(logits.device))
        return self._weight * mean * len(labels) / max(1, int(self._counts[update - 1]))
