"""From a run's folder to one typed summary: everything the report says, before it is worded or drawn.

What an unfinished run lacks is listed under `missing`, never a crash and never left out in silence. Sample
derivations, which need the texts, are in `report.browser`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from rlreason.errors import RecordsError
from rlreason.records import ManifestRecord, PlanRecord, RunFolder, read_manifest, read_plan
from rlreason.report.consistency import asked_differently
from rlreason.report.controls import Control, summarise_controls
from rlreason.report.counts import Counts, count_outcomes
from rlreason.report.early_stops import early_stops
from rlreason.report.levels import LevelSummary, summarise_level
from rlreason.report.pairs import Paired, compare_pairs
from rlreason.report.reading import read_stages
from rlreason.report.scorers import ScorerSummary, summarise_scorers
from rlreason.report.training import Curves, metrics_by_update


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm, its seeds pooled.

    Attributes:
        title: what a person calls it; the arm's name where the recipe gives none.
        stages: names of its training stages, in order.
        identities: seed -> identities of those stages.
        levels, probes: only those that were evaluated.
    """

    title: str
    stages: tuple[str, ...]
    identities: dict[int, tuple[str, ...]]
    levels: dict[str, LevelSummary]
    probes: dict[str, LevelSummary]

    def as_json(self) -> dict[str, Any]:
        """The arm's entry in report.json."""
        return {
            "title": self.title,
            "stages": list(self.stages),
            "identities": {str(seed): list(stages) for seed, stages in self.identities.items()},
            "levels": {name: level.as_json() for name, level in self.levels.items()},
            "probes": {name: probe.as_json() for name, probe in self.probes.items()},
        }


