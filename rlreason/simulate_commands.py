"""`rlreason simulate`: what a stage would cost on many GPUs; the model is in `rlreason.simulate`.

Here: which recipe, which rates, and what a run's records say of both. As in `cli`, imports stand in the functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlreason.errors import RecordsError, UserError, one_of
from rlreason.options import Json, Overrides, RecipeName

if TYPE_CHECKING:
    from rlreason.recipe import LoadedRecipe
    from rlreason.recipe.sizes import Estimate
    from rlreason.recipe.stages import OnPolicy
    from rlreason.records.run_folder import RunFolder
    from rlreason.simulate.costs import Work
    from rlreason.simulate.fit import Measured
    from rlreason.simulate.hours import PlanHours
    from rlreason.simulate.rates import ModelSize, Rates
    from rlreason.simulate.search import Pipeline
    from rlreason.stages.binding import BoundRecipe

simulation = typer.Typer()
_MOST_GPUS = 1_048_576


@simulation.command()
def simulate(
    recipe: RecipeName,
    gpus: Annotated[
        str, typer.Option(metavar="N..M|N,M", help="How many: doubled from N to M, or a list.")
    ] = "8..4096",
    rates: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="What a GPU does: assumed_h200, assumed_a100, or YAML.")
    ] = None,
    from_run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Take the rates from the records of a run, its RL stages.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Only predict this run's updates, and compare. With --from-run.")
    ] = None,
    lengths: Annotated[
        str, typer.Option(help="Of --from-run: empirical (recorded groups again) or lognormal (fitted to them).")
    ] = "empirical",
    stage: Annotated[str | None, typer.Option(metavar="NAME", help="Which RL stage; default the first.")] = None,
    pipeline: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this pipeline, as the table names it. Repeatable.")
    ] = None,
    max_staleness: Annotated[int, typer.Option(min=0, help="Versions that streamed rollouts may be behind.")] = 1,
    grow: Annotated[bool, typer.Option("--grow", help="Prompts of an update grow with the GPUs.")] = False,
    updates: Annotated[int, typer.Option(min=2, help="Updates of each simulation.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of all draws.")] = 0,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write charts.")] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Simulate an RL stage on many GPUs: where the time goes, the best split, what asynchrony buys. Starts nothing.

    \b
      rlreason simulate quickstart --rates assumed_h200 --gpus 8..512 --set stages.rl.prompts_per_update=512
      rlreason simulate quickstart --from-run runs/quickstart --gpus 2,4,8 --plot simulation.html
      rlreason simulate quickstart --from-run runs/quickstart --check runs/quickstart
    """
    from rlreason.display import print_json, print_renderable
    from rlreason.recipe import load_recipe
    from rlreason.simulate.costs import work_of
    from rlreason.simulate.search import pipelines, sweep
    from rlreason.simulate.show import outcomes_json, render_outcomes, write_page

    if (rates is None) == (from_run is None):
        raise UserError(
            "give one of --rates (assumed_h200, assumed_a100, or a YAML file) and --from-run (a run's folder)"
        )
    if check is not None:
        _check(from_run, check, seed, as_json)
        return
    if plot is not None and not plot.parent.is_dir():
        raise UserError(f"--plot {plot}: there is no folder {plot.parent}; make it, or name another")
    counts = parse_gpus(gpus)
    compared = _compared(pipelines(max_staleness), pipeline or [])
    loaded = load_recipe(recipe, overrides or ())
    name, config = _stage(loaded, stage)
    known = _rates(rates, from_run, lengths)
    work = work_of(loaded.recipe, config, known.model or _model(loaded))
    outcomes = sweep(known, work, counts, compared, updates=updates, seed=seed, grow=grow)
    if plot is not None:
        write_page(outcomes, f"{loaded.recipe.name}, stage {name}", plot)
    if as_json:
        rows = outcomes_json(outcomes)
        print_json({"recipe": loaded.recipe.name, "stage": name, "rates": known.about, "seed": seed, "outcomes": rows})
    else:
        print_renderable(render_outcomes(outcomes, known))


