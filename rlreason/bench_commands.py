"""The commands of `rlreason bench`; what they measure is in `rlreason.bench`.

As in `cli`, imports stand in the functions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rlreason.errors import UserError, one_of
from rlreason.options import Json, Overrides, Parameters, TaskName

bench = typer.Typer(no_args_is_help=True)


def _print(figures: dict[str, Any], as_json: bool, render: Callable[[dict[str, Any]], Any] | None = None) -> None:
    """Figures as JSON, or for people: as `render` draws them, or plainly."""
    from rlreason.display import print_figures, print_json, print_renderable

    if as_json:
        print_json(figures)
    elif render is not None:
        print_renderable(render(figures))
    else:
        print_figures(figures)


def _bench_rl(as_json: bool, *arguments: Any) -> None:
    """`bench.rl.bench_rl`, printed; Ctrl-C ends everything that it started."""
    from rlreason.bench.rl import bench_rl
    from rlreason.bench.table import render

    try:
        figures = bench_rl(*arguments)
    except KeyboardInterrupt:
        print("\nrlreason: stopped; every process that was started has ended", file=sys.stderr)
        raise typer.Exit(130) from None
    _print(figures, as_json, render)


def _peer(name: str) -> str | None:
    if name not in ("trl", "none"):
        raise UserError(one_of("--peer", name, ("trl", "none")))
    return None if name == "none" else name


def _counts(option: str, text: str) -> list[int]:
    """Whole numbers from 1, between commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UserError(f"{option} {text!r} is not a list of whole numbers from 1 such as 1,2")
    return list(dict.fromkeys(int(part) for part in parts))


Peer = Annotated[str, typer.Option(help="Measure this beside ours, alternating: trl or none.")]


@bench.callback(invoke_without_command=True)
def bench_smoke(
    context: typer.Context,
    smoke: Annotated[bool, typer.Option("--smoke", help="Only see that the benchmark works: seconds a side.")] = False,
    peer: Peer = "trl",
    as_json: Json = False,
) -> None:
    """Measure speed on this machine.

    \b
      rlreason bench --smoke
      rlreason bench rl --peer trl
    """
    if context.invoked_subcommand is not None:
        return
    if not smoke:
        raise UserError("say what to measure, such as `rlreason bench rl`, or give --smoke; `rlreason bench --help`")
    from rlreason.bench.workload import SMOKE, Setup

    _bench_rl(as_json, SMOKE, [Setup("torch")], _peer(peer), 2)


@bench.command("rl")
def bench_rl_command(
    peer: Peer = "none",
    updates: Annotated[int, typer.Option(min=1, help="Measured updates of each.")] = 5,
    size: Annotated[str, typer.Option(help="Parameters of the model: 0.4M, 4M or 30M.")] = "4M",
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="vllm (with deepspeed, on Ray) or torch (in one process). Repeatable; all installed where left out."
        ),
    ] = None,
    prompts: Annotated[
        int | None, typer.Option(min=1, help="Prompts an update. Left out: as many as take 5 to 10 seconds.")
    ] = None,
    group: Annotated[int, typer.Option(min=2, help="Completions a prompt.")] = 8,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of every prompt.")] = 32,
    completion_tokens: Annotated[int, typer.Option(min=2, help="Tokens of every completion.")] = 48,
    rollout_workers: Annotated[
        str, typer.Option(metavar="N,..", help="Rollout engines (vllm alone); a side for each count.")
    ] = "1",
    learner_ranks: Annotated[
        str, typer.Option(metavar="N,..", help="Ranks of the learner (vllm alone); a side for each count.")
    ] = "1",
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Measure reinforcement-learning updates: rates of each engine and of a peer in one run, and the machine's floor.

    \b
      rlreason bench rl
      rlreason bench rl --peer trl --json
      rlreason bench rl --rollout-workers 1,2 --learner-ranks 1,2
      rlreason bench rl --engine vllm --size 30M --prompts 8 --set resources.zero_stage=2
    """
    wanted = _peer(peer)
    workers, ranks = _counts("--rollout-workers", rollout_workers), _counts("--learner-ranks", learner_ranks)
    from rlreason.bench.rl import setups_of
    from rlreason.bench.workload import Workload

    workload = Workload(size, prompts, group, prompt_tokens, completion_tokens)
    _bench_rl(as_json, workload, setups_of(engine, workers, ranks), wanted, updates, overrides or ())


@bench.command("learner")
def bench_learner_command(
    updates: Annotated[int, typer.Option(min=1, help="Measured pairs of updates.")] = 10,
    size: Annotated[str, typer.Option(help="Parameters of the model: 0.4M, 4M or 30M.")] = "4M",
    sequences: Annotated[int, typer.Option(min=1, help="Sequences an update.")] = 256,
    as_json: Json = False,
) -> None:
    """Measure the learner: what DeepSpeed costs beside a bare torch loop, what is padded, what a vocabulary takes.

    \b
      rlreason bench learner
      rlreason bench learner --size 0.4M --json
    """
    from rlreason.bench.learner import bench_learner
    from rlreason.bench.workload import SIZES

    if size not in SIZES:
        raise UserError(one_of("--size", size, SIZES))
    figures = bench_learner(updates, size, sequences)
    _print(figures, as_json)


@bench.command("tasks")
def bench_tasks_command(
    source: Annotated[
        str | None, typer.Argument(metavar="[TASK|RECIPE]", help="Only this task type, or this recipe's task.")
    ] = None,
    task: TaskName = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of the process for each rate.")] = 0.5,
    parameters: Parameters = None,
    cell: Annotated[list[str] | None, typer.Option(help="Only these cells (patterns); all where left out.")] = None,
    stream: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Make N problems of one task and say how memory grew.")
    ] = None,
    at_paper_scale: Annotated[
        bool, typer.Option("--paper-scale", help="Measure the published world of 10,000 people instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure how many problems a second tasks make, and how many completions a second they check, on one core.

    \b
      rlreason bench tasks
      rlreason bench tasks tail --set algorithm=lcs --cell "*/s"
      rlreason bench tasks rules --set rule=modular --stream 1000000
      rlreason bench tasks --paper-scale --seconds 10 --json
    """
    from rlreason.bench.tasks import bench_tasks
    from rlreason.display import print_json
    from rlreason.display_tasks import print_rates
    from rlreason.selection import find_task
    from rlreason.tasks.sampling import measure_rate, measure_stream, paper_scale

    if source is None and not at_paper_scale:
        for option, given in (("--task", task), ("--set", parameters), ("--cell", cell), ("--stream", stream)):
            if given is not None:
                raise UserError(f"{option} is about one task; say which: rlreason bench tasks TASK {option} ...")
        rates = bench_tasks(seconds)
        if as_json:
            print_json(rates)
        else:
            print_rates(rates)
        return
    measured = paper_scale() if at_paper_scale else find_task(str(source), task, parameters or [])
    if stream is None:
        figures = measure_rate(measured, seconds, cell or ("*",))
    else:
        names = [each.name for each in measured.match_cells(cell or ("*",), "--cell")]
        figures = measure_stream(measured, names, stream)
    _print(figures, as_json)


