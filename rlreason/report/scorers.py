"""How good the step scorers are that a run trained, on held-out derivations whose steps the task's check judged."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from rlreason.algorithms.step_judging import StepFigures, judge_steps
from rlreason.records import PlanRecord, RunFolder, read_table

RIGHT_FROM = 0.5
"""A step whose probability of being right is at least this is called right."""


@dataclass(frozen=True, slots=True)
class ScorerSummary:
    """One scorer under one seed.

    Attributes:
        stage: identity of the stage that trained it.
        name: the recipe's.
        arms: those whose reinforcement learning it served.
        labels: where its training labels came from, "symbolic" or "monte_carlo".
        levels: evaluation level -> figures; levels without a step are left out.
    """

    stage: str
    name: str
    seed: int
    arms: tuple[str, ...]
    labels: str
    levels: dict[str, StepFigures]

    def as_json(self) -> dict[str, Any]:
        """The scorer's entry in report.json; figures that are not defined are null."""
        levels = {
            level: {name: None if math.isnan(value) else value for name, value in asdict(figures).items()}
            for level, figures in self.levels.items()
        }
        told = {"name": self.name, "seed": self.seed, "arms": list(self.arms), "labels": self.labels}
        return {**told, "levels": levels}


def summarise_scorers(folder: RunFolder, plan: PlanRecord) -> tuple[ScorerSummary, ...]:
    """Every scorer that was trained and judged, in the plan's order."""
    trained = [identity for identity, stage in plan.stages.items() if stage.type == "prm" and folder.is_done(identity)]
    rows = read_table(folder, "steps", trained)
    found = []
    for identity in trained:
        stage, mine = plan.stages[identity], rows[rows["stage"] == identity]
        levels = {}
        for level in plan.evaluation.levels:
            steps = mine[mine["level"] == level].sort_values(["problem", "sample", "step"])
            if len(steps):
                derivation = steps.groupby(["problem", "sample"], sort=False).ngroup().to_numpy()
                right = (steps["verdict"] == "right").to_numpy()
                levels[level] = judge_steps(derivation, right, (steps["score"] >= RIGHT_FROM).to_numpy())
        labels = stage.config.get("labels", {}).get("type", "")
        found.append(ScorerSummary(identity, stage.name, stage.seed, stage.arms, labels, levels))
    return tuple(found)
