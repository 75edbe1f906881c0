"""What a part of the report adds to all of its forms, and the parts there are: the list to extend for a new one.

A part is a function (run's folder, summary) -> `Section`. One whose records cannot be read is named among what is
missing, and the rest of the report stands. The first sections (levels, pairs, pass@k, training) come from the summary
itself and are in `report.tables` and `report.figures`.

To add one: write its function, list it in `BUILDERS`, and let templates/NAME.j2 (the page) draw `sections.NAME`. Tables
reach Markdown, LaTeX, CSV and Parquet, charts the page and the exported figures, `told` report.json, without more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlreason.errors import RecordsError
from rlreason.records import RunFolder, read_incidents
from rlreason.report.curricula import cell_colors, curriculum_charts, curriculum_table, summarise_curricula
from rlreason.report.errors import summarise_errors
from rlreason.report.errors_figures import error_charts, kind_colors, way_colors
from rlreason.report.errors_tables import PARTS, error_tables
from rlreason.report.faults import fault_table, told
from rlreason.report.figures import Chart, arm_styles
from rlreason.report.ledger import budget_tables, summarise_budgets
from rlreason.report.pipeline import COLORS, pipeline_charts, pipeline_table, summarise_pipelines
from rlreason.report.provenance import incident_table
from rlreason.report.reward_tables import reward_tables
from rlreason.report.summary import Summary
from rlreason.report.tables import Table
from rlreason.report.verdict import judge
from rlreason.report.verdict_figures import verdict_charts
from rlreason.report.verdict_tables import ANSWERS, verdict_tables


@dataclass(frozen=True, slots=True)
class Section:
    """What one part adds.

    Attributes:
        told: entry of report.json -> its value.
        tables: name -> tables; the name is the start of their files' names, and the Markdown's key.
        charts: each with the section of the page that it stands in.
        shown: whatever else its template reads, as `sections.NAME.shown.KEY`.
    """

    told: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, list[Table]] = field(default_factory=dict)
    charts: Sequence[Chart] = ()
    shown: Mapping[str, Any] = field(default_factory=dict)


def _verdict(folder: RunFolder, summary: Summary) -> Section:
    verdicts = judge(folder, summary)
    return Section(
        told={"verdict": verdicts.as_json()},
        tables=verdict_tables(verdicts),
        charts=verdict_charts(verdicts, summary),
        shown={"judgements": verdicts.judgements, "registration": verdicts.registration, "answers": ANSWERS},
    )


def _errors(folder: RunFolder, summary: Summary) -> Section:
    errors = summarise_errors(folder, summary.plan)
    if errors is None:
        return Section()
    definitions = {name: part.reading for name, part in PARTS.items()}
    colors = {"kind_colors": kind_colors(errors), "way_colors": way_colors(errors)}
    return Section(
        told={"errors": errors.as_json() | {"definitions": definitions}},
        tables=error_tables(errors),
        charts=error_charts(errors, arm_styles(list(summary.arms))),
        shown={"parts": PARTS, "not_told": errors.not_told, **colors},
    )


def _curricula(folder: RunFolder, summary: Summary) -> Section:
    curricula = summarise_curricula(folder, summary)
    return Section(
        told={"curricula": {each.stage: each.as_json() for each in curricula}},
        tables={"curricula": curriculum_table(curricula)},
        charts=curriculum_charts(curricula),
        shown={"colors": cell_colors(curricula)},
    )


def _rewards(folder: RunFolder, summary: Summary) -> Section:
    return Section(tables=reward_tables(summary))


def _budgets(folder: RunFolder, summary: Summary) -> Section:
    budgets = summarise_budgets(folder, summary.plan)
    return Section(told={"ledger": budgets.as_json()}, tables={"budgets": budget_tables(budgets, summary)})


def _pipeline(folder: RunFolder, summary: Summary) -> Section:
    pipelines, timeline = summarise_pipelines(folder, summary)
    if not pipelines:
        return Section()
    return Section(
        told={"pipelines": {each.stage: each.as_json() for each in pipelines}},
        tables={"pipeline": pipeline_table(pipelines)},
        charts=pipeline_charts(pipelines, timeline),
        shown={"colors": COLORS},
    )


def _incidents(folder: RunFolder, summary: Summary) -> Section:
    broken = read_incidents(folder)
    return Section(
        told={"incidents": told(broken)},
        tables={"incidents": incident_table(summary), "faults": fault_table(broken)},
    )


BUILDERS: dict[str, Callable[[RunFolder, Summary], Section]] = {
    "verdict": _verdict,
    "errors": _errors,
    "curricula": _curricula,
    "rewards": _rewards,
    "budgets": _budgets,
    "pipeline": _pipeline,
    "incidents": _incidents,
}
"""Every part by name, in the order in which they are made."""


def build_sections(folder: RunFolder, summary: Summary) -> tuple[dict[str, Section], list[str]]:
    """Every part that can be made, and in words those that cannot."""
    sections, missing = {}, []
    for name, build in BUILDERS.items():
        try:
            sections[name] = build(folder, summary)
        except RecordsError as error:
            missing.append(f"the section {name!r} could not be made: {error}")
    return sections, missing
