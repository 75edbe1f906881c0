"""Where derivations go wrong: the first error of every greedy completion, and how right answers were come by.

    report.greedy -> kinds, places, ways, followed (here); shares, transfer, forgetting (report.breakdowns) -> the page

Everything is counted over completions, an arm's seeds pooled. The words for kinds are the tasks' own. Tables are in
`report.errors_tables`, charts in `report.errors_figures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rlreason.errors import RecordsError
from rlreason.records import PlanRecord, RunFolder
from rlreason.report.breakdowns import Breakdowns, as_records, break_down
from rlreason.report.greedy import NO_ERROR, read_greedy
from rlreason.report.memorised import FOLLOWED, TRAINED, UNTRAINED

PLACES = ("first step", "first half", "second half", "past the last step")
"""Where the first error falls: how many of the gold derivation's steps stand before it. None; fewer than half; half or
more; all of them (the derivation stops early, goes on too long, or draws another answer from right steps)."""
WAYS = ("every step right", "other steps beside", "a needed step wrong", "a needed step left out", "steps not right")
"""How a right answer was come by. With every step right; with as many right steps as the gold derivation has, and
others; with fewer (a *shortcut*), though as many steps were written; with fewer steps written than needed (a shortcut
too). The last: with steps that are not right, where the number of gold steps is not recorded."""
SHORTCUTS = WAYS[2:4]
KEYS = ["arm", "level", "probe"]


@dataclass(frozen=True, slots=True)
class Errors:
    """What the section "Where it goes wrong" tells. Tables are tidy: a row an (arm, level or probe, category).

    Attributes:
        totals: completions, wrong, not_judged of each arm and level.
        kinds: kind of the first error -> all, wrong: greedy completions, and those of them with a wrong answer;
            sampled: sampled completions. Most frequent kinds first; the kind "" (none) is not among them.
        places: place of `PLACES` -> n, of the completions whose first error and number of gold steps are known.
        ways: way of `WAYS` -> n, of the right answers whose steps were checked.
        followed: category of `memorised.FOLLOWED` -> n, of the wrong answers; by_chance, the mean over those that begin
            as the asked path and then differ, is the same in all rows of an arm and level.
        breakdowns: shares right by what is asked, between arms, and of atomic skills.
        not_told: in words, what the records do not tell.
    """

    totals: pd.DataFrame
    kinds: pd.DataFrame
    places: pd.DataFrame
    ways: pd.DataFrame
    followed: pd.DataFrame
    breakdowns: Breakdowns
    not_told: tuple[str, ...]

    @property
    def kind_names(self) -> list[str]:
        """Kinds of error, the most frequent of the greedy completions first."""
        return [] if self.kinds.empty else list(dict.fromkeys(self.kinds["kind"]))

    def as_json(self) -> dict[str, Any]:
        """The entry "errors" of report.json: lists of records."""
        told = {name: getattr(self, name) for name in ("totals", "kinds", "places", "ways", "followed")}
        return {
            **{name: as_records(frame) for name, frame in told.items()},
            **self.breakdowns.as_json(),
            "not_told": list(self.not_told),
        }


def summarise_errors(folder: RunFolder, plan: PlanRecord) -> Errors | None:
    """Read the finished evaluations and count; None where none has finished.

    An evaluation that cannot be read is named in `not_told`, and so is what older records lack.

    Raises:
        RecordsError: none of the finished evaluations can be read.
    """
    read = read_greedy(folder, plan)
    rows = read.rows
    damaged = [f"{stage} is left out: {why}" for stage, why in read.unreadable.items()]
    if rows.empty and damaged:
        raise RecordsError("; ".join(damaged))
    if rows.empty:
        return None
    return Errors(
        totals=_totals(rows),
        kinds=_count_kinds(rows, read.sampled),
        places=_count_places(rows),
        ways=_count_ways(rows),
        followed=_count_followed(rows),
        breakdowns=break_down(rows, plan),
        not_told=(*damaged, *_not_told(rows)),
    )


def _totals(rows: pd.DataFrame) -> pd.DataFrame:
    marked = rows.assign(wrong=rows["judged"] & ~rows["correct"], not_judged=~rows["judged"])
    groups = marked.groupby(KEYS, sort=False)
    return groups.agg(
        completions=("wrong", "size"), wrong=("wrong", "sum"), not_judged=("not_judged", "sum")
    ).reset_index()


def _count_kinds(rows: pd.DataFrame, sampled: pd.DataFrame) -> pd.DataFrame:
    greedy = rows.assign(wrong=rows["judged"] & ~rows["correct"]).groupby([*KEYS, "kind"], sort=False)["wrong"]
    counts = greedy.agg(["size", "sum"]).rename(columns={"size": "all", "sum": "wrong"})
    counts = counts.join(sampled.set_index([*KEYS, "kind"])["n"].rename("sampled"), how="outer").fillna(0)
    frequency = counts.groupby("kind")[["all", "sampled"]].sum().sort_values(["all", "sampled"], ascending=False)
    return _complete(counts, rows, "kind", [str(kind) for kind in frequency.index if kind != NO_ERROR])


def _count_places(rows: pd.DataFrame) -> pd.DataFrame:
    known = rows[rows["first_error"].notna() & rows["gold_steps"].notna()]
    before = known["first_error"].astype(float) / known["gold_steps"]
    place = np.select([before <= 0, before < 0.5, before < 1], PLACES[:3], PLACES[3])
    return _count(known.assign(place=place), rows, "place", PLACES)


def _count_ways(rows: pd.DataFrame) -> pd.DataFrame:
    right = rows[rows["correct"] & rows["checked"]]
    missing = right["right_steps"] < right["gold_steps"]
    tests = [
        right["derived"],
        right["gold_steps"].isna(),
        missing & (right["written"] < right["gold_steps"]),
        missing,
    ]
    way = np.select(tests, [WAYS[0], WAYS[4], WAYS[3], WAYS[2]], WAYS[1])
    return _count(right.assign(way=way), rows, "way", WAYS)


def _count_followed(rows: pd.DataFrame) -> pd.DataFrame:
    told = rows[rows["followed"] != ""]
    counts = _count(told, rows, "followed", FOLLOWED)
    chance = told[told["followed"].isin([TRAINED, UNTRAINED])].groupby(KEYS)["by_chance"].mean()
    return counts.merge(chance.reset_index(), on=KEYS, how="left")


def _count(told: pd.DataFrame, rows: pd.DataFrame, category: str, order: Sequence[str]) -> pd.DataFrame:
    """n by arm, level and category."""
    counts = told.groupby([*KEYS, category]).size().to_frame("n")
    present = set(told[category])
    return _complete(counts, rows, category, [name for name in order if name in present])


def _complete(counts: pd.DataFrame, rows: pd.DataFrame, category: str, order: Sequence[str]) -> pd.DataFrame:
    """A row a category for every arm on every level that has counts: 0 where an arm has none, so that none is left
    out. Arms and levels as in the records, categories in their own order."""
    counted = {key[1:3] for key in counts.index}
    keys = rows[KEYS].drop_duplicates().itertuples(index=False, name=None)
    index = [(*key, name) for key in keys if key[1:] in counted for name in order]
    wanted = pd.MultiIndex.from_tuples(index, names=[*KEYS, category])
    return counts.reindex(wanted, fill_value=0).astype("int64").reset_index()


def _not_told(rows: pd.DataFrame) -> list[str]:
    found = []
    unchecked = sorted(set(rows.loc[rows["judged"] & ~rows["checked"], "task"].dropna()))
    if unchecked:
        found.append(
            f"task {', '.join(unchecked)} did not check the steps of every completion: those have no kind of error"
        )
    if rows.loc[rows["checked"], "gold_steps"].isna().any():
        found.append(
            "the records do not say how many steps the gold derivations have (an older evaluation): where errors fall "
            "and which right answers are shortcuts is left out there; evaluate again to have it"
        )
    if (
        rows["path"].map(bool).any()
        and not (rows["followed"] != "").any()
        and (rows["judged"] & ~rows["correct"]).any()
    ):
        found.append(
            "which wrong derivations repeat a trained path is not told: the records hold no trained paths (an older "
            "evaluation, or cells with too many to list)"
        )
    return found