@dataclass(frozen=True, slots=True)
class StageRun:
    """A stage as it ran. `figures` is what its done.json says beside the seconds; seconds None: not finished."""

    label: str
    type: str
    seed: int
    parent: str | None
    arms: tuple[str, ...]
    seconds: float | None
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything the report says.

    Attributes:
        wall_seconds: None while the run has not finished.
        counts: of every finished evaluation; what further sections count should start from them.
        missing: what the report lacks, one sentence each.
        unclean: why the figures cannot be traced to their code and records; empty where they can. Said first.
        cautions: what else a reader should know before believing a figure.
    """

    plan: PlanRecord
    manifest: ManifestRecord
    arms: dict[str, ArmSummary]
    stages: dict[str, StageRun]
    curves: tuple[Curves, ...]
    scorers: tuple[ScorerSummary, ...]
    controls: tuple[Control, ...]
    paired: Paired
    wall_seconds: float | None
    counts: Counts
    missing: tuple[str, ...]
    unclean: tuple[str, ...]
    cautions: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """report.json."""
        manifest = self.manifest
        return {
            "recipe": manifest.recipe,
            "description": manifest.description,
            "arms": {name: arm.as_json() for name, arm in self.arms.items()},
            "training": {curves.stage: curves.as_json() for curves in self.curves},
            "scorers": {scorer.stage: scorer.as_json() for scorer in self.scorers},
            "controls": {control.name: control.as_json() for control in self.controls},
            "paired": self.paired.as_json(),
            "seconds": {
                "wall": self.wall_seconds,
                "stages": {identity: stage.seconds for identity, stage in self.stages.items()},
            },
            "stages": {
                identity: {"label": stage.label, "type": stage.type, "seed": stage.seed, "arms": list(stage.arms)}
                | {"figures": stage.figures}
                for identity, stage in self.stages.items()
            },
            "versions": {"rlreason": manifest.rlreason} | manifest.versions,
            "provenance": manifest.model_dump(mode="json", exclude={"recipe", "description", "versions", "rlreason"}),
            "missing": list(self.missing),
            "unclean": list(self.unclean),
            "cautions": list(self.cautions),
        }


def summarise(folder: RunFolder) -> Summary:
    """Read the run's records and reduce them to figures.

    Raises:
        RecordsError: plan or manifest is missing or malformed. Whatever else cannot be read is named in `missing`.
    """
    plan, manifest = read_plan(folder), read_manifest(folder)
    counts, chance, unread = _finished_evaluations(folder, plan)
    arms, without = _arms(plan, counts.table.merge(chance, on=["stage", "problem"], how="left"), counts.unreadable)
    curves, unreadable = _curves(folder, plan)
    controls, without_controls = summarise_controls(folder, plan)
    figures, undone = _closing_figures(folder, plan)
    scorers, unjudged = _scorers(folder, plan)
    unread += [*_unreadable("updates", unreadable), *_unreadable("answers", without_controls)]
    unread += [*_unreadable("closing figures", undone), *unjudged]
    stages = {identity: _stage_run(plan, identity, figures.get(identity, {})) for identity in plan.stages}
    missing = [*unread, *without]
    missing += [
        f"stage {stage.label} ({identity}) has not finished"
        for identity, stage in stages.items()
        if stage.seconds is None and stage.type != "evaluate"
    ]
    return Summary(
        plan=plan,
        manifest=manifest,
        arms=arms,
        stages=stages,
        curves=curves,
        scorers=scorers,
        controls=controls,
        paired=compare_pairs(plan, counts.table),
        wall_seconds=_wall_seconds(manifest),
        counts=counts,
        missing=tuple(missing),
        unclean=tuple(_unclean(manifest, unread)),
        cautions=(*_cautions(manifest, arms), *early_stops(plan, figures), *asked_differently(plan, counts.table)),
    )


def stage_label(plan: PlanRecord, identity: str) -> str:
    """Names of the stages from the base model to this one; the seed too where the run has several."""
    names: list[str] = []
    stage = plan.stages.get(identity)
    seed = stage.seed if stage else 0
    while stage is not None:
        names.insert(0, stage.name)
        stage = plan.stages.get(stage.parent) if stage.parent else None
    several = len({each.seed for each in plan.stages.values()}) > 1
    return " → ".join(names) + (f", seed {seed}" if several else "")


def _finished_evaluations(folder: RunFolder, plan: PlanRecord) -> tuple[Counts, pd.DataFrame, list[str]]:
    """Counts of the finished evaluations, [stage, problem, chance], and what could not be read."""
    finished = sorted(
        {run.evaluation for arm in plan.arms.values() for run in arm.seeds.values() if folder.is_done(run.evaluation)}
    )
    counts = count_outcomes(folder, finished)
    problems, unreadable = read_stages(folder, "problems", finished, ["stage", "problem", "chance"])
    missing = [*_unreadable("completions", counts.unreadable), *_unreadable("problems", unreadable)]
    return counts, problems.drop_duplicates(["stage", "problem"]), missing


def _unreadable(what: str, stages: Mapping[str, str]) -> list[str]:
    return [f"{what} of stage {stage} could not be read: {reason}" for stage, reason in stages.items()]


def _arms(
    plan: PlanRecord, counts: pd.DataFrame, unreadable: Collection[str]
) -> tuple[dict[str, ArmSummary], list[str]]:
    """The arms, and in words what they lack; `unreadable`: evaluations that finished."""
    by_stage = dict(iter(counts.groupby("stage", sort=False)))
    arms, missing = {}, []
    for name, arm in plan.arms.items():
        parts = []
        for seed, run in arm.seeds.items():
            if run.evaluation in by_stage:
                parts.append(by_stage[run.evaluation].assign(seed=seed))
            else:
                why = "could not be read" if run.evaluation in unreadable else "has not finished"
                missing.append(f"arm {name}, seed {seed}: its evaluation ({run.evaluation}) {why}")
        levels: dict[str, LevelSummary] = {}
        probes: dict[str, LevelSummary] = {}
        if parts:
            levels, without = _levels(pd.concat(parts), plan.evaluation.levels, plan, probe=False)
            missing += [f"arm {name}: no completions on level {level}" for level in without]
            probes, without = _levels(pd.concat(parts), plan.evaluation.probes, plan, probe=True)
            missing += [f"arm {name}: no completions on probe {probe}" for probe in without]
            missing += _too_few_samples(name, levels | probes, plan)
        first = next(iter(arm.seeds.values()), None)
        arms[name] = ArmSummary(
            title=arm.title or name,
            stages=tuple(plan.stages[stage].name for stage in first.stages) if first else (),
            identities={seed: run.stages for seed, run in arm.seeds.items()},
            levels=levels,
            probes=probes,
        )
    return arms, missing


def _levels(
    counts: pd.DataFrame, names: tuple[str, ...], plan: PlanRecord, probe: bool
) -> tuple[dict[str, LevelSummary], list[str]]:
    """Figures of one arm by level (or probe), and the levels that it has no completions on."""
    counts = counts[counts["probe"] == probe]
    found, without = {}, []
    for name in names:
        level = counts[counts["level"] == name]
        known = level[level["chance"].notna()]
        chance = float((known["chance"] * known["n"]).sum() / known["n"].sum()) if len(known) else None
        figures = summarise_level(level, plan.evaluation.k, chance)
        if figures is None:
            without.append(name)
        else:
            found[name] = figures
    return found, without


def _too_few_samples(arm: str, levels: Mapping[str, LevelSummary], plan: PlanRecord) -> list[str]:
    missing = []
    for name, level in levels.items():
        absent = [str(k) for k in plan.evaluation.k if k not in level.pass_at_k]
        if absent:
            missing.append(
                f"arm {arm}, {name}: pass@{', '.join(absent)} needs more samples than the {level.samples} there are"
            )
    return missing


def _closing_figures(folder: RunFolder, plan: PlanRecord) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What the finished stages say in their done.json, and stage -> why that could not be read."""
    figures, unreadable = {}, {}
    for identity in filter(folder.is_done, plan.stages):
        try:
            figures[identity] = folder.done(identity)
        except RecordsError as error:
            unreadable[identity] = str(error)
    return figures, unreadable


