"""How many prompts make an update take some seconds on this machine: long enough to time, short enough to repeat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rlreason.bench.side import OURS, Side, progress
from rlreason.bench.workload import Setup, Workload, write_workload

MOST_S = 10.0
"""An update of ours shall take this long at most, and more than half of it; a peer's may take longer."""
TRIES = 4


def fitting(prompts: int, seconds: float) -> int:
    """`prompts` doubled or halved as often as needed for the most that take no longer than `MOST_S`, at least 1.

    Args:
        seconds: of an update of `prompts`; it is taken to grow in proportion, so that doublings never take too long.
    """
    return max(1, math.floor(prompts * 2.0 ** math.floor(math.log2(MOST_S / seconds))))


def find_prompts(workload: Workload, setup: Setup, overrides: Sequence[str], folder: Path) -> int:
    """Time an update of more and more prompts, from one on, each in a process of its own; the first warms up.

    Raises:
        RunFailed: the side failed.
    """
    prompts = 1
    for _ in range(TRIES):
        place = folder / f"{prompts}-prompts"
        write_workload(replace(workload, prompts=prompts), setup, 2, overrides, place)
        with Side("probe", OURS, place) as side:
            side.first_update()
            seconds = side.update().seconds
        progress(f"an update of {prompts} prompts takes {seconds:.2f} s")
        wanted = fitting(prompts, seconds)
        if wanted == prompts:
            break
        prompts = wanted
    return prompts
