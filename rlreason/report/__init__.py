"""From a run's records to its report; imports no engine, no ray and no torch, so it can be rebuilt anywhere.

    records -> counts -> summary (levels, pairs, training) and sections -> tables, figures -> report.json, .md, .html

Tables and figures as files of their own are in `report.exports`, several runs in `report.index` and `report.compare`.
"""

from __future__ import annotations

from pathlib import Path

from rlreason.records import RunFolder

__all__ = ["build_report"]


def build_report(folder: RunFolder) -> Path:
    """Write the report of a run, finished or not, from its records alone.

    Returns:
        The path of report.html; report.json and report.md stand beside it.
    Raises:
        RecordsError: not a run's folder: plan or manifest is missing or malformed. Other records that cannot be read
            are named in the report, which then goes without them.
    """
    from rlreason.report.render import make_report, render  # statistics and plotting take a second to import

    return render(make_report(folder))
