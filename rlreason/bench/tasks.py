"""How fast every task type makes problems and checks derivations: `rlreason bench tasks` without a task.

Rates are `tasks.sampling.measure_rate`'s, one core, the easiest cell of every family of every type as it shows itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlreason.errors import TaskError
from rlreason.tasks import Task, task_types
from rlreason.tasks.listing import shown_tasks
from rlreason.tasks.sampling import measure_rate, peak_rss_mib

ENOUGH = 1_000
"""Problems, and checks, a second, below which a task is named: a learner on an accelerator would wait for it."""


def bench_tasks(seconds: float) -> dict[str, Any]:
    """Measure every type.

    Args:
        seconds: how long each cell makes problems; half as much again goes into checks.
    Returns:
        cells: one entry a family (type, settings, cell, problems_per_s, checks_per_s); slow: names of those below
        `ENOUGH`; not_measured: type -> why it cannot be built from its defaults; peak_rss_mib: of this process.
    """
    cells: list[dict[str, Any]] = []
    not_measured: dict[str, str] = {}
    for name, kind in task_types().items():
        try:
            tasks = shown_tasks(name, kind)
        except TaskError as error:
            not_measured[name] = str(error)
            continue
        cells += [_measured(settings, task, cell, seconds) for settings, task in tasks for cell in easiest(task)]
    slow = [each["cell"] for each in cells if min(each["problems_per_s"], each["checks_per_s"]) < ENOUGH]
    return {"cells": cells, "slow": slow, "not_measured": not_measured, "peak_rss_mib": peak_rss_mib()}


def _measured(settings: Mapping[str, Any], task: Task, cell: str, seconds: float) -> dict[str, Any]:
    rates = measure_rate(task, seconds, [cell])
    told = {name: rates[name] for name in ("problems_per_s", "checks_per_s")}
    return {"type": task.type, "settings": dict(settings), "cell": cell, **told}


def easiest(task: Task) -> list[str]:
    """Name of the cell of least difficulty of every family."""
    found: dict[str, tuple[int, str]] = {}
    for cell in task.cells:
        if cell.family not in found or cell.difficulty < found[cell.family][0]:
            found[cell.family] = (cell.difficulty, cell.name)
    return [name for _, name in found.values()]
