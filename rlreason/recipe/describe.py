"""The Plan for a person (`rlreason plan`) and as JSON: stages and what is shared, sizes, memory, device layout.

Shows what `plan` and `sizes` found; computes nothing but products of settings. Starts nothing, imports no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from rlreason.errors import MachineError
from rlreason.recipe.layout import check_turns, lay_out
from rlreason.recipe.own_samples import Dpo, Rft
from rlreason.recipe.plan import Plan, PlannedStage
from rlreason.recipe.room import fits, gpu_demands
from rlreason.recipe.schema import Evaluation, Recipe
from rlreason.recipe.scorers import Prm
from rlreason.recipe.sizes import LIBRARY_BYTES, Estimate, Machine, gib
from rlreason.recipe.stages import OnPolicy

_COLOURS = {
    **{"pretrain": "magenta", "sft": "cyan", "rft": "bright_cyan", "dpo": "bright_green", "rl": "green"},
    "distill": "bright_blue",
    **{"prm": "blue", "evaluate": "yellow", "interpolate": "bright_yellow", "reach": "bright_yellow"},
}

_OFFLOADED = {"optimizer": "optimizer", "all": "optimizer and weights"}


def stage_sizes(stage: PlannedStage) -> dict[str, int]:
    """How much work a stage is: updates and rows, or prompts and completions, or problems and completions.

    Of a stage that stops at another's budget, the most that it may be; what that budget decides alone is left out.
    """
    config = stage.config
    if stage.type == "reach":  # as many derivations as turn out right
        return {}
    if isinstance(config, Evaluation):
        problems = len(config.levels) * config.problems + sum(probe.problems for probe in config.probes.values())
        if stage.type == "interpolate":
            return {"problems": problems}
        # one greedy completion a problem beside the sampled ones
        return {"problems": problems, "completions": problems * (1 + config.samples)}
    if isinstance(config, OnPolicy):
        prompts = config.updates * config.prompts_per_update
        return {
            "updates": config.updates,
            "prompts": prompts,
            "group_size": config.group_size,
            "completions": prompts * config.group_size,
        }
    if isinstance(config, Dpo):
        completions = config.prompts * config.samples
        pairs = config.updates * config.batch_pairs
        return {"prompts": config.prompts, "completions": completions, "updates": config.updates, "pairs": pairs}
    if isinstance(config, Rft):
        prompts, updates = config.rounds * config.prompts, config.rounds * config.updates
        rows = updates * config.batch_rows
        asked = {"prompts": prompts, "completions": prompts * config.samples}
        return {
            "rounds": config.rounds,
            **({} if stage.match else asked),
            "updates": updates,
            "rows": rows,
            "tokens": rows * config.row_tokens,
        }
    rows = config.updates * config.batch_rows
    sizes = {"updates": config.updates, "rows": rows, "tokens": rows * config.row_tokens}
    return {"derivations": config.problems * config.samples, **sizes} if isinstance(config, Prm) else sizes


def plan_json(
    plan: Plan, recipe: Recipe, estimate: Estimate | None = None, machine: Machine | None = None
) -> dict[str, Any]:
    """`Plan.to_json` with each stage's `sizes`, and `order`, `devices`, `memory` (null where not estimated), `fits`."""
    described = plan.to_json()
    for stage in plan.stages:
        described["stages"][stage.id]["sizes"] = stage_sizes(stage)
    resources = recipe.resources
    return {
        "recipe": recipe.name,
        **described,
        "order": [stage.id for stage in plan.stages],
        "devices": {
            "generator": resources.generator,
            "generators": resources.generators,
            "tensor_parallel": resources.tensor_parallel,
            "learner": resources.learner,
            "learners": resources.learners,
            "zero_stage": resources.zero_stage,
            "offload": resources.offload,
            "placement": resources.placement,
            "sleep_level": resources.sleep_level,
            "weight_sync": resources.sync,
            "accelerator": resources.accelerator,
            "address": resources.address,
        },
        "memory": None if estimate is None else _memory_json(estimate),
        "machine": None if machine is None else asdict(machine),
        "fits": None if estimate is None or machine is None else not _shortages(recipe, estimate, machine),
        "shortages": None if estimate is None or machine is None else _shortages(recipe, estimate, machine),
    }


def _memory_json(estimate: Estimate) -> dict[str, Any]:
    figures = asdict(estimate)
    figures["learner"]["total"] = estimate.learner.total
    figures["generator"]["total"] = estimate.generator.total
    return {**figures, "host_bytes": estimate.host_bytes}


