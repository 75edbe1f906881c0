"""What the interpolators of a run answered: rows beside the arms that are no arms.

From the records of their stages, by way of `report.counts`, as for the arms. They have no seeds and no samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rlreason.records import PlanRecord, RunFolder
from rlreason.report.counts import count_outcomes
from rlreason.report.levels import LevelSummary, summarise_level

TITLES = {"nearest": "k-nearest neighbours", "kernel": "kernel ridge regression", "mlp": "multilayer perceptron"}
INTERPOLATE = "interpolate"


@dataclass(frozen=True, slots=True)
class Control:
    """One interpolator.

    Attributes:
        name: the recipe's.
        stage: identity.
        train_problems: on how many training problems it was fitted.
        levels, probes: only those with records.
    """

    name: str
    stage: str
    train_problems: int
    levels: dict[str, LevelSummary]
    probes: dict[str, LevelSummary]

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{TITLES.get(self.name, self.name)} (control)"

    def as_json(self) -> dict[str, Any]:
        """The control's entry in report.json."""
        return {
            "title": self.title,
            "stage": self.stage,
            "train_problems": self.train_problems,
            "levels": {name: level.as_json() for name, level in self.levels.items()},
            "probes": {name: probe.as_json() for name, probe in self.probes.items()},
        }


def summarise_controls(folder: RunFolder, plan: PlanRecord) -> tuple[tuple[Control, ...], dict[str, str]]:
    """The interpolators that have finished, and stage -> why its answers could not be read."""
    stages = [id for id, stage in plan.stages.items() if stage.type == INTERPOLATE and folder.is_done(id)]
    counts = count_outcomes(folder, stages)
    found = []
    for id in stages:
        own = counts.table[counts.table["stage"] == id].assign(seed=plan.stages[id].seed)
        levels = {name: own[~own["probe"] & (own["level"] == name)] for name in plan.evaluation.levels}
        probes = {name: own[own["probe"] & (own["level"] == name)] for name in plan.evaluation.probes}
        fitted = int(folder.done(id).get("train_problems", 0))
        found.append(Control(plan.stages[id].name, id, fitted, _figures(levels), _figures(probes)))
    return tuple(found), counts.unreadable


def _figures(asked: Mapping[str, pd.DataFrame]) -> dict[str, LevelSummary]:
    """Of those that have records."""
    found = {name: summarise_level(rows, (), None) for name, rows in asked.items()}
    return {name: figures for name, figures in found.items() if figures is not None}
