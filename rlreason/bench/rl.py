"""`rlreason bench rl`: every side makes the same updates in turns on this machine, all others idle while one works."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import torch

from rlreason.bench.ceilings import CeilingsProbe
from rlreason.bench.figures import MachineFigures, SideFigures, UpdateFigures, ratios
from rlreason.bench.floor import Ceilings, UpdateFloor, update_floor
from rlreason.bench.prompts import find_prompts
from rlreason.bench.side import OURS, PEERS, Side, progress
from rlreason.bench.workload import MODEL, Setup, Workload, describe, rl_stage, threads_of, words_task, write_workload
from rlreason.engines.scratch import make_model
from rlreason.errors import RunFailed
from rlreason.recipe.schema import Recipe
from rlreason.recipe.sizes import ModelShape, count_parameters, read_shape
from rlreason.stages.manifest import git_state, package_versions


def bench_rl(
    workload: Workload,
    setups: Sequence[Setup],
    peer: str | None = None,
    updates: int = 5,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure updates of our sides, and of a peer, in turns.

    Args:
        setups: our sides; the first finds how many prompts an update has, where the workload does not say.
        peer: one of `PEERS`, or None for ours alone.
        updates: measured rounds; one update of each side before them warms up and is not counted.
        overrides: recipe keys, such as "resources.threads=1".
    Returns:
        workload, machine, what it could do (`MachineFigures.summary`), sides (`SideFigures.summary`, floor_share) and
        ratios by pair, such as "vllm / trl": see `pairs`.
    Raises:
        UserError: the workload or an override makes no sense; nothing was started.
        RunFailed: a side failed, or the sides did not do the same work; the folder with their logs is kept.
    """
    folder = Path(tempfile.mkdtemp(prefix="rlreason-bench-"))
    try:
        shape = make_base(workload, setups[0], overrides, folder)
        if workload.prompts is None:
            workload = replace(workload, prompts=find_prompts(workload, setups[0], overrides, folder))
        recipes = {
            setup.name: write_workload(workload, setup, updates + 1, overrides, folder / setup.name).recipe
            for setup in setups
        }
        if peer is not None:  # it reads the work alone, not the engines
            recipes[peer] = write_workload(workload, setups[0], updates + 1, overrides, folder / peer).recipe
        recipe = recipes[setups[0].name]
        probe, floor = probe_and_floor(recipe, shape)
        sides, ceilings = measure(recipes, updates, folder, probe)
    except RunFailed:
        progress(f"the workload and the logs are kept in {folder}")
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    limits = MachineFigures(floor, ceilings, probe.sizes)
    return {
        "workload": {"size": workload.size, "parameters": count_parameters(shape), **describe(recipe)},
        "machine": machine(recipe),
        **limits.summary(),
        "sides": {name: {**side.summary(), "floor_share": limits.shares(side.updates)} for name, side in sides.items()},
        "ratios": {
            f"{name} / {other}": ratios(sides[name].updates, sides[other].updates)
            for name, other in pairs(setups, peer)
        },
    }


def setups_of(engines: Sequence[str] | None, generators: Sequence[int], learners: Sequence[int]) -> list[Setup]:
    """Every combination; of the engines that are installed where none are named, and can be as many as is asked for.

    Raises:
        UserError: an engine that is not known, or cannot be as many.
    """
    if engines is None:
        several = max(*generators, *learners) > 1
        found = find_spec("vllm") is not None and find_spec("deepspeed") is not None
        engines = ["vllm"] if several else ["torch", "vllm"] if found else ["torch"]
    return [Setup(*each) for each in product(engines, generators, learners)]


def pairs(setups: Sequence[Setup], peer: str | None) -> list[tuple[str, str]]:
    """Which sides are compared: each of ours with the peer, and with the first of ours on the same engine."""
    to_peer = [(setup.name, peer) for setup in setups if peer is not None]
    first: dict[str, str] = {}
    for setup in setups:
        first.setdefault(setup.engine, setup.name)
    return to_peer + [(each.name, first[each.engine]) for each in setups if each.name != first[each.engine]]


def make_base(workload: Workload, setup: Setup, overrides: Sequence[str], folder: Path) -> ModelShape:
    """Make the model that every side starts from; returns its shape."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # transformers asks DeepSpeed, which would warn on standard output
    recipe = write_workload(replace(workload, prompts=workload.prompts or 1), setup, 1, overrides, folder).recipe
    assert recipe.model.scratch is not None
    make_model(folder / MODEL, recipe.model.scratch, words_task(recipe).words(), seed=recipe.seeds[0])
    shape = read_shape(folder / MODEL)
    assert shape is not None
    return shape


def probe_and_floor(recipe: Recipe, shape: ModelShape) -> tuple[CeilingsProbe, UpdateFloor]:
    """What the machine is asked to show, and the least work of the recipe's update."""
    config, resources = rl_stage(recipe), recipe.resources
    on_gpu = resources.accelerator != "cpu" and torch.cuda.is_available()
    dtype = torch.bfloat16 if recipe.model.dtype == "bfloat16" else torch.float32
    rows = config.prompts_per_update * config.group_size
    prompt_tokens, completion_tokens = words_task(recipe).parameters.prompt_words, config.sampling.max_new_tokens
    floor = update_floor(
        shape,
        prompts=config.prompts_per_update,
        group=config.group_size,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        value_bytes=dtype.itemsize,
    )
    probe = CeilingsProbe(
        shape,
        wide_rows=min(resources.tokens_a_pass(on_gpu=on_gpu), rows * (prompt_tokens + completion_tokens)),
        decode_rows=min(rows, resources.max_concurrent),
        step_bytes=floor.decode.moved_bytes // max(1, completion_tokens - 1),
        threads=threads_of(recipe),
        dtype=dtype,
        device="cuda" if on_gpu else "cpu",
    )
    return probe, floor


def measure(
    recipes: Mapping[str, Recipe], updates: int, folder: Path, probe: CeilingsProbe
) -> tuple[dict[str, SideFigures], list[Ceilings]]:
    """Start the sides one after the other, then let the machine show itself and each make one update, in turns."""
    with ExitStack() as stack:
        sides, starts = {}, {}
        for name in recipes:
            progress(f"{name}: starting")
            sides[name] = stack.enter_context(Side(name, PEERS.get(name, OURS), folder / name))
            starts[name] = sides[name].first_update()
            progress(f"{name}: first update after {starts[name]:.0f} s")
        made: dict[str, list[UpdateFigures]] = {name: [] for name in recipes}
        ceilings = []
        for number in range(1, updates + 1):
            ceilings.append(probe.measure())
            for name, side in sides.items():
                made[name].append(side.update())
            check_same_work({name: figures[-1] for name, figures in made.items()})
            seconds = ", ".join(f"{name} {figures[-1].seconds:.2f} s" for name, figures in made.items())
            progress(f"{number}/{updates}: {seconds}")
        found = {
            name: SideFigures(engines(name, recipe), starts[name], sides[name].peak_bytes, made[name])
            for name, recipe in recipes.items()
        }
        return found, ceilings


def engines(name: str, recipe: Recipe) -> str:
    """What a side runs on, in words."""
    if name in PEERS:
        return "TRL GRPOTrainer with transformers generate"
    resources = recipe.resources
    return f"{resources.generators} {resources.generator} + {resources.learners} {resources.learner}"


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
        "threads": threads_of(recipe),
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