def _shortages(recipe: Recipe, estimate: Estimate, machine: Machine) -> list[str]:
    """What does not fit the machine, each with what to change; empty where all fits."""
    if not estimate.on_gpu:
        return [] if fits(estimate, machine.memory_bytes) else [f"{gib(estimate.host_bytes)} are needed"]
    if not estimate.in_process:
        try:
            check_turns(recipe, lay_out(recipe.resources, machine.gpus, int(bool(recipe.scorers))))
        except MachineError as error:
            return [str(error)]
    short = (demand for demand in gpu_demands(estimate, machine.gpu_memory_bytes) if not demand.fits)
    return [f"{demand.told}: {demand.remedy}" for demand in short]


def render_plan(
    plan: Plan, recipe: Recipe, estimate: Estimate | None = None, machine: Machine | None = None
) -> RenderableType:
    """What to print: the tree of stages, a table of the arms, memory and layout.

    Args:
        plan: `build_plan` of the recipe.
        estimate: `estimate_memory`; None where the model's shape is not known.
        machine: what there is; None leaves out whether it fits.
    """
    evaluations = sum(stage.type == "evaluate" for stage in plan.stages)
    trained = sum(stage.type not in ("evaluate", "interpolate", "reach") for stage in plan.stages)
    unshared = sum(len(path.stages) for seeds in plan.arms.values() for path in seeds.values())
    head = Text.assemble(
        (recipe.name, "bold"),
        f": {len(plan.arms)} arms, {len(recipe.seeds)} {_plural(len(recipe.seeds), 'seed')}; {trained} "
        f"{_plural(trained, 'stage')} to train ({unshared} if nothing were shared), "
        f"{evaluations} {_plural(evaluations, 'evaluation')}",
    )
    return Group(head, _tree(plan, recipe), _arms(plan), _layout(recipe, estimate, machine))


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def _tree(plan: Plan, recipe: Recipe) -> Tree:
    """The stages of the first seed; the other seeds' differ in identity alone."""
    start = recipe.model.path if recipe.model.path is not None else "new model, random weights"
    first, *others = recipe.seeds
    more = f"  seed {first}; the same again for seed {', '.join(map(str, others))}" if others else ""
    root = Tree(Text.assemble((start, "bold"), (more, "dim")), guide_style="dim")
    nodes: dict[str | None, Tree] = {None: root}
    for stage in plan.stages:  # parents come first
        if stage.seed == first:
            nodes[stage.id] = nodes[stage.parent].add(_line(stage))
    return root


def _line(stage: PlannedStage) -> Text:
    line = Text.assemble((stage.name, f"bold {_COLOURS[stage.type]}"))
    if stage.type == "evaluate":
        line.append(f" {', '.join(stage.arms)}", style="bold")
    line.append(f"  {'at most ' if stage.match and stage.type != 'rft' else ''}{_size_text(stage)}")
    if stage.match is not None:
        line.append(f"  matched with {stage.match.name} by {stage.match.by}", style="bold")
    if isinstance(stage.config, OnPolicy) and (rule := curriculum_text(stage.config)) != "uniform":
        line.append(f"  curriculum {rule}", style="bold")
    if stage.scorer is not None:
        line.append(f"  steps scored by {stage.scorer.name}", style="bold")
    if stage.type == "prm":
        line.append(f"  for {', '.join(stage.arms) or 'no arm'}", style="bold")
    elif stage.type != "evaluate" and len(stage.arms) > 1:
        line.append(f"  shared by {len(stage.arms)} arms", style="bold")
    line.append(f"  {stage.id}", style="dim")
    return line


def curriculum_text(config: OnPolicy) -> str:
    """The rule of a stage's curriculum, and whether it has a gate: "sec + gate"."""
    return config.curriculum.type + (" + gate" if config.curriculum.gate else "")


def _size_text(stage: PlannedStage) -> str:
    config, sizes = stage.config, {name: f"{size:,}" for name, size in stage_sizes(stage).items()}
    if stage.type == "reach":
        return f"right derivations of {', '.join(stage.arms)} under this base"
    if isinstance(config, Evaluation) and config.interpolation and stage.type == "interpolate":
        return f"control fitted on {config.interpolation.train_problems:,} problems, {sizes['problems']} problems asked"
    if isinstance(config, Evaluation):
        return f"{sizes['problems']} problems, {sizes['completions']} completions"
    updates = f"{sizes['updates']} updates"
    if isinstance(config, OnPolicy | Rft | Dpo):
        each = config.group_size if isinstance(config, OnPolicy) else config.samples
        asked = f"prompts x {each} completions"
        if "prompts" in sizes:
            asked = f"{sizes['prompts']} prompts x {each} = {sizes['completions']} completions"
        if isinstance(config, OnPolicy):
            return f"{updates}, {asked}"
        if isinstance(config, Dpo):
            return f"{asked}, {updates}, {sizes['pairs']} pairs"
        updates = f"{sizes['rounds']} {_plural(config.rounds, 'round')}, {asked}, {updates}"
    rows = f"{sizes['rows']} rows of {config.row_tokens:,} tokens"
    if isinstance(config, Prm):
        return f"step scorer: {sizes['derivations']} derivations, {updates}, {rows}"
    return f"{updates}, {rows}"


