"""Arguments and options that several commands take, so that each has one spelling and one help text."""

from __future__ import annotations

from typing import Annotated

import typer

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A name from `rlreason recipes`, or a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one value, such as stages.rl.updates=10. Repeatable."),
]
Parameters = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a parameter of the task. Repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output instead of text.")]
KeepGoing = Annotated[
    bool,
    typer.Option(
        "--keep-going",
        help="Where a stage fails by its data or a plug-in, run all others, report them, then end with exit code 1.",
    ),
]
TaskOrRecipe = Annotated[
    str, typer.Argument(metavar="TASK|RECIPE", help="A task type from `rlreason tasks`, or a recipe that has tasks.")
]
TaskName = Annotated[str | None, typer.Option("--task", metavar="NAME", help="Which task, where a recipe has several.")]
