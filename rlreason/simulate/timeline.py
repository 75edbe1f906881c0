"""What a simulated pipeline did: its updates' seconds, where every GPU-second went, and how stale the rollouts were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHARES = {
    "generate": "generators at the speed of a full batch",
    "tail": "generators beyond that: few sequences left, or none while another generator still has some",
    "held": "generators that wait for the learner",
    "learn": "learners",
    "starved": "learners that wait for rollouts",
    "sync": "weights under way, and switching where GPUs are shared",
    "driver": "scoring, and the driver's own work",
}
"""Where a GPU-second goes, and what that means. Together they are all GPU-seconds without failures."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """U updates, after those with which the pipeline filled.

    Attributes:
        seconds: [U] float64, of each update.
        gpu_seconds: name of `SHARES` -> GPU-seconds.
        staleness: [S] int64, trained completions by policy versions between their first token and their update.
        tokens: of the trained completions.
        dropped: completions thrown away for being too old.
    """

    seconds: np.ndarray
    gpu_seconds: dict[str, float]
    staleness: np.ndarray
    tokens: int
    dropped: int = 0
