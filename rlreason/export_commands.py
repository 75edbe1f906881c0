"""The commands of `rlreason export`: tasks written out for other people's tools; how is in `rlreason.export`.

As in `cli`, imports stand in the functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlreason.options import Parameters, TaskName, TaskOrRecipe

export = typer.Typer(no_args_is_help=True, help="Write a task out for other people's tools.")


@export.callback()
def group() -> None:
    """Keeps `verifiers` a word of the command while it is the only one."""


@export.command("verifiers")
def export_verifiers_command(
    source: TaskOrRecipe,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where the package goes.")],
    task: TaskName = None,
    name: Annotated[str | None, typer.Option(help="Name of the package; default rlreason-TASK.")] = None,
    train_rows: Annotated[int, typer.Option(min=1, help="Problems that level train serves by default.")] = 1000,
    test_rows: Annotated[int, typer.Option(min=1, help="Problems that each other level serves by default.")] = 200,
    parameters: Parameters = None,
) -> None:
    """Write a task as an environment package for the verifiers library: problems as rows, the check as rewards.

    \b
      rlreason export verifiers lookup --output exported/lookup
      rlreason export verifiers tail --set algorithm=lcs --name tail-lcs --output exported/tail-lcs
      rlreason export verifiers quickstart --task people --output exported/people --test-rows 500
    """
    from rlreason.errors import TaskError
    from rlreason.export.verifiers_package import write_package
    from rlreason.selection import cells_at, find_task

    found = find_task(source, task, parameters or [])
    cells = {}
    for level in found.levels:
        try:
            cells[level] = cells_at(found, level, [])
        except TaskError:  # a level that these parameters leave without problems is not served
            continue
    folder = write_package(found, name, output, cells, train_rows, test_rows)
    (package,) = (path.parent.name for path in folder.glob("*/__init__.py"))
    print(f"wrote {folder}\n\nnext:")
    print(f"  pip install {folder}")
    print(f"  vf-eval {package.replace('_', '-')} -n 10 -m MODEL --client.base-url URL --no-push")
