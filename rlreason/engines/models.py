"""Hugging Face directories loaded as what an objective trains: a causal language model, or a classifier of steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rlreason.engines.protocols import Objective
from rlreason.errors import ModelError

CLASSES = ("wrong", "right")
RIGHT = CLASSES.index("right")


def load_classifier(checkpoint: Path, dtype: torch.dtype) -> Any:
    """The token classifier of a Hugging Face directory; a causal language model gets a new head of two classes.

    Raises:
        ModelError: the model's type has no token classifier, or another number of classes.
    """
    from transformers import AutoConfig, AutoModelForTokenClassification

    config = AutoConfig.from_pretrained(checkpoint)
    trained = any(name.endswith("ForTokenClassification") for name in config.architectures or ())
    if trained and config.num_labels != len(CLASSES):
        raise ModelError(
            f"{checkpoint} tells {config.num_labels} classes apart; a step scorer has two, wrong and right"
        )
    if not trained:
        config.id2label = dict(enumerate(CLASSES))
        config.label2id = {name: index for index, name in enumerate(CLASSES)}
        config.classifier_dropout = 0.0  # updates are then the same on every engine
    try:
        with _quiet():
            return AutoModelForTokenClassification.from_pretrained(checkpoint, config=config, dtype=dtype)
    except ValueError as error:
        raise ModelError(
            f"model type {config.model_type!r} of {checkpoint} has no token classifier in transformers; start the "
            f"scorer from another model ({error})"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' report that the checkpoint's output head is left behind and the new one is new."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def load_for(objective: Objective, checkpoint: Path, dtype: torch.dtype) -> Any:
    """The model that a supervised objective trains."""
    from transformers import AutoModelForCausalLM

    if objective == "step_labels":
        return load_classifier(checkpoint, dtype)
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype)
