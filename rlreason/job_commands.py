"""`rlreason submit`, `status`, `logs` and `stop`: a recipe's run as a job on a Ray cluster that is there.

What they do is in `rlreason.cluster.jobs`; files that make a cluster are `cluster_commands`. As in `cli`, imports stand
in the functions.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rlreason.options import Json, KeepGoing, Overrides, RecipeName

if TYPE_CHECKING:
    from rlreason.cluster.jobs import Job, Jobs

jobs = typer.Typer(no_args_is_help=True)

Address = Annotated[
    str, typer.Option(metavar="URL", envvar="RLREASON_ADDRESS", help="The cluster's dashboard: http://HOST:8265.")
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="As `submit` and `status` print it.")]
HERE = "http://127.0.0.1:8265"


@jobs.command()
def submit(
    recipe: RecipeName,
    storage: Annotated[
        str,
        typer.Option(metavar="DIR", help="Folder that all nodes see at this path; the run goes to DIR/RECIPE_NAME."),
    ],
    address: Address = HERE,
    overrides: Overrides = None,
    keep_going: KeepGoing = False,
    follow: Annotated[bool, typer.Option("--follow", help="Print its log until it ends, with its exit code.")] = False,
    as_json: Json = False,
) -> None:
    """Run a recipe on a Ray cluster, as a job that stays when this machine goes.

    The recipe and the files beside it travel; rlreason does not, and must be there in the same version. Submitting
    again with the same storage goes on with the run where it stopped.

    \b
      rlreason submit quickstart --storage /mnt/runs
      rlreason submit my_recipe.yaml --storage /mnt/runs --address http://127.0.0.1:8265 --follow
    """
    from rlreason.cluster.travel import is_known_there_alone
    from rlreason.display import print_json
    from rlreason.recipe import load_recipe
    from rlreason.stages.binding import bind

    loaded = load_recipe(recipe, overrides or ())
    if not is_known_there_alone(loaded, storage):  # a model that only the cluster sees is checked there
        bind(loaded)
    cluster = _jobs(address)
    job = cluster.submit(loaded, storage, keep_going=keep_going)
    if as_json:
        print_json(asdict(job))
    else:
        print(f"{job.name} runs on {cluster.address}, in {job.folder}; next:")
        for command in ("status", "logs --follow", "stop"):
            print(f"  rlreason {command} {job.name} --address {cluster.address}")
    if follow:
        _follow(cluster, job.name)


@jobs.command()
def status(
    name: Annotated[str | None, typer.Argument(metavar="[JOB]", help="Only this one.")] = None,
    address: Address = HERE,
    as_json: Json = False,
) -> None:
    """List the jobs that were submitted to a cluster, newest first, or show one.

    \b
      rlreason status
      rlreason status quickstart-20260101-120000 --json
    """
    from rlreason.display import print_json, print_table

    cluster = _jobs(address)
    found = [cluster.find(name)] if name else cluster.listed()
    if as_json:
        print_json([asdict(job) for job in found] if name is None else asdict(found[0]))
    else:
        rows = [(job.name, job.status.lower(), _seconds(job), job.folder, job.message) for job in found]
        print_table(("job", "status", "ran", "folder", "says"), rows)


@jobs.command()
def logs(
    name: JobName,
    address: Address = HERE,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until it ends, with its exit code.")] = False,
) -> None:
    """Print what a job printed.

    \b
      rlreason logs quickstart-20260101-120000 --follow
    """
    cluster = _jobs(address)
    if follow:
        _follow(cluster, name)
    else:
        print(cluster.logs(name), end="")


@jobs.command()
def stop(name: JobName, address: Address = HERE) -> None:
    """Stop a job as Ctrl-C would: what is done is kept, and submitting the recipe again goes on with it.

    \b
      rlreason stop quickstart-20260101-120000
    """
    job = _jobs(address).stop(name)
    print(f"{job.name}: {job.status.lower()}")


def _jobs(address: str) -> Jobs:
    from rlreason.cluster.jobs import Jobs

    return Jobs(address)


def _follow(cluster: Jobs, name: str) -> None:
    """Print a job's log until it ends; exit code 1 where it did not end well."""

    async def show() -> None:
        async for lines in cluster.follow(name):
            print(lines, end="", flush=True)

    asyncio.run(show())
    job = cluster.find(name)
    if job.status != "SUCCEEDED":
        raise typer.Exit(1)


def _seconds(job: Job) -> str:
    import time

    return "" if not job.started else f"{(job.ended or time.time()) - job.started:.0f} s"