@bench.command("rewards")
def bench_rewards_command(
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each rate is measured.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Measure scoring: derivations checked a second, what the worker processes cost, recovery when all of them hang.

    \b
      rlreason bench rewards
      rlreason bench rewards --seconds 10 --json
    """
    from rlreason.bench.rewards import bench_rewards
    from rlreason.bench.rewards_table import render

    figures = bench_rewards(seconds)
    _print(figures, as_json, render)


@bench.command("verdict")
def bench_verdict_command(
    cases: Annotated[int, typer.Option(min=10, help="Made-up evaluations of each kind.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation.")] = 0,
    as_json: Json = False,
) -> None:
    """Try the report's intervals and verdicts on made-up arms whose truth is known.

    \b
      rlreason bench verdict
      rlreason bench verdict --cases 2000 --json
    """
    from rlreason.bench.verdict import bench_verdict, render

    figures = bench_verdict(cases, seed)
    _print(figures, as_json, render)


@bench.command("curriculum")
def bench_curriculum_command(
    learner: Annotated[list[str] | None, typer.Option(help="A synthetic learner; all where left out.")] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="A policy; all where left out. The oracle always runs.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds, run side by side.")] = 200,
    updates: Annotated[int, typer.Option(min=1, help="Updates a seed may take.")] = 150,
    floor: Annotated[float, typer.Option(min=0, max=1, help="Share of the draws spread evenly over the arms.")] = 0.05,
    sweep: Annotated[bool, typer.Option("--sweep", help="Also vary SEC's alpha and tau.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write heat maps of what was drawn.")] = None,
    as_json: Json = False,
) -> None:
    """Compare curriculum policies on synthetic learners: updates to mastery, and regret against an oracle.

    \b
      rlreason bench curriculum
      rlreason bench curriculum --learner prerequisites --policy sec --policy gate+sec --plot draws.html
      rlreason bench curriculum --sweep --json
    """
    from rlreason.bench.curriculum import bench_curriculum, sweep_sec
    from rlreason.bench.curriculum_table import render

    if plot:
        from rlreason.bench.curriculum_plot import check_plot_path, write_plot

        check_plot_path(plot)
    figures = bench_curriculum(learner or (), policy or (), seeds=seeds, updates=updates, floor=floor)
    if sweep:
        figures["sweep"] = sweep_sec(learner or (), seeds=seeds, updates=updates, floor=floor)
    if plot:
        write_plot(figures, plot)
    _print(figures, as_json, render)


@bench.command("report")
def bench_report_command(
    rows: Annotated[int, typer.Option(min=1, help="Completions of the made-up run.")] = 10_000_000,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the run here; left out: it is removed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how long a report takes behind many completions, and how much memory.

    \b
      rlreason bench report
      rlreason bench report --rows 1000000 --json
    """
    from rlreason.bench.report import bench_report

    figures = bench_report(rows, folder)
    _print(figures, as_json)
