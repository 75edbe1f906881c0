"""Several runs as one: all their arms on the same problems, where all were asked the same, and a refusal where not.

Two runs are asked the same where the evaluations of all their arms agree in levels, cells, number of problems, samples,
sampling, k and the task's parameters, and the problems themselves agree to the letter. What differs is named. What an
arm was trained on may differ: that is what is compared. The rendering is in `report.compare_page`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rlreason.errors import RecordsError, UserError
from rlreason.records import PlanRecord, RunFolder, read_plan
from rlreason.report.consistency import flat
from rlreason.report.counts import count_outcomes
from rlreason.report.levels import LevelSummary, summarise_level
from rlreason.report.pairs import Comparison, Pair, Paired, compare_pairs
from rlreason.report.reading import read_stages


class RunsDiffer(UserError):
    """The runs were evaluated differently; the message names what differs."""


@dataclass(frozen=True, slots=True)
class ArmOfRun:
    """An arm with its run; `name` is unique among those compared: "controls/rft"."""

    name: str
    run: str
    arm: str
    title: str
    seeds: tuple[int, ...]
    levels: dict[str, LevelSummary]


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """All arms of all runs, and each against one of them.

    Attributes:
        runs: name -> folder.
        levels: of the evaluation, in the first recipe's order.
        against: name of the arm that the others are compared with.
        missing: in words, what could not be read or has not finished.
    """

    runs: dict[str, Path]
    levels: tuple[str, ...]
    arms: dict[str, ArmOfRun]
    against: str
    paired: Paired
    missing: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """What `rlreason compare --json` prints."""
        return {
            "runs": {name: str(path) for name, path in self.runs.items()},
            "against": self.against,
            "arms": {
                name: {"run": arm.run, "arm": arm.arm, "title": arm.title, "seeds": list(arm.seeds)}
                | {"levels": {level: figures.as_json() for level, figures in arm.levels.items()}}
                for name, arm in self.arms.items()
            },
            "paired": self.paired.as_json(),
            "missing": list(self.missing),
        }

    def comparisons(self, level: str) -> list[Comparison]:
        """Those on one level."""
        return [each for each in self.paired.comparisons if each.level == level]


def compare_runs(folders: Sequence[RunFolder], against: str | None = None) -> ComparedRuns:
    """Join the runs on their problems.

    Args:
        folders: two or more.
        against: the arm that all others are compared with, "RUN/ARM"; None: the first arm of the first run.
    Raises:
        RunsDiffer: their evaluations differ; names every difference.
        UserError: fewer than two runs, two of the same folder, one without a finished evaluation, or no such arm.
        RecordsError: a plan is missing or malformed.
    """
    runs = _named(folders)
    plans = {name: read_plan(folder) for name, folder in runs.items()}
    finished = {name: _finished(folder, plans[name]) for name, folder in runs.items()}
    for name, evaluations in finished.items():
        if not evaluations:
            raise UserError(f"the run {name} has no finished evaluation; leave it out, or run it to its end")
    problems = {name: _read_problems(runs[name], finished[name]) for name in runs}
    _refuse_differences(runs, plans, finished, {name: read for name, (read, _) in problems.items()})

    missing = [f"{name}: {line}" for name in runs for line in problems[name][1]]
    tables = []
    for name, folder in runs.items():
        counts = count_outcomes(folder, finished[name])
        tables.append(counts.table.assign(stage=name + "/" + counts.table["stage"]))
        missing += [f"{name}: stage {stage} could not be read: {why}" for stage, why in counts.unreadable.items()]
        missing += [f"{name}: {line}" for line in _unfinished(plans[name], finished[name])]
    joined, table = _join(plans), pd.concat(tables, ignore_index=True)
    reference = against or next(iter(joined.arms), "")
    if reference not in joined.arms:
        raise UserError(f"--against {reference!r} is no arm of these runs; name one of {', '.join(joined.arms)}")
    pairs = tuple(Pair(name, reference, "asked for") for name in joined.arms if name != reference)
    return ComparedRuns(
        runs={name: folder.path for name, folder in runs.items()},
        levels=joined.evaluation.levels,
        arms={name: _arm(joined, name, table) for name in joined.arms},
        against=reference,
        paired=compare_pairs(joined, table, pairs),
        missing=tuple(missing),
    )


def _named(folders: Sequence[RunFolder]) -> dict[str, RunFolder]:
    """Run's folder name -> run; with the folder above where two are called the same."""
    if len(folders) < 2:
        raise UserError("there is nothing to compare one run with; name two or more folders of runs")
    paths = [folder.path.resolve() for folder in folders]
    for path in paths:
        if paths.count(path) > 1:
            raise UserError(f"{path} is named twice; name each run once")
    names = [path.name for path in paths]
    return {
        name if names.count(name) == 1 else f"{path.parent.name}-{name}": folder
        for name, path, folder in zip(names, paths, folders, strict=True)
    }


def _finished(folder: RunFolder, plan: PlanRecord) -> list[str]:
    evaluations = [run.evaluation for arm in plan.arms.values() for run in arm.seeds.values()]
    return [evaluation for evaluation in dict.fromkeys(evaluations) if folder.is_done(evaluation)]


