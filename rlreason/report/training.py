"""What happened while the stages trained: curves by update, before and after, and where an update's time went.

Metrics are open-ended: whatever a stage recorded is kept; the report only prefers some. Evaluations are in
`report.levels`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

PHASES = ("seconds_generate", "seconds_score", "seconds_learn", "seconds_sync", "seconds_other")
"""The phases of an RL update, in the order they happen; a phase not named here is shown after them."""
ON_POLICY = ("rl", "distill")
"""Types of the stages that learn from rollouts as they come."""


@dataclass(frozen=True, slots=True)
class Curves:
    """The metrics of one training stage.

    Attributes:
        stage: identity.
        label: the stages from the base model to it, "atomic → rl".
        type: "sft", "rl", "pretrain" and so on.
        seed: of the run.
        arm: the arm whose colour it takes: the one that ends in this stage, else the first that contains it.
        metrics: index update (from 1), one float column a metric, NaN where not recorded.
    """

    stage: str
    label: str
    type: str
    seed: int
    arm: str
    metrics: pd.DataFrame

    @property
    def updates(self) -> int:
        """Updates recorded."""
        return len(self.metrics)

    def before_after(self, metric: str) -> tuple[float, float] | None:
        """Means over the first and the last tenth of the updates (at least one each), None where never recorded."""
        if metric not in self.metrics or self.metrics[metric].isna().all():
            return None
        values = self.metrics[metric].dropna()
        window = max(1, len(values) // 10)
        return float(values.iloc[:window].mean()), float(values.iloc[-window:].mean())

    def phases(self) -> dict[str, float]:
        """Mean seconds an update by phase ("generate", "score", ...); empty where none was recorded."""
        recorded = [name for name in self.metrics if str(name).startswith("seconds_")]
        ordered = [name for name in PHASES if name in recorded] + [name for name in recorded if name not in PHASES]
        means = {str(name).removeprefix("seconds_"): float(self.metrics[name].mean()) for name in ordered}
        return {name: seconds for name, seconds in means.items() if not math.isnan(seconds)}

    def as_json(self) -> dict[str, Any]:
        """The stage's entry in report.json."""
        changes = {str(metric): self.before_after(str(metric)) for metric in self.metrics}
        return {
            "label": self.label,
            "type": self.type,
            "seed": self.seed,
            "updates": self.updates,
            "metrics": {
                metric: {"before": change[0], "after": change[1]} for metric, change in changes.items() if change
            },
        }


def metrics_by_update(updates: pd.DataFrame, stage: str) -> pd.DataFrame:
    """The stage's rows of the updates table, one row an update and one column a metric, in order of first record."""
    rows = updates[updates["stage"] == stage]
    wide = rows.pivot_table(index="update", columns="metric", values="value", aggfunc="last", sort=False, dropna=False)
    return wide.sort_index()
