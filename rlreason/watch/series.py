"""The metrics of one stage as columns that grow, one row an update.

Ten thousand updates of fifty metrics are four megabytes here. What the metrics mean is in `watch.view`.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any


class Series:
    """Metrics by update. An update that comes again, as after a resume, replaces itself and all that followed it."""

    def __init__(self) -> None:
        self.updates = array("q")
        self.ends = array("d")
        """When each update was written down, seconds since the epoch; NaN where the run did not say."""
        self.columns: dict[str, array[float]] = {}

    def __len__(self) -> int:
        return len(self.updates)

    def add(self, line: Mapping[str, Any]) -> None:
        """Take one line of metrics.jsonl; one without a number as "update" is passed over."""
        update = line.get("update")
        if not isinstance(update, int):
            return
        self._cut(bisect_left(self.updates, update))
        rows = len(self)
        self.updates.append(update)
        self.ends.append(_number(line.get("at")))
        for metric in line.keys() - self.columns.keys() - {"stage", "update", "at"}:
            self.columns[metric] = array("d", [math.nan]) * rows
        for metric, column in self.columns.items():
            column.append(_number(line.get(metric)))

    def newest(self, metric: str) -> float:
        """The metric's value in the newest update that has one; NaN where none has."""
        values = self.columns.get(metric, array("d"))
        return next((value for value in reversed(values) if math.isfinite(value)), math.nan)

    def thinned(self, metric: str, most: int) -> tuple[list[int], list[float | None]]:
        """(updates, values) of at most `most` points: means over equally many updates each, told at the last of them;
        None where no update of a point has a value."""
        step = max(1, -(-len(self) // most))
        values = self.columns[metric]
        starts = range(0, len(self), step)
        means = [_mean(values[start : start + step]) for start in starts]
        return [self.updates[min(start + step, len(self)) - 1] for start in starts], means

    def _cut(self, rows: int) -> None:
        del self.updates[rows:]
        for column in (self.ends, *self.columns.values()):
            del column[rows:]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _mean(values: array[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None
