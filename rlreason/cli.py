"""The command line: parses, imports what the command needs, calls it, prints. The last step of every flow.

Nothing heavy is imported while this module loads, so that every `--help` answers at once; each command imports inside
its function. The groups `bench`, `export` and `reward`, and `report`, `compare` and `index`, have files of their own
(`*_commands`), options that commands share are in `options`. How things look is in `display*` and `progress`; what they
mean is in the rooms.

Exit codes: 0 done; 1 a run started and failed; 2 what was asked cannot be done, and nothing was started; 130 Ctrl-C.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlreason import __version__
from rlreason.bench_commands import bench
from rlreason.cluster_commands import cluster
from rlreason.errors import RunFailed, StagesMissing, TaskError, UserError, one_of
from rlreason.export_commands import export
from rlreason.job_commands import jobs
from rlreason.options import Json, KeepGoing, Overrides, Parameters, RecipeName, TaskName, TaskOrRecipe
from rlreason.report_commands import reports
from rlreason.reward_commands import reward
from rlreason.simulate_commands import simulation
from rlreason.watch_commands import watching

if TYPE_CHECKING:
    from rlreason.recipe import LoadedRecipe

app = typer.Typer(
    name="rlreason",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(reports)
app.add_typer(simulation)
app.add_typer(watching)
app.add_typer(reward, name="reward")
app.add_typer(bench, name="bench")
app.add_typer(export, name="export")
app.add_typer(cluster, name="cluster")
app.add_typer(jobs)


def main() -> None:
    """Entry point of the console script. Errors raised on purpose become one paragraph and an exit code."""
    try:
        app()
    except UserError as error:
        print(f"rlreason: {error}", file=sys.stderr)
        sys.exit(2)
    except RunFailed as error:
        print(f"rlreason: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Does reinforcement learning synthesise new reasoning after supervised fine-tuning, or amplify what was there?

    A recipe goes in, several training histories run side by side, and a comparative report comes out.

    \b
      rlreason doctor                    what this machine has
      rlreason plan quickstart           what the run will do
      rlreason run quickstart            do it
    """
    if version:
        print(f"rlreason {__version__}")
        raise typer.Exit


@app.command()
def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Where the run goes; default runs/RECIPE_NAME.")
    ] = None,
    allow_change: Annotated[
        bool, typer.Option("--allow-change", help="Resume although the recipe differs from the one the run began with.")
    ] = False,
    frozen: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Frozen rules to hold the run against; default RECIPE_NAME.frozen.json, if there."
        ),
    ] = None,
    keep_going: KeepGoing = False,
    as_json: Json = False,
) -> None:
    """Run a recipe, or go on with a run that was stopped, and write its report.

    \b
      rlreason run quickstart
      rlreason run quickstart --set stages.rl.updates=10 --folder runs/short
      rlreason run my_recipe.yaml --set resources.address=ray://head:10001
    """
    from rich.console import Console

    from rlreason.display import print_headline, print_json
    from rlreason.loggers import open_loggers
    from rlreason.progress import TerminalProgress
    from rlreason.recipe import load_recipe
    from rlreason.records.run_folder import RunFolder, read_json
    from rlreason.report import build_report
    from rlreason.stages.runner import run_recipe

    loaded = load_recipe(recipe, overrides or ())
    target = folder or Path("runs") / loaded.recipe.name
    missing: StagesMissing | None = None
    with open_loggers(loaded.recipe.loggers, RunFolder(target)) as loggers:
        try:
            with TerminalProgress(Console(stderr=True, quiet=as_json)) as terminal:
                progress = loggers.watching(terminal)
                run_recipe(
                    loaded,
                    target,
                    allow_change=allow_change,
                    progress=progress,
                    frozen=frozen,
                    keep_going=keep_going,
                )
        except StagesMissing as error:
            missing = error
        except KeyboardInterrupt:
            again = shlex.join(["rlreason", *sys.argv[1:]])
            print(f"\nrlreason: stopped; what was done is kept in {target}. To go on: {again}", file=sys.stderr)
            raise typer.Exit(130) from None
        page = build_report(RunFolder(target))
        summary = read_json(page.with_name("report.json"))
        for sentence in loggers.headline(summary):
            print(f"rlreason: {sentence}", file=sys.stderr)
    if as_json:
        print_json(summary)
    else:
        print_headline(summary, page)
    if missing:  # after the report of all that is there
        raise missing


