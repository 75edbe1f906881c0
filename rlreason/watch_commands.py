"""The commands that follow a run: `rlreason watch` and `rlreason trace`; how is in `rlreason.watch`.

As in `cli`, imports stand in the functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlreason.errors import RecordsError, UserError, one_of
from rlreason.options import Json

if TYPE_CHECKING:
    from rlreason.watch.feed import Feed

watching = typer.Typer()

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run: going on, finished, or to begin.")]


@watching.command()
def watch(
    folder: RunPath,
    web: Annotated[bool, typer.Option("--web", help="Serve a page on this machine, and print its address.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0: one that is free.")] = 0,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw on the terminal; this is the default.")] = False,
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Look at this one, by identity or name; default: at work.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print how it stands and end; so does a pipe.")] = False,
    as_json: Json = False,
) -> None:
    """Watch a run: rewards, lengths, mismatch, curriculum, incidents, derivations. Reads its files only; Ctrl-C leaves.

    \b
      rlreason watch runs/quickstart
      rlreason watch runs/quickstart --web
      rlreason watch runs/quickstart --json
    """
    from rich.console import Console

    from rlreason.display import print_json
    from rlreason.records import RunFolder
    from rlreason.watch.feed import Feed

    if web and (terminal or once or as_json or stage):
        raise UserError(
            "--web serves a page, and stages are chosen on it; leave --terminal, --once, --stage, --json out"
        )
    if port and not web:
        raise UserError(f"--port {port} is the page's: say --web too, or leave it out")
    feed = Feed(RunFolder(folder))
    if web:
        from rlreason.watch.web import serve

        serve(feed, port, lambda address: print(f"{address}\nCtrl-C ends it; the run goes on without it", flush=True))
        return
    from rlreason.watch.terminal import draw, keep_drawing

    feed.look()
    focus = None if stage is None else _identity(feed, stage)
    console = Console()
    if as_json:
        print_json(feed.view(focus).as_json())
    elif once or not console.is_terminal:
        console.print(draw(feed.view(focus), console.width))
    else:
        try:
            keep_drawing(feed, console, focus)
        except KeyboardInterrupt:
            return


@watching.command()
def trace(
    folder: RunPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the trace goes.")] = Path(
        "trace.json"
    ),
) -> None:
    """Write who did what when in a run as a Chrome trace, for Perfetto and chrome://tracing.

    \b
      rlreason trace runs/quickstart -o trace.json
    """
    from rlreason.records import RunFolder
    from rlreason.watch.feed import Feed
    from rlreason.watch.trace import write_trace

    updates = write_trace(Feed(RunFolder(folder)), output)
    print(f"{output}: the phases of {updates} updates")


def _identity(feed: Feed, given: str) -> str:
    """The stage meant by an identity, or by a name of the recipe: of those the one begun last.

    Raises:
        RecordsError: the run has no such stage.
    """
    stages = feed.view().stages
    named = sorted((stage for stage in stages if given in (stage.id, stage.name)), key=lambda stage: stage.touched)
    if not named:
        raise RecordsError(one_of("stage", given, dict.fromkeys(stage.name for stage in stages), str(feed.folder.path)))
    return named[-1].id
