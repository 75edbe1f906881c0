"""The tables of "Where it goes wrong", in the cells that every form of the report shows.

Counts come from `report.errors`, shares from `report.breakdowns`. Tables show the levels; probes stand in those of
transfer and forgetting, and with everything else in report.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from rlreason.report.breakdowns import Skill
from rlreason.report.errors import SHORTCUTS, Errors
from rlreason.report.greedy import NOT_JUDGED
from rlreason.report.memorised import TRAINED, UNTRAINED
from rlreason.report.statistics import Estimate
from rlreason.report.tables import (
    NOTHING,
    Cell,
    Table,
    estimate_cell,
    number_cell,
    p_value,
    percent,
    points,
    share_cell,
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the section: its title, and how its figures are to be read."""

    title: str
    reading: str


PARTS = {
    "error_kinds": Part(
        "First errors",
        "All greedy completions of an arm are 100%; what a bar lacks has no error. Kinds are the task's words "
        "for the first step that is not right. A right answer may have a first error too: beside the share of all "
        "completions stands that of the wrong answers.",
    ),
    "error_places": Part(
        "Where the first error falls",
        "How many of the gold derivation's steps stand before it: none, fewer than half, half or more, or all of them "
        "(it stops early, goes on too long, or draws another answer from right steps). Shares of the completions that "
        "have an error.",
    ),
    "error_ways": Part(
        "What right answers rest on",
        "A right answer is a shortcut where fewer of its steps are right than the gold derivation has: a needed step "
        "is wrong or, where fewer steps were written than needed, left out. One with as many right steps and others "
        "beside them is none.",
    ),
    "error_followed": Part(
        "Whose path wrong derivations follow",
        "A path is the sequence of operations that a derivation names. A wrong answer's derivation follows the asked "
        "path (its facts are wrong), begins otherwise, or begins as asked and parts from it: onto a path that the "
        "task's training problems ask for, or onto another. By chance: the trained share of the paths that begin as "
        "asked and have that length, if each later operation were as likely as any other. A trained share far above "
        "it is a path recited. Whether the arm trained on those problems is not known here: one that did not is the "
        "one to compare with.",
    ),
    "by_difficulty": Part(
        "By difficulty", "Greedy answers right, with 95% Wilson intervals over problems; a problem counts once."
    ),
    "by_operation": Part(
        "By operation", "Greedy answers right to the questions whose path has the operation, at whichever place."
    ),
    "by_length": Part("By length", "Greedy answers right, by the number of steps of the gold derivation."),
    "transfer": Part(
        "From cell to cell",
        "Greedy answers right in each cell of levels and probes, and how many points that is above the arm's base.",
    ),
    "forgetting": Part(
        "Atomic skills, kept or forgotten",
        "Each probe before and after: of the arm's base, then of the arm, on the same problems under the same seeds. "
        "Intervals are 95%; p values are corrected for all pairs and probes (Holm), and bold type or a filled dot "
        "marks one below 0.05.",
    ),
}
"""The parts by the names of their tables, in the order of the page."""


def error_tables(errors: Errors) -> dict[str, list[Table]]:
    """The tables by part of the section, a table a level in most; a part without figures has none."""
    told = errors.breakdowns
    totals = errors.totals.set_index(["arm", "level", "probe"])
    return {
        "error_kinds": _by_level(errors.kinds, "kind", lambda arm, rows: _kinds(arm, rows, totals), ("any error",)),
        "error_places": _by_level(errors.places, "place", _places, ("errors placed",)),
        "error_ways": _by_level(errors.ways, "way", _ways, ("right answers", "shortcuts")),
        "error_followed": _by_level(
            errors.followed,
            "followed",
            _followed,
            ("wrong answers", "trained, of those that part", "by chance"),
        ),
        "by_difficulty": _shares(told.by_difficulty, "difficulty"),
        "by_operation": _shares(told.by_operation, "operation"),
        "by_length": _shares(told.by_length, "steps"),
        "transfer": _transfer(told.transfer),
        "forgetting": _forgetting(told.forgetting),
    }


def kind_words(kind: str) -> str:
    """A task's name for a kind of error, to read."""
    return kind.replace("_", " ")


def _by_level(
    counts: pd.DataFrame,
    category: str,
    row: Callable[[str, pd.DataFrame], Sequence[Cell]],
    first: tuple[str, ...],
) -> list[Table]:
    """A table a level: a row an arm, its own columns `first`, then the categories that occur."""
    found = []
    for level, rows in _levels(counts):
        rows = rows[rows.groupby(category)["all" if "all" in rows else "n"].transform("sum") > 0]
        names = [kind_words(name) for name in dict.fromkeys(rows[category])]
        arms = rows.groupby("arm", sort=False)
        cells = tuple((Cell(str(arm), arm=str(arm)), *row(str(arm), mine)) for arm, mine in arms)
        found.append(Table(("arm", *first, *names), cells, level))
    return [table for table in found if table.rows]


