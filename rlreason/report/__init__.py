"""From a run's records to its report; imports no engine, no ray and no torch, so it can be rebuilt anywhere.

    records -> summary (levels, pairs, training) -> figures -> report.json, report.md, report.html

It states figures, and how far arms differ on the same problems. It gives no verdict on synthesis or amplification.
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
        RecordsError: not a run's folder, or a records file is malformed; names file and key or column.
    """
    from rlreason.report.render import render  # statistics and plotting take a second to import
    from rlreason.report.summary import summarise

    return render(folder, summarise(folder))