@app.command()
def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Write down the rules of evaluation and verdict, and their hash.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where frozen rules go; default RECIPE_NAME.frozen.json beside the recipe."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="Size it for this model instead, such as qwen2.5-7b; nothing is loaded."),
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="Size it for that many GPUs, not this machine's.")] = None,
    gpu_memory: Annotated[
        float | None, typer.Option(min=1, metavar="GIB", help="Of each GPU, with --gpus; left out: 80.")
    ] = None,
    rates: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Estimate hours by these rates; on GPUs left out: assumed_h200."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a recipe will do: its stages, what the arms share, sizes, memory, devices, hours. Starts nothing.

    \b
      rlreason plan quickstart
      rlreason plan quickstart --model qwen2.5-7b --gpus 8 --gpu-memory 80
      rlreason plan complementary-qwen2.5-1.5b --gpus 1 --gpu-memory 141 --rates rates.json
      rlreason plan quickstart --set resources.learners=2 --json
      rlreason plan my_recipe.yaml --freeze
    """
    from dataclasses import replace

    from rlreason.display import print_json, print_note, print_renderable, print_table
    from rlreason.doctor import this_machine
    from rlreason.recipe import load_recipe
    from rlreason.recipe.describe import plan_json, render_plan
    from rlreason.recipe.known_models import find_shape
    from rlreason.recipe.layout import uses_gpus
    from rlreason.recipe.sizes import GIB
    from rlreason.simulate_commands import hours_of
    from rlreason.stages.binding import bind, estimate_engines
    from rlreason.stages.schedule import gates

    bound = bind(load_recipe(recipe, overrides or ()), may_lack_model=True)
    if freeze or output:
        _freeze(bound.loaded, output, as_json)
        return
    resources, machine = bound.recipe.resources, this_machine()
    if gpu_memory is not None and gpus is None:
        raise UserError(f"--gpu-memory {gpu_memory:g} is of the GPUs that --gpus counts; give both, or drop it")
    if gpus is not None:
        machine = replace(machine, gpus=gpus, gpu_memory_bytes=int((gpu_memory or 80) * GIB))
    here = machine if resources.address is None or gpus is not None else None
    shape = find_shape(model) if model else None
    known = None if here is None else here.gpus
    estimate = estimate_engines(bound, uses_gpus(resources, machine.gpus), gpus=known, shape=shape)
    hours = hours_of(bound, estimate, rates, known)
    if as_json:
        told = plan_json(bound.plan, bound.recipe, estimate, here)
        told |= {"model_absent": bound.absent_model is not None, "hours": hours and hours.as_json()}
        print_json({**told, "gates": {name: dict(needs) for name, needs in gates(bound.recipe, bound.tasks).items()}})
    else:
        print_renderable(render_plan(bound.plan, bound.recipe, estimate, here))
        if bound.absent_model is not None:
            print_note(f"{bound.recipe.model.path} is not here: sized by its name; ids of stages will be others")
        if hours is not None:
            from rlreason.simulate.show import render_hours

            print_renderable(render_hours(hours))
        for name, needs in gates(bound.recipe, bound.tasks).items():
            print_table((f"gate of {name}: cell", "unlocked once these are mastered"), needs)


def _freeze(loaded: LoadedRecipe, output: Path | None, as_json: bool) -> None:
    """Write the recipe's rules where they are not frozen yet; refuse where others are."""
    from rlreason.display import print_json
    from rlreason.recipe.freeze import freeze_to, frozen_path
    from rlreason.stages.manifest import now

    path = output or frozen_path(loaded)
    frozen = freeze_to(path, loaded.recipe, now())
    if as_json:
        print_json({"file": path, **frozen.model_dump()})
    else:
        print(f"{path}: rules frozen at {frozen.frozen}, hash {frozen.hash}")


@app.command()
def recipes(as_json: Json = False) -> None:
    """List the recipes that ship.

    \b
      rlreason recipes
    """
    from rlreason.display import print_json, print_table
    from rlreason.recipe.shipped import shipped_recipes

    rows = shipped_recipes()
    if as_json:
        print_json([{"name": name, "description": description} for name, description in rows])
    else:
        print_table(("recipe", "what it does"), rows)


