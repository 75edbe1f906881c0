"""Which arms are compared with which, and by how much they differ on the same problems under the same seeds.

An arm is compared with the arm that it continues from, and with the first listed of the arms that continue from the
same one. A pair that cannot be compared is named. The statistics are `report.statistics`'s; there is no verdict here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from rlreason.algorithms.pass_at_k import pass_at_k
from rlreason.records import PlanRecord
from rlreason.report.statistics import PairedDifference, corrected, paired_difference

MEASURES = ("pass_at_1", "pass_at_k", "derivation_correct")
"""Greedy answers right, pass@k at the largest k there are samples for, and greedy completions with every step right."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An arm, and the one it is compared with: its base, the first of its siblings, or one that was asked for."""

    arm: str
    against: str
    relation: Literal["base", "sibling", "asked for"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One pair on one level.

    Attributes:
        seeds: those under which both arms were evaluated.
        problems: how many were asked of both arms under all of these seeds.
        left_out: how many were asked, but not of both under all of them.
        k: of pass@k; None where some problem has too few samples for any.
        measures: by names of `MEASURES`; without those that were not recorded. p values are corrected for all pairs
            and levels on which the same measure was compared.
    """

    level: str
    pair: Pair
    seeds: tuple[int, ...]
    problems: int
    left_out: int
    k: int | None
    measures: dict[str, PairedDifference]

    def title(self, measure: str) -> str:
        """What a measure is called in tables."""
        titles = {"pass_at_1": "greedy answers right", "derivation_correct": "every step right"}
        return titles.get(measure, f"pass@{self.k}")

    def as_json(self) -> dict[str, Any]:
        """The comparison's entry in report.json."""
        return {
            "level": self.level,
            "arm": self.pair.arm,
            "against": self.pair.against,
            "relation": self.pair.relation,
            "seeds": list(self.seeds),
            "problems": self.problems,
            "left_out": self.left_out,
            "k": self.k,
            "measures": {name: difference.as_json() for name, difference in self.measures.items()},
        }


@dataclass(frozen=True, slots=True)
class Paired:
    """All comparisons, level by level, and in words those that could not be made."""

    comparisons: tuple[Comparison, ...]
    not_compared: tuple[str, ...]

    @property
    def scope(self) -> str:
        """In words, what the intervals and p values cover: problems always, seeds only where there are several."""
        single = [len(each.seeds) == 1 for each in self.comparisons]
        if not single:
            return "Nothing was compared."
        if all(single):
            return (
                "One seed: seeds were not sampled. Intervals and p values cover the choice of problems alone, and say "
                "nothing about how much another training run would differ."
            )
        covered = "Intervals and p values cover the choice of problems and of seeds"
        return f"{covered}, but where there is one seed only that of problems." if any(single) else f"{covered}."

    def as_json(self) -> dict[str, Any]:
        """The entry "paired" of report.json."""
        return {
            "scope": self.scope,
            "comparisons": [each.as_json() for each in self.comparisons],
            "not_compared": list(self.not_compared),
        }


def arm_pairs(plan: PlanRecord) -> tuple[Pair, ...]:
    """Every arm with its base, then every arm with the first listed of its siblings.

    An arm's base is the arm with the longest path of stages that its own path begins with and goes on from. Siblings
    have the same base, or none: then they begin at the base model.
    """
    paths = {name: next(iter(arm.seeds.values())).stages for name, arm in plan.arms.items() if arm.seeds}
    bases = {name: _base(path, paths) for name, path in paths.items()}
    first: dict[str | None, str] = {}
    for name, base in bases.items():
        first.setdefault(base, name)
    return (
        *(Pair(name, base, "base") for name, base in bases.items() if base is not None),
        *(Pair(name, first[base], "sibling") for name, base in bases.items() if first[base] != name),
    )


def _base(path: tuple[str, ...], paths: Mapping[str, tuple[str, ...]]) -> str | None:
    shorter = {name: other for name, other in paths.items() if len(other) < len(path) and other == path[: len(other)]}
    return max(shorter, key=lambda name: len(shorter[name]), default=None)


def compare_pairs(plan: PlanRecord, counts: pd.DataFrame, pairs: Sequence[Pair] | None = None) -> Paired:
    """Compare every pair on every level.

    Args:
        counts: those of all finished evaluations, as `report.counts` makes them.
        pairs: which; None: those of `arm_pairs`.
    """
    if counts.empty:
        return Paired((), ())
    counts = counts[~counts["probe"]]
    pairs = arm_pairs(plan) if pairs is None else pairs
    found: list[Comparison] = []
    not_compared: dict[tuple[Pair, str], list[str]] = {}
    for level in plan.evaluation.levels:
        k, outcomes = _outcomes(counts[counts["level"] == level], plan.evaluation.k)
        for pair in pairs:
            compared = _compare(plan, pair, level, k, outcomes)
            if isinstance(compared, Comparison):
                found.append(compared)
            else:
                not_compared.setdefault((pair, compared), []).append(level)
    return Paired(
        _corrected(found),
        tuple(
            f"{pair.arm} against {pair.against} on {', '.join(levels)}: {reason}"
            for (pair, reason), levels in not_compared.items()
        ),
    )


def _outcomes(counts: pd.DataFrame, ks: Sequence[int]) -> tuple[int | None, dict[str, pd.DataFrame]]:
    """What every evaluation made of every problem of one level.

    Returns:
        k, the largest that all problems have samples for, and by measure the shares in [0, 1]: a row a problem, a
        column an evaluation, NaN where a problem was not asked or its steps were not checked.
    """
    greedy = counts[counts["greedy"]].set_index(["problem", "stage"]).sort_index()
    checked = greedy["checked"].groupby(level="stage").transform("sum") > 0
    outcomes = pd.DataFrame(
        {
            "pass_at_1": greedy["right"] / greedy["n"],
            "derivation_correct": (greedy["derived"] / greedy["n"]).where(checked),
        }
    )
    sampled = counts[~counts["greedy"]].set_index(["problem", "stage"])[["n", "right"]]
    sampled = sampled.reindex(outcomes.index, fill_value=0)
    k = max((k for k in ks if k <= sampled["n"].min()), default=None)
    if k is not None:
        outcomes["pass_at_k"] = pass_at_k(sampled["n"], sampled["right"], k)
    return k, {str(name): outcomes[name].unstack("stage") for name in outcomes}


def _compare(
    plan: PlanRecord, pair: Pair, level: str, k: int | None, outcomes: Mapping[str, pd.DataFrame]
) -> Comparison | str:
    """The comparison, or why there is none."""
    greedy = outcomes["pass_at_1"]
    of_arm, of_other = (
        {seed: run.evaluation for seed, run in plan.arms[name].seeds.items() if run.evaluation in greedy}
        for name in (pair.arm, pair.against)
    )
    seeds = tuple(seed for seed in of_arm if seed in of_other)
    if not seeds:
        return "there is no seed under which both were evaluated"
    first, second = [of_arm[seed] for seed in seeds], [of_other[seed] for seed in seeds]
    asked = greedy[first + second].dropna(how="all")
    shared = asked.dropna().index
    if shared.empty:
        return "there is no problem that both were asked under all shared seeds"
    measures = {}
    for name in (each for each in MEASURES if each in outcomes):
        shares = outcomes[name].loc[shared, first + second]
        if shares.notna().all(axis=None):
            measures[name] = paired_difference(shares[first].to_numpy().T, shares[second].to_numpy().T)
    return Comparison(level, pair, seeds, len(shared), len(asked) - len(shared), k, measures)


def _corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The same, with p values corrected: a family of comparisons is all those of one measure."""
    families = {
        name: iter(corrected([each.measures[name] for each in comparisons if name in each.measures]))
        for name in MEASURES
    }
    return tuple(replace(each, measures={name: next(families[name]) for name in each.measures}) for each in comparisons)
