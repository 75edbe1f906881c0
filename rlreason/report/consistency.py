"""Whether all arms of a run were asked the same: an arm that was asked otherwise cannot be compared without saying so.

A run whose recipe was changed on the way (`rlreason run --allow-change`) may hold evaluations of two kinds. Runs are
held against each other in `report.compare`, by the same keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from rlreason.records import PlanRecord


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested settings as "sampling.temperature" -> JSON text; an empty mapping or list is a value."""
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = json.dumps(value, ensure_ascii=False)
    return found


def asked_differently(plan: PlanRecord, counts: pd.DataFrame) -> list[str]:
    """In words, each thing in which the evaluations of the arms differ: settings, problems, number of samples.

    Args:
        counts: those of the finished evaluations.
    """
    evaluations = {
        run.evaluation: f"{name}, seed {seed}" for name, arm in plan.arms.items() for seed, run in arm.seeds.items()
    }
    return [*_settings(plan, evaluations), *_problems(counts, evaluations), *_samples(counts, evaluations)]


def _settings(plan: PlanRecord, evaluations: Mapping[str, str]) -> list[str]:
    configs = {stage: flat(plan.stages[stage].config) for stage in evaluations if stage in plan.stages}
    found = []
    for key in sorted({key for config in configs.values() for key in config}):
        values: dict[str, list[str]] = {}
        for stage, config in configs.items():
            values.setdefault(config.get(key, "not set"), []).append(evaluations[stage])
        if len(values) > 1:
            said = "; ".join(f"{value} ({_some(who)})" for value, who in values.items())
            found.append(f"The evaluations differ in {key}: {said}.")
    return found


def _problems(counts: pd.DataFrame, evaluations: Mapping[str, str]) -> list[str]:
    found = []
    for level, rows in counts[~counts["probe"]].groupby("level", sort=False):
        asked = rows.groupby("stage", sort=False)["problem"].agg(frozenset)
        if asked.nunique() > 1:
            sizes = "; ".join(f"{len(each):,} ({evaluations.get(stage, stage)})" for stage, each in asked.items())
            shared = len(frozenset.intersection(*asked))
            found.append(f"Not all were asked the same problems on {level}: {sizes}; {shared:,} are shared by all.")
    return found


def _samples(counts: pd.DataFrame, evaluations: Mapping[str, str]) -> list[str]:
    fewest = counts[~counts["greedy"]].groupby("stage", sort=False)["n"].min()
    if fewest.nunique() <= 1:
        return []
    who = fewest.groupby(fewest).apply(lambda same: _some([evaluations.get(stage, stage) for stage in same.index]))
    return [f"The number of samples a problem differs: {'; '.join(f'{n:,} ({arms})' for n, arms in who.items())}."]


def _some(names: list[str]) -> str:
    """The first three, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