def _levels(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if rows.empty:
        return []
    levels = rows[~rows["probe"]]
    return [(str(level), each) for level, each in levels.groupby("level", sort=False)]


def _kinds(arm: str, rows: pd.DataFrame, totals: pd.DataFrame) -> list[Cell]:
    """Of all completions, and in small of the wrong answers."""
    of = totals.loc[(arm, rows["level"].iloc[0], False)]
    errors = rows.loc[rows["kind"] != NOT_JUDGED, "all"].sum()
    cells = [_share(errors, of["completions"])]
    for every, wrong in zip(rows["all"], rows["wrong"], strict=True):
        detail = f"{_share(wrong, of['wrong']).text} of wrong" if of["wrong"] else ""
        cells.append(replace(_share(every, of["completions"]), detail=detail))
    return cells


def _places(arm: str, rows: pd.DataFrame) -> list[Cell]:
    return [number_cell(int(rows["n"].sum())), *_shares_of(rows["n"], rows["n"].sum())]


def _ways(arm: str, rows: pd.DataFrame) -> list[Cell]:
    total = rows["n"].sum()
    shortcuts = rows.loc[rows["way"].isin(SHORTCUTS), "n"].sum()
    return [number_cell(int(total)), _share(shortcuts, total), *_shares_of(rows["n"], total)]


def _followed(arm: str, rows: pd.DataFrame) -> list[Cell]:
    counts = rows.set_index("followed")["n"]
    parted = counts.reindex([TRAINED, UNTRAINED], fill_value=0)
    chance = rows["by_chance"].iloc[0]
    by_chance = NOTHING if pd.isna(chance) else share_cell(float(chance))
    trained = replace(_share(parted[TRAINED], parted.sum()), detail=f"{parted[TRAINED]:,} of {parted.sum():,}")
    return [
        number_cell(int(counts.sum())),
        trained if parted.sum() else NOTHING,
        by_chance,
        *_shares_of(counts, counts.sum()),
    ]


def _shares_of(counts: Iterable[Any], total: Any) -> list[Cell]:
    return [_share(count, total) for count in counts]


def _share(count: Any, total: Any) -> Cell:
    return share_cell(float(count) / float(total)) if total else NOTHING


def _shares(rows: pd.DataFrame, what: str) -> list[Table]:
    """A table a level: a row a value, a column an arm."""
    found = []
    for level, here in _levels(rows):
        arms = list(dict.fromkeys(here["arm"]))
        cells = {(row["value"], row["arm"]): row for row in here.to_dict("records")}
        lines = [
            (Cell(str(value)), *(_estimate(cells.get((value, arm))) for arm in arms))
            for value in dict.fromkeys(here["value"])
        ]
        found.append(Table((what, *arms), tuple(lines), level))
    return found


def _estimate(row: Mapping[Any, Any] | None) -> Cell:
    if row is None:
        return NOTHING
    return estimate_cell(Estimate(row["right"], row["low"], row["high"]))


def _transfer(rows: pd.DataFrame) -> list[Table]:
    """Rows are the cells of levels and probes, columns the arms."""
    arms = list(dict.fromkeys(rows["arm"]))
    asked = rows.drop_duplicates(["level", "probe", "value"])
    cells = {(row["level"], row["probe"], row["value"], row["arm"]): row for row in rows.to_dict("records")}
    lines = []
    for level, probe, value in zip(asked["level"], asked["probe"], asked["value"], strict=True):
        shown = [_with_difference(cells.get((level, probe, value, arm))) for arm in arms]
        lines.append((Cell(f"{level} · {value}"), *shown))
    return [Table(("asked", *arms), tuple(lines))] if lines else []


def _with_difference(row: Mapping[Any, Any] | None) -> Cell:
    if row is None:
        return NOTHING
    return replace(share_cell(row["right"]), detail="" if pd.isna(row["difference"]) else points(row["difference"]))


def _forgetting(skills: Sequence[Skill]) -> list[Table]:
    """A row an arm and its base, a column a probe."""
    probes = list(dict.fromkeys(skill.probe for skill in skills))
    pairs = dict.fromkeys((skill.arm, skill.against) for skill in skills)
    found = {(skill.arm, skill.against, skill.probe): skill for skill in skills}
    lines = [
        (Cell(f"{arm} vs {against}", arm=arm), *(_skill(found.get((arm, against, probe))) for probe in probes))
        for arm, against in pairs
    ]
    return [Table(("pair", *probes), tuple(lines))] if lines else []


def _skill(skill: Skill | None) -> Cell:
    if skill is None:
        return NOTHING
    found, p = skill.difference.difference, p_value(skill.difference.p_corrected)
    return Cell(
        f"{percent(skill.before)} → {percent(skill.after)}",
        f"{points(found.value)} ({points(found.low)} to {points(found.high)}), {p}",
        skill.difference.is_clear,
        value=found.value,
        low=found.low,
        high=found.high,
    )
