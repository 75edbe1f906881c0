"""From the summary to the forms of the report: report.json for programs, report.md for a repository, report.html.

The page holds everything it needs, plotly's script included, and asks no network. All text from records is escaped by
the template engine, and the page's content policy lets nothing in from outside. What the figures say is decided in
`report.summary` and the parts of `report.sections`, worded in `report.tables` and drawn in `report.figures`; tables and
figures as files of their own are in `report.exports`.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rlreason.errors import RecordsError
from rlreason.records import RunFolder, write_json, write_text
from rlreason.report.browser import Derivations, collect_derivations, visible
from rlreason.report.figures import Chart, arm_styles, charts
from rlreason.report.lineage import lineage
from rlreason.report.provenance import commands, provenance_table, recipe_text
from rlreason.report.schema import REPORT_VERSION
from rlreason.report.sections import Section, build_sections
from rlreason.report.summary import Summary, summarise
from rlreason.report.tables import Table, duration, interval, percent, tables


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the forms are made from.

    Attributes:
        tables: name of the section -> its tables.
        sections: the parts beside the summary, by name.
        missing: what the report lacks, the summary's and the parts'.
    """

    folder: RunFolder
    summary: Summary
    tables: dict[str, list[Table]]
    charts: tuple[Chart, ...]
    sections: dict[str, Section]
    missing: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """report.json; `report.schema` describes it."""
        told = {key: value for section in self.sections.values() for key, value in section.told.items()}
        return {"report_version": REPORT_VERSION} | self.summary.as_json() | told | {"missing": list(self.missing)}

    def named_tables(self) -> dict[str, Table]:
        """Every table under a name of its own, "levels" or "pass_at_k-zero_shot", fit for a file."""
        found: dict[str, Table] = {}
        for section, parts in self.tables.items():
            for number, table in enumerate(parts, start=1):
                name = f"{section}-{file_name(table.title)}" if table.title else section
                found[name if name not in found else f"{name}-{number}"] = table
        return found


def make_report(folder: RunFolder) -> Report:
    """Read the run's records and make everything that the forms say.

    Raises:
        RecordsError: plan or manifest is missing or malformed; whatever else cannot be read is named in `missing`.
    """
    summary = summarise(folder)
    sections, missing = build_sections(folder, summary)
    added = {name: tables for section in sections.values() for name, tables in section.tables.items()}
    return Report(
        folder=folder,
        summary=summary,
        tables=tables(summary) | added | {"provenance": [provenance_table(summary)]},
        charts=(*charts(summary), *(chart for section in sections.values() for chart in section.charts)),
        sections=sections,
        missing=(*summary.missing, *missing),
    )


def render(report: Report) -> Path:
    """Write report.json, report.md and report.html into the run's report folder; returns the page's path."""
    folder, summary = report.folder, report.summary
    derivations, unread = _derivations(folder, summary)
    context = {
        "summary": summary,
        "manifest": summary.manifest,
        "missing": [*report.missing, *unread],
        "tables": report.tables,
        "sections": report.sections,
        "tree": lineage(summary.plan),
        "rebuild": shlex.join(["rlreason", "report", str(folder.path)]),
        "several_seeds": len(summary.manifest.seeds) > 1,
    }
    for_page = {
        "styles": arm_styles(list(summary.arms)),
        "derivations": derivations,
        "charts": [(chart, script_json(chart.figure.to_json())) for chart in report.charts],
        "plotly": Markup(get_plotlyjs()) if report.charts else "",
        "recipe": recipe_text(folder),
        "commands": commands(folder, report.named_tables()),
    }
    page = folder.report / "report.html"
    write_json(folder.report / "report.json", report.as_json() | {"missing": context["missing"]})
    write_text(folder.report / "report.md", environment(False).get_template("report.md.j2").render(context))
    write_text(page, environment(True).get_template("report.html.j2").render(context | for_page))
    return page


def _derivations(folder: RunFolder, summary: Summary) -> tuple[Derivations, list[str]]:
    try:
        return collect_derivations(folder, summary.plan, summary.counts.table), []
    except RecordsError as error:
        return Derivations((), 0, 0), [f"the derivations to browse could not be read: {error}"]


@functools.cache
def environment(autoescape: bool) -> jinja2.Environment:
    """The templates' engine, made once: to compile them is a seventh of a report; `autoescape` for pages."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rlreason.report"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Any] = {"percent": percent, "interval": interval, "duration": duration, "visible": visible}
    environment.filters |= {**filters, "inline": markdown_inline, "slug": file_name}
    return environment


def markdown_table(table: Table) -> str:
    """A table in Markdown, with its title."""
    template = environment(False).from_string('{% from "table.md.j2" import show %}{{ show(table) }}')
    return template.render(table=table).strip() + "\n"


def script_json(text: str) -> Markup:
    """JSON that may stand inside a script element: no character in it can end the element or open a comment."""
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def markdown_inline(value: object) -> str:
    """Text that stands in a Markdown table or line as it is: one line, nothing in it read as markup."""
    line = " ".join(visible(str(value)).split())
    return re.sub(r"([\\`*\[\]|<>]|(?<!\w)_|_(?!\w))", r"\\\1", line)  # an underscore inside a word is only that


def file_name(title: str) -> str:
    """A title as part of a file's name: lower-case words joined by "_"."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or "table"
