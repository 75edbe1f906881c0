"""The greedy completions of all arms beside what their problems ask for: what "where it goes wrong" is told from.

    evaluations, problems, trained_paths -> a row a greedy completion (+ kinds of the sampled ones) -> report.errors,
                                                                                                     report.breakdowns

Files are read one at a time and only greedy rows are kept, so the samples, however many, need no memory. Texts and
steps are reduced to a few columns on the way and then dropped. What the columns are told as is decided elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rlreason.errors import RecordsError
from rlreason.records import PlanRecord, RunFolder, read_table, scan_table
from rlreason.report.memorised import TrainedPaths, followed_paths

NO_ERROR, NOT_CHECKED, NOT_JUDGED, NOT_NAMED = "", "steps not checked", "not judged", "not named"
"""Kinds that no task gives: every step is right, or it is not known what is wrong."""
_SAMPLED = ("level", "probe", "greedy", "correct", "derivation_correct", "first_error_kind")
_COLUMNS = ("problem", *_SAMPLED, "first_error", "steps", "text")
_STEP, _RIGHT_STEP = r'"verdict":\s*"', r'"verdict":\s*"right"'


@dataclass(frozen=True, slots=True)
class GreedyRows:
    """What was read.

    Attributes:
        rows: a row a greedy completion of an arm under a seed, with

            - arm, seed, stage, level (or the probe's name), probe, problem, cell, task, difficulty;
            - correct: bool, False where not judged; judged, checked: whether answer and steps were; derived: every step
              is right;
            - kind: of the first error; `NO_ERROR` and the others above where no task's word fits;
            - first_error: its index, NaN where there is none;
            - written, right_steps: steps found, and those of them that are right;
            - gold_steps: steps of the gold derivation, NaN where not known;
            - path: the names of the gold derivation's operations, () where it has none;
            - followed, by_chance: see `memorised.followed_paths`; "" where not known.
        sampled: arm, level, probe, kind -> n, of the sampled completions.
        unreadable: stage -> why it has no rows.
    """

    rows: pd.DataFrame
    sampled: pd.DataFrame
    unreadable: dict[str, str]


def read_greedy(folder: RunFolder, plan: PlanRecord) -> GreedyRows:
    """Read the finished evaluations. One with a damaged file is left out whole, and named."""
    runs = [
        (name, seed, run.evaluation)
        for name, arm in plan.arms.items()
        for seed, run in arm.seeds.items()
        if folder.is_done(run.evaluation)
    ]
    arms = pd.DataFrame(runs, columns=["arm", "seed", "stage"]).astype({"arm": "str", "seed": "int64", "stage": "str"})
    rows, sampled, unreadable = [], [], {}
    for stage in dict.fromkeys(arms["stage"]):
        try:
            found, counted = _read_stage(folder, stage)
        except RecordsError as error:
            unreadable[stage] = str(error)
            continue
        rows.append(arms.merge(found.assign(stage=stage), on="stage"))
        sampled.append(arms.merge(counted.assign(stage=stage), on="stage"))
    if not rows:
        return GreedyRows(pd.DataFrame(), pd.DataFrame(), unreadable)
    totals = pd.concat(sampled).groupby(["arm", "level", "probe", "kind"], sort=False)["n"].sum().reset_index()
    return GreedyRows(pd.concat(rows, ignore_index=True), totals, unreadable)


def _read_stage(folder: RunFolder, stage: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The greedy rows of one evaluation, without arm and seed, and level, probe, kind -> n of its samples."""
    greedy, sampled = [], []
    for part in scan_table(folder, "evaluations", stage, _COLUMNS):
        part = part.append_column("kind", _kinds(part))
        greedy.append(part.filter(part["greedy"]))
        others = part.filter(pc.invert(part["greedy"])).select(["level", "probe", "kind"])
        sampled.append(others.group_by(["level", "probe", "kind"]).aggregate([([], "count_all")]))
    if not greedy:
        raise RecordsError(
            f"evaluations, stage {stage}: it has finished and has no records; restore them, or run again"
        )
    whole = _with_steps(pa.concat_tables(greedy), stage)
    rows: pd.DataFrame = whole.drop_columns(["greedy", "first_error_kind"]).to_pandas()
    for flag in ("correct", "derivation_correct"):
        rows[flag] = rows[flag].astype("boolean")
    rows = rows.assign(
        judged=rows["correct"].notna(),
        checked=rows["derivation_correct"].notna(),
        correct=rows["correct"].fillna(False).astype(bool),
        derived=rows["derivation_correct"].fillna(False).astype(bool),
    )
    trained = TrainedPaths(read_table(folder, "trained_paths", [stage]))
    rows = rows.merge(_problems(folder, stage), on="problem", how="left")
    rows["path"] = [path if isinstance(path, tuple) else () for path in rows["path"]]
    rows = rows.join(followed_paths(rows, trained)).drop(columns=["steps", "text", "derivation_correct"])
    counted: pd.DataFrame = pa.concat_tables(sampled).to_pandas().rename(columns={"count_all": "n"})
    return rows, counted.groupby(["level", "probe", "kind"], sort=False)["n"].sum().reset_index()


def _kinds(rows: pa.Table) -> pa.Array:
    """The kind of each completion's first error."""
    kind = pc.fill_null(rows["first_error_kind"], "")
    derived = rows["derivation_correct"]
    checked = pc.if_else(pc.equal(kind, ""), pc.if_else(pc.fill_null(derived, False), NO_ERROR, NOT_NAMED), kind)
    unchecked = pc.if_else(pc.fill_null(rows["correct"], False), NO_ERROR, NOT_CHECKED)
    judged = pc.if_else(pc.is_valid(derived), checked, unchecked)
    return pc.if_else(pc.is_valid(rows["correct"]), judged, NOT_JUDGED)


def _with_steps(rows: pa.Table, stage: str) -> pa.Table:
    """How many steps each completion has, and how many are right, counted in the JSON as it stands: parsing it would
    take the report long where derivations are long."""
    steps = rows["steps"]
    lists = pc.and_(pc.starts_with(steps, "["), pc.ends_with(steps, "]"))
    if not pc.all(lists).as_py():
        bad = rows.filter(pc.invert(lists)).slice(0, 1).to_pylist()[0]
        raise RecordsError(
            f"evaluations, stage {stage}, problem {bad['problem']}: column 'steps' holds {bad['steps'][:40]!r}, not a "
            "JSON list of steps; restore the records"
        )
    counted = rows.append_column("written", pc.cast(pc.count_substring_regex(steps, _STEP), pa.int64()))
    return counted.append_column("right_steps", pc.cast(pc.count_substring_regex(steps, _RIGHT_STEP), pa.int64()))


def _problems(folder: RunFolder, stage: str) -> pd.DataFrame:
    """problem, task, cell, difficulty, gold_steps and path of an evaluation's problems."""
    columns = ["problem", "task", "cell", "difficulty", "detail"]
    problems = read_table(folder, "problems", [stage], columns).drop_duplicates("problem")
    golds = []
    for problem, detail in zip(problems["problem"], problems["detail"], strict=True):
        try:
            golds.append(_gold(detail))
        except ValueError as error:
            raise RecordsError(
                f"problems, stage {stage}, problem {problem}: column 'detail' holds {detail[:40]!r}, not a JSON "
                "object; restore the records"
            ) from error
    steps = pd.array([count for count, _ in golds], dtype="float64")
    return problems.drop(columns="detail").assign(gold_steps=steps, path=[path for _, path in golds])


@lru_cache(maxsize=1 << 16)
def _gold(detail: str) -> tuple[float, tuple[str, ...]]:
    """gold_steps and path of a problem's detail. Remembered, because every evaluation asks the same problems.

    Raises:
        ValueError: it is not a JSON object.
    """
    told = json.loads(detail)
    if not isinstance(told, dict):
        raise ValueError(f"it is a {type(told).__name__}")
    path = told.get("path")  # where it is no list of names, it is a word of the task's own
    names = tuple(path) if isinstance(path, list) and all(isinstance(name, str) for name in path) else ()
    return float(told.get("gold_steps") or len(names) or np.nan), names
