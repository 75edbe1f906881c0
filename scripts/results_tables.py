"""The tables of docs/results.md, from the runs' records: `python scripts/results_tables.py RUN... [--into FILE]`.

Of each run: what ran (command, commit, seeds, hardware, time), the share right of every arm at every level and probe,
the paired differences and the verdict. Every figure is the report's own; the rest of what a run says is in its report.

With `--into docs/results.md` the tables take the place of what stands there between `<!-- NAME -->` and
`<!-- /NAME -->`, NAME being the last part of the folder's: tables in a page are made, never typed. The run's report.md,
and the report's pictures that the page shows, are put into docs/results/NAME.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from rlreason.errors import RlreasonError, UserError
from rlreason.records import ManifestRecord, RunFolder
from rlreason.records.run_folder import write_text
from rlreason.report.render import Report, file_name, make_report, markdown_table, render
from rlreason.report.static_figures import draw
from rlreason.report.summary import Summary
from rlreason.report.tables import Table, duration

SECTIONS = {
    "levels": "Right answers",
    "seeds": "By seed",
    "probes": "Probes",
    "pass_at_k": "Samples",
    "paired": "Differences, in points",
    "verdict": "Verdict",
}
"""Section of the report -> what its tables are called where they have no title, or before it."""


def results(report: Report) -> str:
    """The Markdown of one run, without a heading."""
    parts = [what_ran(report.summary.manifest, time_taken(report.summary))]
    for name, title in SECTIONS.items():
        for table in report.tables[name]:
            titled = Table(table.headings, table.rows, f"{title}: {table.title}" if table.title else title)
            parts.append(markdown_table(titled))
    parts += [f"- Missing: {line}\n" for line in report.missing]
    return "\n".join(parts)


def what_ran(manifest: ManifestRecord, time: str) -> str:
    """A line that says which command, code and machine the figures come from."""
    commit = (manifest.git_commit or "not known")[:12] + (" with uncommitted changes" if manifest.git_dirty else "")
    seeds = ", ".join(map(str, manifest.seeds))
    # the kernel's full name says nothing of speed
    hardware = ", ".join(f"{name} {value}" for name, value in manifest.hardware.items() if name != "system")
    return f"`{manifest.command}`: commit {commit}; seeds {seeds}; {hardware}; {time}.\n"


def time_taken(summary: Summary) -> str:
    """From start to finish, and in stages: the two differ where a run was stopped for a while or joined from others."""
    stages = sum(stage.seconds or 0.0 for stage in summary.stages.values())
    return f"{duration(summary.wall_seconds)}, its stages {duration(stages)}"


def put_beside(page: Path, name: str, report: Report) -> str:
    """Put a run's report.md and pictures into a folder beside the page; the Markdown that shows them there."""
    render(report)
    folder = page.parent / page.stem / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(report.folder.report / "report.md", folder)
    where = f"{page.stem}/{name}"
    lines = [f"The whole report: [{where}/report.md]({where}/report.md).\n"]
    compared = [chart for chart in report.charts if chart.name.startswith("paired")]
    for chart in [each for each in report.charts if each.name == "levels"] + compared[-1:]:
        picture = file_name(chart.name)
        draw(chart, [folder / f"{picture}.svg"])
        lines.append(f"![{picture.replace('_', ' ')} of {name}]({where}/{picture}.svg)\n")
    return "\n".join(lines)


def put_into(page: str, name: str, tables: str) -> str:
    """The page with these tables between the marks of that name.

    Raises:
        UserError: the page does not have both marks once.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    found = re.findall(f"{re.escape(first)}\n.*?{re.escape(last)}", page, re.DOTALL)
    if len(found) != 1:
        raise UserError(f"the page has {len(found)} places from {first} to {last}, each on a line; give it one")
    return page.replace(found[0], f"{first}\n{tables}{last}")


def main(arguments: list[str]) -> int:
    """Print the tables, or put them into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--into", type=Path, metavar="FILE", help="a page with marks for each run")
    given = parser.parse_args(arguments)
    try:
        made = {path.resolve().name: make_report(RunFolder(path)) for path in given.runs}
        if given.into is None:
            print("\n".join(f"## {name}\n\n{results(report)}" for name, report in made.items()))
            return 0
        page = given.into.read_text(encoding="utf-8")
        for name in made:  # every place is looked for before a file is written
            put_into(page, name, "")
        for name, report in made.items():
            page = put_into(page, name, f"{results(report)}\n{put_beside(given.into, name, report)}")
        write_text(given.into, page)
    except (RlreasonError, OSError) as error:
        print(f"results_tables: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
