"""Tables about the rewards themselves: what they paid for, what could not be scored, how good learned scorers are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlreason.report.scorers import ScorerSummary
from rlreason.report.summary import Summary
from rlreason.report.tables import NOTHING, Cell, Table, change, number_cell, share_cell
from rlreason.report.training import ON_POLICY, Curves

AUDIT_METRICS = {
    "reward_when_right": "reward of right answers",
    "reward_when_wrong": "of wrong answers",
    "reward_when_derived": "of right derivations",
    "right_answer_wrong_steps": "right answers with wrong steps",
    "duplicate_completions": "duplicates in a group",
    "completion_tokens_mean": "tokens a completion",
    "cut_by_length": "cut by length",
    "step_score_when_right": "score of right steps",
    "step_score_when_wrong": "of wrong steps",
}
"""Metrics of the audit, with their headings. The task's own check says what is right, whatever the reward says."""
UNSCORED = "unscored_"


def reward_tables(summary: Summary) -> dict[str, list[Table]]:
    """The tables by section of the report; a section without records has none."""
    reinforced = [curves for curves in summary.curves if curves.type in ON_POLICY]
    return {"audit": [*_audit(reinforced), *_unscored(reinforced)], "scorers": _scorers(summary.scorers)}


def _audit(stages: Sequence[Curves]) -> list[Table]:
    metrics = [metric for metric in AUDIT_METRICS if any(each.before_after(metric) for each in stages)]
    rows = [
        (Cell(each.label, arm=each.arm), *(change(each.before_after(metric)) for metric in metrics)) for each in stages
    ]
    return [Table(("stage", *(AUDIT_METRICS[metric] for metric in metrics)), tuple(rows))] if metrics else []


def _unscored(stages: Sequence[Curves]) -> list[Table]:
    """Rollouts of training that have no reward, by cause, over all updates."""
    causes = sorted({name for each in stages for name in map(str, each.metrics) if name.startswith(UNSCORED)})
    rows = [
        (
            Cell(each.label, arm=each.arm),
            *(number_cell(float(each.metrics[cause].sum()) if cause in each.metrics else 0.0) for cause in causes),
        )
        for each in stages
    ]
    headings = ("stage", *(cause.removeprefix(UNSCORED) for cause in causes))
    return [Table(headings, tuple(rows), "Rollouts that could not be scored, by cause")] if causes else []


def _scorers(scorers: Sequence[ScorerSummary]) -> list[Table]:
    several = len({scorer.seed for scorer in scorers}) > 1
    rows = [
        (
            Cell(scorer.name + (f", seed {scorer.seed}" if several else ""), f"labels: {scorer.labels}"),
            Cell(level),
            number_cell(figures.steps),
            *map(
                _share,
                (
                    figures.wrong,
                    figures.precision,
                    figures.recall,
                    figures.f1,
                    figures.first_error_accuracy,
                    figures.correct_accuracy,
                    figures.process_f1,
                ),
            ),
        )
        for scorer in scorers
        for level, figures in scorer.levels.items()
    ]
    headings = (
        "scorer",
        "level",
        "steps",
        "wrong steps",
        "precision",
        "recall",
        "step F1",
        "first error found",
        "right derivations passed",
        "harmonic mean",
    )
    return [Table(headings, tuple(rows))] if rows else []


def _share(value: float) -> Cell:
    return NOTHING if math.isnan(value) else share_cell(value)