def _scorers(folder: RunFolder, plan: PlanRecord) -> tuple[tuple[ScorerSummary, ...], list[str]]:
    try:
        return summarise_scorers(folder, plan), []
    except RecordsError as error:
        return (), [f"records of the step scorers could not be read: {error}"]


def _stage_run(plan: PlanRecord, identity: str, closing: Mapping[str, Any]) -> StageRun:
    stage = plan.stages[identity]
    seconds = closing.get("seconds")
    told_elsewhere = ("seconds", "ledger", "match")  # the last two in `report.ledger`
    figures = {name: value for name, value in closing.items() if name not in told_elsewhere}
    return StageRun(
        label=stage_label(plan, identity),
        type=stage.type,
        seed=stage.seed,
        parent=stage.parent,
        arms=stage.arms,
        seconds=None if seconds is None else float(seconds),
        figures=figures,
    )


def _curves(folder: RunFolder, plan: PlanRecord) -> tuple[tuple[Curves, ...], dict[str, str]]:
    """The metrics of the stages that trained, and stage -> why they could not be read."""
    updates, unreadable = read_stages(folder, "updates", plan.stages)
    recorded = set(updates["stage"])
    ends = defaultdict(list)
    for name, arm in plan.arms.items():
        for run in arm.seeds.values():
            ends[run.stages[-1] if run.stages else ""].append(name)
    curves = tuple(
        Curves(
            stage=identity,
            label=stage_label(plan, identity),
            type=stage.type,
            seed=stage.seed,
            arm=(ends[identity] or list(stage.arms) or [""])[0],
            metrics=metrics_by_update(updates, identity),
        )
        for identity, stage in plan.stages.items()
        if identity in recorded
    )
    return curves, unreadable


def _wall_seconds(manifest: ManifestRecord) -> float | None:
    if manifest.finished is None:
        return None
    try:
        return (datetime.fromisoformat(manifest.finished) - datetime.fromisoformat(manifest.started)).total_seconds()
    except (TypeError, ValueError):  # not ISO 8601, or one of the two without a time zone
        return None


def _unclean(manifest: ManifestRecord, unread: Sequence[str]) -> list[str]:
    """Why the figures cannot be traced to the code and the records that they are from."""
    reasons = []
    if manifest.git_commit is None:
        reasons.append("The commit of the code that ran is not known.")
    elif manifest.git_dirty is None:
        reasons.append("Whether the code that ran had changes that were not committed is not known.")
    elif manifest.git_dirty:
        reasons.append("The code that ran had changes that were not committed.")
    if manifest.finished is None:
        reasons.append("The run has not finished.")
    if unread:
        reasons.append(f"Records that could not be read: {len(unread)}; they are listed below.")
    return reasons


def _cautions(manifest: ManifestRecord, arms: Mapping[str, ArmSummary]) -> list[str]:
    """What a reader should know before believing a figure."""
    cautions = []
    if len(manifest.seeds) == 1:
        cautions.append("One seed: the intervals say nothing about how much another training run would differ.")
    unscored = sum(level.unscored for arm in arms.values() for level in [*arm.levels.values(), *arm.probes.values()])
    if unscored:
        cautions.append(f"Completions that could not be judged: {unscored:,}. They count as not right.")
    return cautions