def parse_gpus(text: str) -> list[int]:
    """ "8..64" as 8, 16, 32, 64, the last added where doubling passes it; "8,24" as it says.

    Raises:
        UserError: it is neither, or a number is outside 1 to about a million.
    """
    first, dots, last = text.partition("..")
    try:
        counts = [int(first), int(last)] if dots else [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--gpus {text!r} is neither a range such as 8..4096 nor a list such as 8,64,512") from None
    if not all(1 <= count <= _MOST_GPUS for count in counts) or (dots and counts[0] > counts[1]):
        raise UserError(f"--gpus {text!r}: numbers are 1 to {_MOST_GPUS:,}, and a range goes upwards")
    if not dots:
        return sorted(set(counts))
    doubled, (count, most) = [], counts
    while count < most:
        doubled.append(count)
        count *= 2
    return [*doubled, most]


def _compared(known: dict[str, Pipeline], asked: list[str]) -> dict[str, Pipeline]:
    for name in asked:
        if name not in known:
            raise UserError(one_of("--pipeline", name, known))
    return {name: pipeline for name, pipeline in known.items() if not asked or name in asked}


def _stage(loaded: LoadedRecipe, name: str | None) -> tuple[str, OnPolicy]:
    from rlreason.recipe.stages import OnPolicy

    found = {key: config for key, config in loaded.recipe.stages.items() if isinstance(config, OnPolicy)}
    if not found:
        raise UserError(
            f"recipe {loaded.recipe.name!r} has no stage of type rl or distill, and only these are simulated"
        )
    if name is not None and name not in found:
        raise UserError(one_of("--stage", name, found))
    chosen = name or next(iter(found))
    return chosen, found[chosen]


def _model(loaded: LoadedRecipe) -> ModelSize:
    """The size of the recipe's model."""
    from rlreason.stages.binding import bind, estimate_engines

    estimate = estimate_engines(bind(loaded, may_lack_model=True), on_gpu=True)
    if estimate is None:
        raise UserError(
            f"the model of recipe {loaded.recipe.name!r} is of a type whose sizes are not known; give rates "
            "with a `model:` section (parameters, value_bytes, cache_bytes_per_token)"
        )
    return _size(estimate)


def _size(estimate: Estimate) -> ModelSize:
    from rlreason.simulate.rates import ModelSize

    return ModelSize(
        parameters=estimate.parameters,
        value_bytes=4 if estimate.dtype == "float32" else 2,
        cache_bytes_per_token=estimate.cache_bytes_per_token,
    )


def hours_of(bound: BoundRecipe, estimate: Estimate | None, named: str | None, gpus: int | None) -> PlanHours | None:
    """For `rlreason plan`: hours of every stage. None on a CPU for which no rates are given.

    Args:
        named: rates, see `load_rates`; None: those assumed of an H200 where the recipe runs on GPUs.
        gpus: how many there are; None: not known.
    Raises:
        UserError: rates are given, and the model is of a type whose sizes are not known.
    """
    from rlreason.simulate.hours import held_devices, plan_hours
    from rlreason.simulate.rates import load_rates
    from rlreason.stages.lengths import LengthCounter

    if estimate is None and named is not None:
        raise UserError(f"--rates {named}: the model is of a type whose sizes are not known; give --model too")
    if estimate is None or (named is None and not estimate.on_gpu):
        return None
    recipe, counter = bound.recipe, LengthCounter(bound)
    found = {stage.id: counter.of_stage(stage) for stage in bound.plan.stages if stage.type != "reach"}
    return plan_hours(
        bound.plan,
        recipe,
        load_rates(named or "assumed_h200"),
        _size(estimate),
        {id: lengths for id, lengths in found.items() if lengths is not None},
        counted=counter.counted,
        devices=held_devices(recipe.resources, on_gpu=estimate.on_gpu, gpus=gpus, scorers=int(bool(recipe.scorers))),
    )


def _rates(named: str | None, run: Path | None, lengths: str) -> Rates:
    from rlreason.simulate.costs import lognormal_of
    from rlreason.simulate.fit import fit_rates, together
    from rlreason.simulate.rates import EmpiricalLengths, load_rates

    if lengths not in ("empirical", "lognormal"):
        raise UserError(one_of("--lengths", lengths, ("empirical", "lognormal")))
    if run is None:
        assert named is not None
        return load_rates(named)
    stages = measured_stages(run)
    (sequences,) = {work.sequences for _, work in stages.values()}
    fitted = fit_rates(together([measured for measured, _ in stages.values()]), sequences, f"measured in {run}")
    if lengths == "lognormal":
        assert isinstance(fitted.lengths, EmpiricalLengths)
        return fitted.model_copy(update={"lengths": lognormal_of(fitted.lengths)})
    return fitted


def _check(fitted: Path | None, predicted: Path, seed: int, as_json: bool) -> None:
    from dataclasses import asdict

    from rlreason.display import print_json, print_renderable
    from rlreason.simulate.fit import check
    from rlreason.simulate.show import render_checks

    if fitted is None:
        raise UserError("--check compares with the rates of a run; give --from-run instead of --rates")
    same = fitted.resolve() == predicted.resolve()
    known = measured_stages(fitted)
    checks = check(known, known if same else measured_stages(predicted, fitted.name), seed)
    if as_json:
        print_json([{**asdict(each), "ratio": each.ratio} for each in checks])
    else:
        print_renderable(render_checks(checks))


def measured_stages(run: Path, other_than: str = "") -> dict[str, tuple[Measured, Work]]:
    """What the RL stages of a run took, by "NAME, seed SEED", of those that have records.

    Args:
        other_than: another run's name, which sets this one's apart from it.
    Raises:
        UserError: it had more than one generator or learner rank, or no RL stage with records that can be read as
            batches of one draw.
    """
    from rlreason.recipe import load_recipe
    from rlreason.recipe.stages import OnPolicy
    from rlreason.records.documents import read_plan
    from rlreason.records.run_folder import RunFolder
    from rlreason.simulate.costs import work_of
    from rlreason.simulate.rates import ModelSize

    folder = RunFolder(run)
    plan, recipe = read_plan(folder), load_recipe(folder.recipe_path).recipe
    engines = (recipe.resources.generators, recipe.resources.learners)
    if engines != (1, 1):
        raise UserError(
            f"{run} had {engines[0]} generators and {engines[1]} learner ranks; rates are those of one of "
            "each, so take a run with resources.generators=1 and resources.learners=1"
        )
    found = {}
    for id, planned in plan.stages.items():
        config = recipe.stages.get(planned.name)
        if not isinstance(config, OnPolicy) or config.draws_more or config.asynchrony is not None:
            continue
        measured = _measured(folder, id, config)
        if measured is not None:
            work = work_of(recipe, config, ModelSize(parameters=1), on_gpu=False)
            name = f"{planned.name}, seed {planned.seed}"
            found[f"{run.name}: {name}" if other_than else name] = (measured, work)
    if not found:
        raise UserError(
            f"{run} has no records of an RL stage that draws once an update (dynamic_sampling draws more "
            "often) and takes turns with the learner (asynchrony does not); run a recipe with such a stage first"
        )
    return found


def _measured(folder: RunFolder, stage: str, config: OnPolicy) -> Measured | None:
    """A stage's updates; None where there are no records."""
    import numpy as np

    from rlreason.records.tables import read_table
    from rlreason.simulate.fit import PHASES, Measured

    metrics = read_table(folder, "updates", [stage], ["update", "metric", "value"])
    rollouts = read_table(folder, "rollouts", [stage], ["update", "tokens", "prompt_tokens"])
    if metrics.empty or rollouts.empty:
        return None
    by_update = metrics.pivot(index="update", columns="metric", values="value")
    names = [f"seconds_{phase}" for phase in PHASES]
    lacking = [name for name in names if name not in by_update]
    if lacking:
        raise RecordsError(f"{folder.records}: updates of {stage} have no metric {lacking[0]!r}; run the stage again")
    lengths = {
        update: own.to_numpy().reshape(-1, config.group_size) for update, own in rollouts.groupby("update")["tokens"]
    }
    kept = by_update[by_update.index.isin(list(lengths))]
    return Measured(
        lengths=[lengths[update] for update in kept.index],
        prompt_tokens=float(np.mean([len(prompt) for prompt in rollouts["prompt_tokens"]])),
        seconds={phase: kept[name].to_numpy() for phase, name in zip(PHASES, names, strict=True)},
    )
