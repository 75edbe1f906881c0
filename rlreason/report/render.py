"""From the summary to the three forms: report.json for programs, report.md for a repository, report.html to read.

The page holds everything it needs, plotly's script included, and asks no network. All text from records is escaped by
the template engine, and the page's content policy lets nothing in from outside. What the figures say is decided in
`report.summary`, worded in `report.tables` and drawn in `report.figures`.
"""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rlreason.records import RunFolder, write_json, write_text
from rlreason.report.curricula import cell_colors, curriculum_charts, curriculum_table, summarise_curricula
from rlreason.report.examples import collect_examples
from rlreason.report.figures import arm_styles, charts
from rlreason.report.ledger import budget_tables, summarise_budgets
from rlreason.report.lineage import lineage
from rlreason.report.reward_tables import reward_tables
from rlreason.report.summary import Summary
from rlreason.report.tables import duration, interval, percent, tables


def render(folder: RunFolder, summary: Summary) -> Path:
    """Write report.json, report.md and report.html into the run's report folder; returns the page's path."""
    curricula = summarise_curricula(folder, summary)
    budgets = summarise_budgets(folder, summary.plan)
    context = {
        "summary": summary,
        "manifest": summary.manifest,
        "tables": tables(summary)
        | reward_tables(summary)
        | {"curricula": curriculum_table(curricula)}
        | {"budgets": budget_tables(budgets, summary)},
        "tree": lineage(summary.plan),
        "rebuild": f"rlreason report {folder.path}",
        "several_seeds": len(summary.manifest.seeds) > 1,
    }
    drawn = [*charts(summary), *curriculum_charts(curricula)]
    for_page = {
        "styles": arm_styles(list(summary.arms)),
        "cell_colors": cell_colors(curricula),
        "examples": collect_examples(folder, summary.plan),
        "charts": [(chart, _script_json(chart.figure.to_json())) for chart in drawn],
        "plotly": Markup(get_plotlyjs()) if drawn else "",
    }
    page = folder.report / "report.html"
    told = {"curricula": {each.stage: each.as_json() for each in curricula}, "ledger": budgets.as_json()}
    write_json(folder.report / "report.json", summary.as_json() | told)
    write_text(folder.report / "report.md", _environment(False).get_template("report.md.j2").render(context))
    write_text(page, _environment(True).get_template("report.html.j2").render(context | for_page))
    return page


def _environment(autoescape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rlreason.report"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "interval": interval, "duration": duration, "inline": markdown_inline}
    return environment


def _script_json(text: str) -> Markup:
    """JSON that may stand inside a script element: no character in it can end the element or open a comment."""
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def markdown_inline(value: object) -> str:
    """Text that stands in a Markdown table or line as it is: one line, nothing in it read as markup."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*\[\]|<>]|(?<!\w)_|_(?!\w))", r"\\\1", line)  # an underscore inside a word is only that
