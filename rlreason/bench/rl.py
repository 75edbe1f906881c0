"""`rlreason bench rl`: both sides make the same updates in turns on this machine, each idle while the other works."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from rlreason.bench.figures import SideFigures, UpdateFigures, ratios
from rlreason.bench.side import Side
from rlreason.bench.workload import MODEL, Workload, describe, words_task, write_workload
from rlreason.engines.scratch import make_model
from rlreason.errors import RunFailed
from rlreason.recipe.schema import Recipe
from rlreason.recipe.sizes import count_parameters, read_shape
from rlreason.stages.manifest import git_state, package_versions

OURS = "ours"
MODULES = {OURS: "rlreason.bench.ours", "trl": "rlreason.bench.trl_peer"}
"""Side -> the module that is its process."""
TRL = "TRL GRPOTrainer with transformers generate"


def bench_rl(
    workload: Workload, peer: str | None = None, updates: int = 5, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure updates of our side, and of a peer in turns with ours.

    Args:
        peer: "trl", or None for ours alone.
        updates: measured updates of each side; one more warms up and is not counted.
        overrides: recipe keys, such as "resources.generators=2".
    Returns:
        workload, machine, a summary a side (`SideFigures.summary`) and, with a peer, ratios ours / peer.
    Raises:
        UserError: the workload or an override makes no sense; nothing was started.
        RunFailed: a side failed, or the sides did not do the same work; the folder with their logs is kept.
    """
    folder = Path(tempfile.mkdtemp(prefix="rlreason-bench-"))
    try:
        recipe = write_workload(workload, updates + 1, overrides, folder).recipe
        parameters = make_base(recipe, folder)
        sides = measure([OURS, peer] if peer else [OURS], recipe, updates, folder)
    except RunFailed:
        progress(f"the workload and the logs are kept in {folder}")
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "workload": {"size": workload.size, "parameters": parameters, **describe(recipe)},
        "machine": machine(recipe),
        **{name: side.summary() for name, side in sides.items()},
        **({"ratios": ratios(sides[OURS].updates, sides[peer].updates)} if peer else {}),
    }


def make_base(recipe: Recipe, folder: Path) -> int:
    """Make the model that every side starts from; returns its number of parameters."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # transformers asks DeepSpeed, which would warn on standard output
    assert recipe.model.scratch is not None
    make_model(folder / MODEL, recipe.model.scratch, words_task(recipe).words(), seed=recipe.seeds[0])
    shape = read_shape(folder / MODEL)
    assert shape is not None
    return count_parameters(shape)


def measure(names: Sequence[str], recipe: Recipe, updates: int, folder: Path) -> dict[str, SideFigures]:
    """Start the sides one after the other, then let them make one update each in turns."""
    with ExitStack() as stack:
        sides, starts = {}, {}
        for name in names:
            progress(f"{name}: starting")
            sides[name] = stack.enter_context(Side(name, MODULES[name], folder))
            starts[name] = sides[name].first_update()
            progress(f"{name}: first update after {starts[name]:.0f} s")
        made: dict[str, list[UpdateFigures]] = {name: [] for name in names}
        for number in range(1, updates + 1):
            for name, side in sides.items():
                made[name].append(side.update())
            check_same_work({name: figures[-1] for name, figures in made.items()})
            seconds = ", ".join(f"{name} {figures[-1].seconds:.2f} s" for name, figures in made.items())
            progress(f"{number}/{updates}: {seconds}")
        engines = {OURS: f"{recipe.resources.generator} + {recipe.resources.learner}", "trl": TRL}
        return {name: SideFigures(engines[name], starts[name], sides[name].peak_bytes, made[name]) for name in names}


def check_same_work(newest: Mapping[str, UpdateFigures]) -> None:
    """Refuse to compare sides that did not do the same.

    Raises:
        RunFailed: names what each side counted.
    """
    if len({figures.work for figures in newest.values()}) > 1:
        counted = "; ".join(
            f"{name}: {figures.completions} completions, {figures.generated_tokens} generated and "
            f"{figures.trained_tokens} trained tokens"
            for name, figures in newest.items()
        )
        raise RunFailed(f"the sides did different work in one update ({counted}), so their times cannot be compared")


def machine(recipe: Recipe) -> dict[str, Any]:
    """What the figures were measured on."""
    commit, dirty = git_state()
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": recipe.resources.threads or os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "versions": package_versions(),
        "git_commit": commit,
        "git_dirty": dirty,
    }


def processor() -> str:
    """The processor's name where the system tells, else its architecture."""
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def progress(line: str) -> None:
    """A line for whoever waits; standard output is for the figures."""
    print(line, file=sys.stderr, flush=True)
