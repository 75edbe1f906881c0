"""Learning rate by update. Pure: the rate follows from the update's number, so it needs no state of its own."""

from __future__ import annotations

import math
from typing import Literal


def learning_rate_at(
    update: int, total: int, peak: float, warmup: int, schedule: Literal["constant", "linear", "cosine"]
) -> float:
    """Learning rate of one update.

    Args:
        update: counts from 1.
        total: updates of the stage.
        peak: rate after warm-up.
        warmup: updates of linear warm-up from peak / warmup to peak.
        schedule: shape after warm-up; "linear" and "cosine" reach zero one update after the last.
    """
    if update <= warmup:
        return peak * update / warmup
    if schedule == "constant":
        return peak
    done = (update - 1 - warmup) / max(1, total - warmup)
    if schedule == "linear":
        return peak * (1.0 - done)
    return peak * 0.5 * (1.0 + math.cos(math.pi * done))
