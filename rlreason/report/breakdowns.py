"""Shares of right greedy answers by what is asked, from cell to cell and arm to arm, and what became of atomic skills.

A problem counts once, with its mean over seeds, and the intervals are Wilson's over problems. Differences to the base
arm are of the same problems; those of the probes have paired intervals. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from rlreason.records import PlanRecord
from rlreason.report.pairs import arm_pairs
from rlreason.report.statistics import PairedDifference, corrected, paired_difference, wilson

_ASKED = ["arm", "probe", "level"]
SHARE_COLUMNS = ("arm", "level", "probe", "value", "problems", "right", "low", "high")


@dataclass(frozen=True, slots=True)
class Skill:
    """What became of an atomic skill between an arm and its base, in shares of the probe's problems right.

    Attributes:
        probe, arm, against: the probe, the arm and its base.
        seeds, problems: those under which, and on which, both were asked.
        before, after: share right of the base and of the arm.
        difference: after minus before; corrected for all skills and pairs.
    """

    probe: str
    arm: str
    against: str
    seeds: tuple[int, ...]
    problems: int
    before: float
    after: float
    difference: PairedDifference

    def as_json(self) -> dict[str, Any]:
        """Its entry in report.json."""
        told = {"probe": self.probe, "arm": self.arm, "against": self.against, "seeds": list(self.seeds)}
        figures = {"problems": self.problems, "before": self.before, "after": self.after}
        return {**told, **figures, **self.difference.as_json()}


@dataclass(frozen=True, slots=True)
class Breakdowns:
    """Shares right, as tidy tables of `SHARE_COLUMNS`; low and high are the 95% interval.

    Attributes:
        by_difficulty, by_operation, by_length: value is the cell's difficulty; an operation that the path of the gold
            derivation names (a problem counts for each); the range that the number of its steps falls in. Levels only.
            by_length is empty where it would say what by_difficulty says.
        transfer: value is the cell, of levels and probes; `against` is the arm's base and `difference` the share minus
            the base's (None and NaN where there is none).
        forgetting: every probe of every arm that has a base.
    """

    by_difficulty: pd.DataFrame
    by_operation: pd.DataFrame
    by_length: pd.DataFrame
    transfer: pd.DataFrame
    forgetting: tuple[Skill, ...]

    def as_json(self) -> dict[str, Any]:
        """Its entries in report.json, as lists of records."""
        frames = {name: getattr(self, name) for name in ("by_difficulty", "by_operation", "by_length", "transfer")}
        return {
            **{name: as_records(frame) for name, frame in frames.items()},
            "forgetting": [skill.as_json() for skill in self.forgetting],
        }


def as_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values for report.json, NaN as None."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in plain.to_dict("records")]


def break_down(rows: pd.DataFrame, plan: PlanRecord) -> Breakdowns:
    """All of it.

    Args:
        rows: `report.greedy.GreedyRows.rows`.
    """
    problems = rows.drop_duplicates([*_ASKED, "problem"])
    right = rows.groupby([*_ASKED, "problem"], sort=False)["correct"].mean().rename("right")
    problems = problems.join(right, on=[*_ASKED, "problem"])
    levels = problems[~problems["probe"]]
    lengths = levels[levels["gold_steps"].notna()]
    lengths = lengths.assign(steps=[_length_range(int(steps)) for steps in lengths["gold_steps"]])
    one_length = lengths.groupby(["level", "difficulty"])["steps"].nunique().le(1).all()
    operations = levels.assign(operation=[tuple(dict.fromkeys(path)) for path in levels["path"]]).explode("operation")
    return Breakdowns(
        by_difficulty=_shares(levels, "difficulty"),
        by_operation=_shares(operations[operations["operation"].notna()], "operation"),
        by_length=_shares(lengths.iloc[:0] if one_length else lengths, "steps"),
        transfer=_transfer(_shares(problems, "cell"), plan),
        forgetting=_forgetting(rows[rows["probe"]], plan),
    )


def _length_range(steps: int) -> tuple[int, int]:
    """The range of 1, 2, 3 to 4, 5 to 8, 9 to 16 and so on that a number of steps falls in: equal ratios, because
    lengths spread over orders of magnitude."""
    last = 1 << (steps - 1).bit_length()
    return last // 2 + 1, last


def _shares(problems: pd.DataFrame, by: str) -> pd.DataFrame:
    """`SHARE_COLUMNS` for each arm, level and value of a column; arms and levels in their order, values sorted."""
    found = []
    for (arm, probe, level), asked in problems.groupby(_ASKED, sort=False):
        for value, group in asked.groupby(by):
            share = wilson(group["right"].to_numpy(dtype=float))
            shown = _words(value)
            found.append((arm, level, probe, shown, len(group), share.value, share.low, share.high))
    return pd.DataFrame(found, columns=list(SHARE_COLUMNS))


def _words(value: Any) -> Any:
    """A range of lengths as "5 to 8"; anything else as it is."""
    if not isinstance(value, tuple):
        return value
    first, last = value
    return str(last) if first == last else f"{first} to {last}"


def _transfer(shares: pd.DataFrame, plan: PlanRecord) -> pd.DataFrame:
    """Each cell's share with its base arm's, and the difference."""
    bases = {pair.arm: pair.against for pair in arm_pairs(plan) if pair.relation == "base"}
    # of text, also where no arm has a base and nothing but nulls is mapped
    shares = shares.assign(against=shares["arm"].map(bases).astype(shares["arm"].dtype))
    base = shares[["arm", "level", "probe", "value", "right"]].rename(columns={"arm": "against", "right": "of_base"})
    joined = shares.merge(base, on=["against", "level", "probe", "value"], how="left")
    return joined.assign(difference=joined["right"] - joined["of_base"]).drop(columns="of_base")


def _forgetting(probes: pd.DataFrame, plan: PlanRecord) -> tuple[Skill, ...]:
    """Every probe of every arm that has a base, and p values corrected for all of them."""
    found = [
        skill
        for probe in dict.fromkeys(probes["level"])
        for pair in arm_pairs(plan)
        if pair.relation == "base"
        and (skill := _skill(str(probe), pair.arm, pair.against, probes[probes["level"] == probe])) is not None
    ]
    differences = corrected([skill.difference for skill in found])
    return tuple(replace(skill, difference=each) for skill, each in zip(found, differences, strict=True))


def _skill(probe: str, arm: str, against: str, rows: pd.DataFrame) -> Skill | None:
    """One arm's difference to its base on one probe; None where they share no seed or problem."""
    after, before = (
        rows[rows["arm"] == name].pivot_table(index="seed", columns="problem", values="correct", aggfunc="mean")
        for name in (arm, against)
    )
    seeds = after.index.intersection(before.index)
    after, before = after.loc[seeds], before.loc[seeds]
    problems = after.dropna(axis=1).columns.intersection(before.dropna(axis=1).columns)
    if seeds.empty or problems.empty:
        return None
    a, b = after[problems].to_numpy(dtype=float), before[problems].to_numpy(dtype=float)
    numbers = tuple(int(seed) for seed in seeds)
    difference = paired_difference(a, b)
    return Skill(probe, arm, against, numbers, len(problems), float(b.mean()), float(a.mean()), difference)
