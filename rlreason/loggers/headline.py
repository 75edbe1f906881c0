"""The headline of a report, as loggers take it: a few numbers, and the verdicts in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def headline_of(report: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """("ARM/LEVEL" -> share of greedy answers right, a line a verdict) of a report.json; no verdicts: no text."""
    figures = {
        f"{arm}/{level}": float(found["pass_at_1"])
        for arm, told in report["arms"].items()
        for level, found in told.get("levels", {}).items()
    }
    verdicts = (report.get("verdict") or {}).get("verdicts", ())
    lines = [
        f"{each['arm']} against {each['base'] or 'no base'} on {each['level']}: {each['verdict']}" for each in verdicts
    ]
    return figures, "\n".join(lines)
