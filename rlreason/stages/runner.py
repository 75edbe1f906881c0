"""Running a recipe: check everything, start the engines once, then every stage that is not done, in the plan's order.

A run's folder is its only state: calling this again on the same folder goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.codec import TextCodec
from rlreason.engines.meter import Meter, metered, model_cost
from rlreason.engines.protocols import Engines
from rlreason.engines.scratch import make_model
from rlreason.errors import MachineError, RecipeError
from rlreason.recipe import LoadedRecipe, PlannedStage, dump_recipe, load_recipe
from rlreason.recipe.compare import diff
from rlreason.recipe.freeze import frozen_path, read_frozen, registration
from rlreason.recipe.layout import check_turns
from rlreason.recipe.room import check_memory
from rlreason.recipe.schema import Recipe
from rlreason.records.incidents import IncidentLog, read_incidents, summarised
from rlreason.records.run_folder import RunFolder, read_json, write_json, write_text
from rlreason.rewards.pool import ScoringPool
from rlreason.stages.allowance import match_figures, short_text
from rlreason.stages.binding import BoundRecipe, bind, estimate_engines
from rlreason.stages.context import Context, Progress
from rlreason.stages.dpo import run_dpo
from rlreason.stages.evaluate import run_evaluate
from rlreason.stages.interpolate import run_interpolate
from rlreason.stages.interrupts import InterruptibleProgress, interrupts_kept
from rlreason.stages.ledger import forget_spending, keep_seconds, stage_ledger
from rlreason.stages.manifest import make_manifest, now
from rlreason.stages.prm import run_prm
from rlreason.stages.reach import run_reach
from rlreason.stages.recovery import Recovery
from rlreason.stages.rft import run_rft
from rlreason.stages.rl import run_rl
from rlreason.stages.supervised import run_supervised
from rlreason.tasks.registry import task_spec
from rlreason.types import ReportIncident

StageFunction = Callable[[Context, PlannedStage, Path], Mapping[str, float]]

STAGES: dict[str, StageFunction] = {
    "pretrain": run_supervised,
    "sft": run_supervised,
    "rft": run_rft,
    "dpo": run_dpo,
    "rl": run_rl,
    "distill": run_rl,
    "prm": run_prm,
    "evaluate": run_evaluate,
    "interpolate": run_interpolate,
    "reach": run_reach,
}


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run did: its folder, the stages run now, those that were done before, and seconds in all."""

    folder: RunFolder
    ran: tuple[str, ...]
    found_done: tuple[str, ...]
    seconds: float


