"""The commands that read runs: `rlreason report`, `rlreason compare`, `rlreason index`; how is in `rlreason.report`.

As in `cli`, imports stand in the functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlreason.errors import UserError
from rlreason.options import Json

reports = typer.Typer()


@reports.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, finished or not.")],
    figures: Annotated[
        str | None, typer.Option(metavar="FORMATS", help="Also write every figure: svg, pdf, png, with commas.")
    ] = None,
    tables: Annotated[
        str | None,
        typer.Option(metavar="FORMATS", help="Also write every table: csv, parquet, latex, markdown, with commas."),
    ] = None,
    table: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only print this table, as Markdown, and write nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build the report of a run again, from its records alone.

    \b
      rlreason report runs/quickstart
      rlreason report runs/quickstart --figures svg,pdf --tables csv,latex
      rlreason report runs/quickstart --table levels
    """
    from rlreason.display import print_headline, print_json
    from rlreason.records.run_folder import RunFolder, read_json
    from rlreason.report.exports import export, find_table
    from rlreason.report.render import make_report, markdown_table, render

    if table and (figures or tables or as_json):
        raise UserError("--table prints one table and nothing else; leave --figures, --tables and --json out")
    made = make_report(RunFolder(folder))
    if table:
        print(markdown_table(find_table(made, table)), end="")
        return
    written = export(made, _formats(figures), _formats(tables))
    page = render(made)
    if as_json:
        print_json(read_json(page.with_name("report.json")))
        return
    print_headline(made.as_json(), page)
    for kind in dict.fromkeys(path.parent for path in written):
        print(f"{kind.name}: {sum(path.parent == kind for path in written)} files in {kind}")


@reports.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="The folders of two or more runs.")],
    against: Annotated[
        str | None,
        typer.Option(metavar="RUN/ARM", help="Compare all arms with this one; default the first arm of the first run."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write a page of it.")] = None,
    as_json: Json = False,
) -> None:
    """Join runs that were asked the same: all their arms, and how far each is from one. Others are refused.

    \b
      rlreason compare runs/controls runs/process
      rlreason compare runs/controls runs/process --against controls/sft_atomic --html both.html
    """
    from rlreason.display import print_json, print_report_tables
    from rlreason.report.compare import compare_runs, open_run
    from rlreason.report.compare_page import compared_tables, write_comparison

    compared = compare_runs([open_run(path) for path in folders], against)
    if html:
        write_comparison(compared, html)
    if as_json:
        print_json(compared.as_json())
        return
    found = compared_tables(compared)
    print_report_tables([*found["levels"], *found["paired"]])
    for line in compared.missing:
        print(f"missing: {line}")
    for line in compared.paired.not_compared:
        print(f"not compared: {line}")
    if html:
        print(f"page: {html}")


@reports.command()
def index(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that holds runs, at most three deep.")],
    as_json: Json = False,
) -> None:
    """Write a page over the runs in a folder, from their reports: index.html, in that folder.

    \b
      rlreason index runs
    """
    from rlreason.display import print_json, print_table
    from rlreason.report.index import index_runs, write_index

    page = write_index(folder)
    runs = index_runs(folder)
    if as_json:
        print_json({"page": page, "runs": [run.as_json() for run in runs]})
        return
    rows = [(run.path, run.recipe, run.started, run.verdict or run.problem) for run in runs]
    print_table(("run", "recipe", "started", "verdict"), rows)
    print(f"index: {page}")


def _formats(given: str | None) -> list[str]:
    """ "svg, pdf" -> ["svg", "pdf"], each once."""
    return list(dict.fromkeys(name.strip() for name in (given or "").split(",") if name.strip()))