def _arms(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("arm", style="bold")
    table.add_column("stages")
    for arm, seeds in plan.arms.items():
        path = next(iter(seeds.values()))
        names = " -> ".join(plan.stage(id).name for id in path.stages)
        title = "" if plan.titles[arm] == arm else f"  ({plan.titles[arm]})"
        table.add_row(Text(f"{arm}{title}"), Text(names or "the model itself"))
    return table


def _layout(recipe: Recipe, estimate: Estimate | None, machine: Machine | None) -> Table:
    rows = {"devices": device_layout(recipe, estimate, machine)}
    if estimate is None:
        rows["memory"] = "not estimated: the model's shape is not known"
    else:
        rows["model"] = f"{estimate.parameters:,} parameters in {estimate.dtype}"
        rows.update(_memory_rows(estimate))
        if machine is not None:
            rows["fits"] = _fits_text(recipe, estimate, machine)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for name, text in rows.items():
        table.add_row(Text(name), Text(text))
    return table


def device_layout(recipe: Recipe, estimate: Estimate | None = None, machine: Machine | None = None) -> str:
    """One line: how many generators and learners, on what, where."""
    resources = recipe.resources
    scorer = ", 1 step scorer (torch)" if recipe.scorers else ""
    if resources.generator == "torch":
        return f"generator and learner (torch){scorer} in this process, {_turns(recipe)}"
    on_gpu = estimate.on_gpu if estimate is not None else resources.accelerator == "cuda"
    generators, learners, width = resources.generators, resources.learners, resources.tensor_parallel
    parallel = f" x TP {width}" if width > 1 else ""
    offload = "" if resources.offload == "none" else f", {_OFFLOADED[resources.offload]} in host memory"
    engines = (
        f"{generators} {_plural(generators, 'generator')} ({resources.generator}{parallel})"
        f", {learners} {_plural(learners, 'learner rank')} ({resources.learner}, ZeRO {resources.zero_stage}{offload})"
        f"{scorer}"
    )
    where = "a local Ray" if resources.address is None else f"the Ray cluster at {resources.address}"
    if on_gpu and estimate is not None and estimate.colocated:
        turns = f", generators asleep at level {estimate.sleep_level} meanwhile" if estimate.sleep_level else ""
        placed = f"{max(generators, learners)} GPUs, each shared by a generator and a learner{turns}"
    elif on_gpu:
        placed = f"{generators * width} GPUs generate, {learners} learn"
    else:
        cores = "" if machine is None else f"{machine.cores} "
        placed = f"co-located on {cores}CPU cores, {_turns(recipe)}"
    return f"{engines}; {placed}; {where}"


def _turns(recipe: Recipe) -> str:
    """How generators and learners share what they both run on."""
    ahead = any(isinstance(stage, OnPolicy) and stage.asynchrony is not None for stage in recipe.stages.values())
    return "taking turns" + (" but in asynchronous stages" if ahead else "")


def _memory_rows(estimate: Estimate) -> Mapping[str, str]:
    learner, generator = estimate.learner, estimate.generator
    unit = "a GPU" if estimate.on_gpu else "each"
    tokens = generator.cache // estimate.cache_bytes_per_token
    rows = {
        "learner rank": f"{gib(learner.total)} {unit}: weights {gib(learner.weights)}, gradients "
        f"{gib(learner.gradients)}, optimizer {gib(learner.optimizer)}, activations {gib(learner.activations)}"
        f"{f', reference {gib(learner.reference)}' if learner.reference else ''}"
        f"{f'; {gib(learner.host)} of host memory' if learner.host else ''}",
        "generator": f"{gib(generator.total)} {unit}: weights {gib(generator.weights)}, cache "
        f"{gib(generator.cache)} ({tokens:,} tokens{' at least' if estimate.on_gpu else ''})",
    }
    if estimate.scorer:
        rows["step scorer"] = f"{gib(estimate.scorer)}: weights of the largest of the recipe's scorers"
    if not estimate.on_gpu:
        rows["in all"] = f"{gib(estimate.host_bytes)}, with {gib(LIBRARY_BYTES)} of libraries a process"
    return rows


def _fits_text(recipe: Recipe, estimate: Estimate, machine: Machine) -> str:
    there = machine.gpu_memory_bytes if estimate.on_gpu else machine.memory_bytes
    what = "a GPU's" if estimate.on_gpu else "this machine's free"
    short = _shortages(recipe, estimate, machine)
    where = f", in {what} {gib(there)}"
    return f"NO{where}: {'; '.join(short)}" if short else f"yes{where}"
