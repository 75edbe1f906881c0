"""From the completions of the evaluations, however many, to one small table of counts; almost all figures start here.

    evaluations (a row a completion) -> counts (a row a problem of an evaluation) -> levels, pairs, verdict, comparisons

The files are read once, a few columns of them, a million rows at a time, so ten million rows need little memory. What
must see single completions (their texts and steps) reads those rows itself: `report.browser`, `report.errors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rlreason.errors import RecordsError
from rlreason.records import RunFolder, scan_table

KEYS = ("stage", "level", "probe", "problem", "greedy")
"""What a row of counts is about: one problem of one evaluation, its greedy completion or its samples."""
SUMS = ("n", "judged", "right", "checked", "derived", "right_checked", "right_derived")
READ = (*KEYS, "correct", "derivation_correct", "failure")
BATCH_ROWS = 1_000_000
"""Rows that are counted together: some 100 MB."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted.

    Attributes:
        table: a row a (stage, level, probe, problem, greedy), in the order of the records, with `KEYS` and

            - n: completions;
            - judged: those with a verdict on the answer; the others count as not right;
            - right: those whose answer is right;
            - checked: those whose steps were checked; derived: those with every step right;
            - right_checked, right_derived: of the right ones, how many were checked, and have every step right.

            Sums of these over any rows are those of the rows together; `right / n` is the share right. Where the same
            problem was asked under several seeds it has several stages: map stage to seed through the plan.
        failures: a row a (stage, level, cause) of completions that could not be judged, with n. A cause is what
            stands before the first colon of the record's `failure`.
        unreadable: stage -> why its completions could not be read; it has no rows in `table`.
    """

    table: pd.DataFrame
    failures: pd.DataFrame
    unreadable: dict[str, str]


def count_outcomes(folder: RunFolder, stages: Iterable[str]) -> Counts:
    """Count the completions of these evaluations. A stage with a damaged file is left out whole, and named."""
    counted, failed, unreadable = [], [], {}
    for stage in stages:
        try:
            batches = [(count(rows), count_failures(rows)) for rows in _batches(folder, stage)]
        except RecordsError as error:
            unreadable[stage] = str(error)
            continue
        counted += [each for each, _ in batches]
        failed += [each for _, each in batches]
    return Counts(_sum(counted, KEYS, SUMS), _sum(failed, ("stage", "level", "cause"), ("n",)), unreadable)


def count(rows: pa.Table) -> pa.Table:
    """Counts of completions that are in memory.

    Args:
        rows: with the columns `READ`, or those without "failure".
    Returns:
        `KEYS` and `SUMS`, a row a key, in the order in which keys first occur.
    """
    right = pc.fill_null(rows["correct"], False)
    derived = pc.fill_null(rows["derivation_correct"], False)
    judged, checked = pc.is_valid(rows["correct"]), pc.is_valid(rows["derivation_correct"])
    columns = {
        **{name: rows[name] for name in KEYS},
        "n": pa.repeat(1, len(rows)),
        "judged": judged,
        "right": right,
        "checked": checked,
        "derived": derived,
        "right_checked": pc.and_(right, checked),
        "right_derived": pc.and_(right, derived),
    }
    whole_numbers = {name: pc.cast(columns[name], pa.int64()) for name in SUMS}
    return _summed(pa.table(columns | whole_numbers), KEYS, SUMS)


def count_failures(rows: pa.Table) -> pa.Table:
    """Completions that have a failure, by its cause; `rows` with the columns `READ`."""
    failed = rows.filter(pc.not_equal(rows["failure"], ""))
    causes = pc.replace_substring_regex(failed["failure"], r"(?s):.*", "")
    columns = {"stage": failed["stage"], "level": failed["level"], "cause": causes}
    return _summed(pa.table({**columns, "n": pa.repeat(1, len(failed))}), ("stage", "level", "cause"), ("n",))


def _batches(folder: RunFolder, stage: str) -> Iterator[pa.Table]:
    """The stage's completions in tables of about `BATCH_ROWS`."""
    waiting: list[pa.Table] = []
    rows = 0
    for part in scan_table(folder, "evaluations", stage, READ):
        waiting.append(part)
        rows += len(part)
        if rows >= BATCH_ROWS:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def _summed(rows: pa.Table, keys: tuple[str, ...], sums: tuple[str, ...]) -> pa.Table:
    numbered = rows.append_column("row", pa.array(np.arange(len(rows))))
    totals = numbered.group_by(list(keys)).aggregate([*((name, "sum") for name in sums), ("row", "min")])
    in_order = totals.sort_by("row_min")  # groups come in no order of their own
    return in_order.select([*keys, *(f"{name}_sum" for name in sums)]).rename_columns([*keys, *sums])


def _sum(tables: list[pa.Table], keys: tuple[str, ...], sums: tuple[str, ...]) -> pd.DataFrame:
    """The tables as one; a key that occurs in several of them has one row."""
    if not tables:
        flags = ("probe", "greedy")
        kinds = {key: "bool" if key in flags else "str" for key in keys} | dict.fromkeys(sums, "int64")
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    frame: pd.DataFrame = _summed(pa.concat_tables(tables), keys, sums).to_pandas()
    return frame