@app.command()
def sample(
    source: TaskOrRecipe,
    task: TaskName = None,
    level: Annotated[str, typer.Option(help="The split to draw from, such as iid or zero_shot.")] = "train",
    cell: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help='Cells, such as "complementary/*"; default all. Repeatable.'),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many problems, taken from the cells in turn.")] = 3,
    parameters: Parameters = None,
    as_json: Json = False,
) -> None:
    """Print problems of a task with their gold derivations.

    \b
      rlreason sample quickstart --level zero_shot
      rlreason sample quickstart --set people=64 --cell "complementary/3"
    """
    from rlreason.display import print_json, print_problem, problem_json
    from rlreason.selection import cells_at, find_task
    from rlreason.tasks.sampling import sample as draw

    found = find_task(source, task, parameters or [])
    problems = draw(found, level, cells_at(found, level, cell or []), count)
    if as_json:
        print_json([problem_json(problem) for problem in problems])
        return
    for problem in problems:
        print_problem(problem)


@app.command()
def tasks(
    name: Annotated[str | None, typer.Argument(metavar="[TASK]", help="Show only this type, and all of it.")] = None,
    as_json: Json = False,
) -> None:
    """List the task types with their cells and levels, or show one: parameters, cells, what a guesser gets.

    \b
      rlreason tasks
      rlreason tasks complementary
    """
    from rlreason.display import print_json
    from rlreason.display_tasks import print_type, print_types
    from rlreason.tasks.listing import show_type
    from rlreason.tasks.registry import task_types

    types = task_types()
    if name is not None and name not in types:
        raise TaskError(one_of("task type", name, types))
    shown = [show_type(key, kind) for key, kind in types.items() if name in (None, key)]
    if as_json:
        told = [each.as_json() for each in shown]
        print_json(told if name is None else told[0])
    elif name is None:
        print_types(shown)
    else:
        print_type(shown[0])


@app.command()
def difficulty(
    source: TaskOrRecipe,
    model: Annotated[
        str | None, typer.Option(metavar="DIR", help="Hugging Face directory to ask; left out: nobody is asked.")
    ] = None,
    task: TaskName = None,
    level: Annotated[str, typer.Option(help="The split to ask, such as iid or zero_shot.")] = "iid",
    cell: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help='Cells, such as "complementary/*"; default all. Repeatable.'),
    ] = None,
    problems: Annotated[int, typer.Option(min=1, help="Problems a cell.")] = 64,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The model's budget of tokens.")] = 128,
    interpolation: Annotated[
        bool, typer.Option(help="Also fit interpolators to training problems: 1 to 10 s a cell.")
    ] = True,
    parameters: Parameters = None,
    as_json: Json = False,
) -> None:
    """Measure how hard a task's cells are: for a model, for a guesser, and for interpolation.

    \b
      rlreason difficulty quickstart --model recipes/models/tiny-base
      rlreason difficulty rules --set rule=rule90 --level zero_shot
      rlreason difficulty functions --no-interpolation --json
    """
    from rlreason.difficulty import measure
    from rlreason.display import print_difficulty, print_json
    from rlreason.recipe.validation import resolve_model_folder
    from rlreason.selection import cells_at, find_task

    found = find_task(source, task, parameters or [])
    measured = measure(
        found,
        level,
        cells_at(found, level, cell or []),
        model=resolve_model_folder(model, "--model", ()) if model else None,
        problems=problems,
        max_new_tokens=max_new_tokens,
        interpolation=interpolation,
    )
    if as_json:
        print_json([each.as_json() for each in measured])
    else:
        print_difficulty(measured)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show what this machine has for rlreason, and what each missing part costs.

    \b
      rlreason doctor
    """
    from dataclasses import asdict

    from rlreason.display import print_findings, print_json
    from rlreason.doctor import examine, lacking

    findings = examine()
    missing = lacking(findings)
    if as_json:
        print_json({"ok": not missing, "findings": [asdict(finding) for finding in findings]})
    else:
        print_findings(findings)
    if missing:
        raise typer.Exit(2)


@app.command()
def schema(
    of_report: Annotated[bool, typer.Option("--report", help="Print that of report.json instead.")] = False,
) -> None:
    """Print the JSON schema of recipes: every key, its type, default and meaning.

    \b
      rlreason schema > recipe.schema.json
      rlreason schema --report > report.schema.json
    """
    from rlreason.display import print_json

    if of_report:
        from rlreason.report.schema import published_schema

        print_json(published_schema())
        return
    from rlreason.recipe.schema import Recipe

    print_json(Recipe.model_json_schema())
