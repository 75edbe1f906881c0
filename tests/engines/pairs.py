"""A few preference pairs, and a stage that trains on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rlreason.engines.protocols import PreferenceJob, PreferencePairs
from rlreason.recipe.stages import Optimizer

PAIRS = (
    ((11, 12), (13, 14, 1), (15, 1)),
    ((21, 22, 23), (24, 1), (25, 26, 27, 1)),
    ((31,), (32, 33, 1), (34, 35, 1)),
)
"""(prompt, better completion, worse completion)."""
ORDER = (0, 1, 1, 2, 2, 0, 1, 0, 2, 0, 2, 1)
"""Four pairs an update, for three updates."""


def make_pairs() -> PreferencePairs:
    """The pairs, flat."""
    sequences = [(prompt, completion) for prompt, *both in PAIRS for completion in both]
    return PreferencePairs(
        tokens=np.array([token for parts in sequences for part in parts for token in part], dtype=np.int32),
        prompt_lengths=np.array([len(prompt) for prompt, _ in sequences], dtype=np.int32),
        lengths=np.array([len(completion) for _, completion in sequences], dtype=np.int32),
        order=np.array(ORDER, dtype=np.int32),
    )


def preference_job(checkpoint: Path, folder: Path) -> PreferenceJob:
    """Three updates with a warm-up, and a state after the second."""
    return PreferenceJob(
        checkpoint=checkpoint,
        output=folder / "model",
        state=folder / "state",
        updates=3,
        optimizer=Optimizer(learning_rate=1e-3, warmup_updates=2, schedule="linear", max_grad_norm=0.5),
        checkpoint_every=2,
        seed=0,
        batch_pairs=4,
        beta=0.2,
    )