def run_recipe(
    loaded: LoadedRecipe,
    folder: Path,
    *,
    allow_change: bool,
    progress: Progress,
    frozen: Path | None = None,
    keep_going: bool = False,
) -> RunOutcome:
    """Run every stage of a recipe that its folder does not hold yet.

    Args:
        folder: the run's; made where it does not exist.
        allow_change: go on although the recipe differs from the one the folder was begun with. Stages whose settings
            changed have another identity and are run anew; the others are kept.
        frozen: the file of frozen rules to hold the run against; None: the one at `frozen_path`, where it is there.
        keep_going: where a stage fails by its data or a plug-in, run those that do not need it before ending.
    Raises:
        UserError: the recipe cannot be run here; nothing was started.
        RunFailed: a stage failed; the folder can be resumed. `StagesMissing` where it was kept going.
    """
    start = time.monotonic()
    bound = bind(loaded)
    run = RunFolder(folder)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers' bars too, here and in workers
    with locked(run):
        prepare_folder(run, bound, allow_change, frozen)
        stages = bound.plan.stages
        done = tuple(stage.id for stage in stages if run.is_done(stage.id))
        progress.run_started(stages, done)
        todo = [stage for stage in stages if stage.id not in done]
        if todo:
            check_room(bound)
            run_stages(run, bound, todo, progress, keep_going)
            finish_manifest(run)
            if broken := read_incidents(run):
                progress.note(f"{summarised(broken)}; see {run.incidents_path}")
        else:
            retell_manifest(run, bound)
    return RunOutcome(run, tuple(stage.id for stage in todo), done, time.monotonic() - start)


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Hold the run's folder for this process. The lock goes with the process, however it ends.

    Raises:
        MachineError: another process runs it.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    with (run.path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineError(
                f"{run.path} is being run by another process; wait for it, or give this run its own --folder"
            ) from None
        yield


def check_room(bound: BoundRecipe) -> None:
    """Refuse a run that this machine's memory cannot hold. A cluster, and the memory of GPUs, say so themselves.

    Raises:
        MachineError: what is needed, what is free, and what lowers it.
    """
    resources = bound.recipe.resources
    may_use_gpus = resources.accelerator != "cpu" and shutil.which("nvidia-smi") is not None
    if resources.address is not None or may_use_gpus:
        return
    estimate = estimate_engines(bound, on_gpu=False)
    if estimate is not None:
        check_memory(estimate, psutil.virtual_memory().available)


def prepare_folder(run: RunFolder, bound: BoundRecipe, allow_change: bool, frozen: Path | None = None) -> None:
    """Write the resolved recipe and the plan; refuse a folder that was begun with another recipe.

    Raises:
        RecipeError: the recipe differs; names every difference. Or the frozen rules cannot be read.
    """
    if run.recipe_path.exists() and not allow_change:
        differences = diff(load_recipe(run.recipe_path).resolved, bound.loaded.resolved)
        if differences:
            raise RecipeError(
                f"{run.path} was begun with another recipe:\n  " + "\n  ".join(differences) + "\nGive this one its own "
                "--folder, or say --allow-change: stages whose settings are the same are kept, the others run anew"
            )
    write_text(run.recipe_path, dump_recipe(bound.recipe))
    keep_frozen(run, frozen or frozen_path(bound.loaded), asked_for=frozen is not None)
    held = read_frozen(run.frozen_path) if run.frozen_path.exists() else None
    write_json(run.plan_path, {**bound.plan.to_json(), "registration": registration(bound.recipe, held)})


def keep_frozen(run: RunFolder, path: Path, *, asked_for: bool) -> None:
    """Copy the frozen rules into the run. What it was begun with stays, whatever is frozen later.

    Raises:
        RecipeError: the file is not there though it was asked for, or is not one of frozen rules.
    """
    if run.frozen_path.exists() or not (asked_for or path.exists()):
        return
    write_json(run.frozen_path, read_frozen(path).model_dump())


def base_model(run: RunFolder, bound: BoundRecipe, seed: int) -> Path:
    """The Hugging Face directory that arms start from; a new model is made once a seed, under base/."""
    if bound.model_path is not None:
        return bound.model_path
    assert bound.recipe.model.scratch is not None
    words = list(dict.fromkeys(word for task in bound.tasks.values() for word in task.words()))
    folder = run.path / "base" / f"seed-{seed}"
    if not (folder / "config.json").exists():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # see _local
        partial = folder.with_name(folder.name + ".partial")
        make_model(partial, bound.recipe.model.scratch, words, derive_seed(seed, "base") % 2**31)
        partial.rename(folder)
    return folder


def start_engines(
    recipe: Recipe,
    checkpoint: Path,
    max_tokens: int,
    logs: Path,
    report: ReportIncident = lambda incident: None,
) -> Any:
    """Engines that load in the background; `.wait()` gives them. Local engines where the recipe says torch.

    `report` is told of engines that are lost and started again; those in this process are lost with it.

    Raises:
        MachineError: a library that the recipe's engines need is not installed, or there are too few devices for it.
    """
    resources = recipe.resources
    dtype = None if recipe.model.dtype == "auto" else recipe.model.dtype
    builders: dict[str, Callable[..., Any]] = {"torch": _local, "vllm": _on_ray}
    arguments = (resources, checkpoint, dtype, max_tokens, logs)
    engines = builders[resources.generator](*arguments, with_scorer=bool(recipe.scorers), report=report)
    if resources.generator == "vllm":
        try:
            check_turns(recipe, engines.placement.layout)
        except MachineError:
            engines.placement.release()
            raise
    return engines


def _local(*arguments: Any, report: ReportIncident, **options: Any) -> Any:
    from rlreason.engines.local import start_local

    # transformers asks DeepSpeed, which looks for an accelerator and would warn on the terminal
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    return start_local(*arguments, **options)


def _on_ray(*arguments: Any, **options: Any) -> Any:
    from importlib.util import find_spec

    for library in ("ray", "vllm", "deepspeed", "trl"):
        if find_spec(library) is None:
            raise MachineError(
                f"the recipe's engines need {library}, which is not installed; run `make setup`, or use the in-process "
                "engines: --set resources.generator=torch --set resources.learner=torch"
            )
    from rlreason.orchestration.start import PendingEngines

    return PendingEngines(*arguments, **options)


def run_stages(
    run: RunFolder, bound: BoundRecipe, todo: list[PlannedStage], progress: Progress, keep_going: bool
) -> None:
    """Start engines and scoring workers, run the stages, stop everything, whatever happens."""
    recipe = bound.recipe
    bases = {seed: base_model(run, bound, seed) for seed in recipe.seeds}
    first = bases[recipe.seeds[0]].resolve()
    logs = run.logs.resolve()
    logs.mkdir(parents=True, exist_ok=True)
    incidents = IncidentLog(run)
    with ExitStack() as stack:
        progress = InterruptibleProgress(progress, stack.enter_context(interrupts_kept()))
        recovery = Recovery(progress, incidents.add, keep_going)
        pool = stack.enter_context(
            ScoringPool(
                recipe.rewards,
                {name: task_spec(task) for name, task in bound.tasks.items()},
                bound.loaded.folders,
                log=logs / "rewards.log",
                report=incidents.add,
            )
        )
        pool.warm_up()
        progress.note(f"starting engines ({recipe.resources.generator}, {recipe.resources.learner}); logs: {run.logs}")
        begun = time.monotonic()
        engines: Engines = start_engines(recipe, first, bound.max_tokens, logs, incidents.add).wait()
        stack.callback(engines.close)
        progress.note(f"engines ready after {time.monotonic() - begun:.0f} s")
        write_manifest(run, bound, engines)
        meter = Meter(model_cost(first))
        context = Context(
            recipe=recipe,
            folder=run,
            tasks=bound.tasks,
            codec=TextCodec(first),
            engines=metered(engines, meter),
            pool=pool,
            progress=recovery,
            bases=bases,
            scorer_folders=bound.scorer_folders,
            meter=meter,
        )
        recovery.run_each(todo, lambda stage: run_stage(context, stage, recovery))


def run_stage(context: Context, stage: PlannedStage, recovery: Recovery) -> None:
    """Run one stage and mark it done."""
    start = time.monotonic()
    parent = context.model(stage.parent, stage.seed)
    context.folder.stage(stage.id).mkdir(parents=True, exist_ok=True)
    write_json(context.folder.stage(stage.id) / "config.json", stage.config.model_dump(mode="json"))

    def run() -> Mapping[str, float]:
        nonlocal start
        start = time.monotonic()
        context.meter.take()  # what was asked of the engines before is no part of this stage
        return STAGES[stage.type](context, stage, parent)

    figures = recovery.attempt(stage, run, lambda: keep_seconds(context, stage, time.monotonic() - start))
    seconds = time.monotonic() - start
    ledger = stage_ledger(context, stage, seconds)
    told = {**figures, "ledger": ledger.model_dump(), **match_figures(context, stage, ledger)}
    context.folder.mark_done(stage.id, {"seconds": seconds, "completed": now(), **told})
    forget_spending(context, stage)
    if short := short_text(stage, told):
        context.progress.note(short)
    context.progress.stage_finished(stage, seconds)


def write_manifest(run: RunFolder, bound: BoundRecipe, engines: Engines) -> None:
    """The manifest of this start; a resumed run keeps the time it was first begun."""
    started = read_json(run.manifest_path)["started"] if run.manifest_path.exists() else now()
    hardware = {key: value for key, value in engines.description.items() if not key.endswith("_pids")}
    write_json(run.manifest_path, make_manifest(bound.recipe, hardware, started))


def retell_manifest(run: RunFolder, bound: BoundRecipe) -> None:
    """Note what an allowed change made of a run whose stages were all done, as where it asks for fewer seeds."""
    told = {"recipe": bound.recipe.name, "description": bound.recipe.description, "seeds": list(bound.recipe.seeds)}
    kept = read_json(run.manifest_path) if run.manifest_path.exists() else None
    if kept is not None and kept != {**kept, **told}:  # a run that is as it was keeps every file as it was
        write_json(run.manifest_path, {**kept, **told})


def finish_manifest(run: RunFolder) -> None:
    """Note the time at which the run had all its stages, and how many incidents there had been till then."""
    broken = Counter(incident.kind for incident in read_incidents(run))
    finished = {"finished": now(), "incidents": dict(broken)}
    write_json(run.manifest_path, {**read_json(run.manifest_path), **finished})
