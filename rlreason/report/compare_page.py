"""What several runs look like side by side: tables for the terminal, and one page with the same tables and charts.

Which runs may stand side by side is decided in `report.compare`.
"""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rlreason.records import write_text
from rlreason.report.compare import ComparedRuns
from rlreason.report.figures import arm_styles, pass_at_k_charts
from rlreason.report.render import environment, script_json
from rlreason.report.tables import Cell, Table, at_k_table, estimate_cell, paired_tables


def compared_tables(runs: ComparedRuns) -> dict[str, list[Table]]:
    """Greedy answers right of all arms of all runs, pass@k on each level, and the differences to one arm."""
    levels = [level for level in runs.levels if any(level in arm.levels for arm in runs.arms.values())]
    rows = [
        (
            Cell(name, arm.title if arm.title not in ("", arm.arm) else "", arm=name),
            Cell(", ".join(map(str, arm.seeds)) or "none"),
            *(
                estimate_cell(arm.levels[level].pass_at_1) if level in arm.levels else Cell("not evaluated")
                for level in levels
            ),
        )
        for name, arm in runs.arms.items()
    ]
    return {
        "levels": [Table(("arm", "seeds", *levels), tuple(rows))],
        "pass_at_k": [_pass_at_k(runs, level) for level in levels],
        "paired": paired_tables(runs.levels, runs.paired.comparisons),
    }


def _pass_at_k(runs: ComparedRuns, level: str) -> Table:
    figures = {
        Cell(name, arm=name): arm.levels[level].pass_at_k for name, arm in runs.arms.items() if level in arm.levels
    }
    return at_k_table(figures, level)


def write_comparison(runs: ComparedRuns, page: Path) -> None:
    """Write the page: self-contained, as a report is."""
    styles = arm_styles(list(runs.arms))
    estimates = {
        level: {name: arm.levels[level].pass_at_k for name, arm in runs.arms.items() if level in arm.levels}
        for level in runs.levels
    }
    charts = pass_at_k_charts(estimates, styles)
    context = {
        "runs": runs,
        "tables": compared_tables(runs),
        "styles": styles,
        "charts": [(chart, script_json(chart.figure.to_json())) for chart in charts],
        "plotly": Markup(get_plotlyjs()) if charts else "",
    }
    write_text(page, environment(True).get_template("compare.html.j2").render(context))