def _unfinished(plan: PlanRecord, finished: Sequence[str]) -> list[str]:
    return [
        f"arm {name}, seed {seed}: its evaluation has not finished"
        for name, arm in plan.arms.items()
        for seed, run in arm.seeds.items()
        if run.evaluation not in finished
    ]


def _read_problems(folder: RunFolder, stages: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    columns = ["stage", "problem", "level", "prompt", "answer"]
    rows, unreadable = read_stages(folder, "problems", stages, columns)
    return rows, [f"problems of stage {stage} could not be read: {why}" for stage, why in unreadable.items()]


def _refuse_differences(
    runs: dict[str, RunFolder],
    plans: dict[str, PlanRecord],
    finished: dict[str, list[str]],
    problems: dict[str, pd.DataFrame],
) -> None:
    settings = {name: _settings(runs[name], plans[name], finished[name], problems[name]) for name in runs}
    (first, expected), *others = settings.items()
    differences = []
    for name, found in others:
        for key in dict.fromkeys([*expected, *found]):
            one, other = expected.get(key, "not set"), found.get(key, "not set")
            # a setting that came after a run and is off is no difference to it
            if one != other and {one, other} != {"null", "not set"}:
                differences.append(f"{key} is {one} in {first} and {other} in {name}")
    if differences:
        raise RunsDiffer(
            f"these runs were not asked the same and cannot be compared: {'; '.join(differences)}; run one of them "
            "again with the other's evaluation and tasks"
        )


def _settings(folder: RunFolder, plan: PlanRecord, finished: Sequence[str], problems: pd.DataFrame) -> dict[str, str]:
    """Everything by which an evaluation is told, key -> text; what a run's own evaluations disagree in is a set."""
    configs = [flat(plan.stages[stage].config, "evaluation.") for stage in finished if stage in plan.stages]
    found = flat({"levels": plan.evaluation.levels, "k": plan.evaluation.k, "samples": plan.evaluation.samples})
    found = {f"evaluation.{key}": value for key, value in found.items()}
    for key in dict.fromkeys(key for config in configs for key in config):
        found[key] = " or ".join(sorted({config.get(key, "not set") for config in configs}))
    found |= flat(_task_parameters(folder), "tasks.")
    for level in dict.fromkeys(problems["level"]):
        rows = problems[problems["level"] == level]
        hashes = {stage: _hash(asked) for stage, asked in rows.groupby("stage", sort=False)}
        each = " or ".join(sorted(set(hashes.values())))
        found[f"the problems of {level} (number, hash)"] = each
    return found


def _hash(problems: pd.DataFrame) -> str:
    """How many problems, and the first digits of the SHA-256 of their names, prompts and answers in order of name."""
    ordered = problems.drop_duplicates("problem").sort_values("problem")
    text = "\x1e".join("\x1f".join(row) for row in ordered[["problem", "prompt", "answer"]].itertuples(index=False))
    return f"{len(ordered)}, {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _task_parameters(folder: RunFolder) -> dict[str, Any]:
    """The tasks of the resolved recipe; empty where the run has no recipe that can be read."""
    try:
        recipe = yaml.safe_load(folder.recipe_path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    tasks = recipe.get("tasks") if isinstance(recipe, dict) else None
    return tasks if isinstance(tasks, dict) else {}


def _join(plans: dict[str, PlanRecord]) -> PlanRecord:
    """One plan of all arms, with the run's name before every arm and stage."""
    arms: dict[str, Any] = {}
    for run, plan in plans.items():
        for name, arm in plan.arms.items():
            seeds = {
                seed: {"stages": [f"{run}/{stage}" for stage in of.stages], "evaluation": f"{run}/{of.evaluation}"}
                for seed, of in arm.seeds.items()
            }
            arms[f"{run}/{name}"] = {"title": arm.title, "seeds": seeds}
    first = next(iter(plans.values()))
    return PlanRecord.model_validate({"arms": arms, "stages": {}, "evaluation": first.evaluation.model_dump()})


def _arm(plan: PlanRecord, name: str, counts: pd.DataFrame) -> ArmOfRun:
    arm = plan.arms[name]
    seeds = {run.evaluation: seed for seed, run in arm.seeds.items()}
    mine = counts[counts["stage"].isin(list(seeds)) & ~counts["probe"]]
    mine = mine.assign(seed=mine["stage"].map(seeds))
    figures = {
        level: summarise_level(mine[mine["level"] == level], plan.evaluation.k, None)
        for level in plan.evaluation.levels
    }
    run, _, own = name.partition("/")
    evaluated = tuple(seed for stage, seed in seeds.items() if stage in set(mine["stage"]))
    return ArmOfRun(name, run, own, arm.title, evaluated, {key: each for key, each in figures.items() if each})


def open_run(path: Path) -> RunFolder:
    """The run in a folder.

    Raises:
        RecordsError: the folder holds no plan.
    """
    folder = RunFolder(path)
    if not folder.plan_path.exists():
        raise RecordsError(f"{path} is no run's folder: it has no {folder.plan_path.name}; name the folder of a run")
    return folder
