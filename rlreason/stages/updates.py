"""The updates table of a training stage: metrics come in one update at a time and leave in Parquet parts."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping

from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import drop_parts_from, write_part


class UpdateLog:
    """Collects metrics and writes a part every `flush_every` updates, numbered by its last update. They are counted
    from `before`, the updates of the stage that another log wrote, as the states that a learner saves are.

    A resumed stage reports again from the update after its state; the parts from there on are dropped first, so the
    table holds every update once.
    """

    def __init__(self, folder: RunFolder, stage: str, flush_every: int, before: int = 0) -> None:
        self._folder, self._stage, self._flush_every, self._before = folder, stage, flush_every, before
        self._rows: dict[str, list[object]] = {"stage": [], "update": [], "metric": [], "value": []}
        self._started = False

    def add(self, update: int, metrics: Mapping[str, float]) -> None:
        """Record an update's metrics; also appended to the run's metrics.jsonl for whoever watches it."""
        if not self._started:
            drop_parts_from(self._folder, "updates", self._stage, update)
            self._started = True
        for metric, value in metrics.items():
            for column, cell in zip(self._rows, (self._stage, update, metric, float(value)), strict=True):
                self._rows[column].append(cell)
        told = {metric: None if math.isnan(value) else value for metric, value in metrics.items()}  # JSON has no NaN
        with self._folder.metrics_path.open("a") as stream:
            stream.write(json.dumps({"stage": self._stage, "update": update, "at": time.time(), **told}) + "\n")
        if (update - self._before) % self._flush_every == 0:
            self.flush(update)

    def flush(self, update: int) -> None:
        """Write what has collected, as the part that ends with `update`."""
        if self._rows["stage"]:
            write_part(self._folder, "updates", self._stage, update, self._rows)
            for column in self._rows.values():
                column.clear()
