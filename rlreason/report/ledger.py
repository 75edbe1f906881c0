"""What the arms spent to become what was evaluated, and how near each control came to its partner's budget.

From the ledgers that stages leave in their done.json; how these are counted is the stages' affair. Evaluations are no
part of an arm's budget: every arm is asked the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from rlreason.records import Ledger, PlanRecord, RunFolder, read_ledger
from rlreason.report.summary import Summary, stage_label
from rlreason.report.tables import NOTHING, Cell, Table, arm_cell, duration_cell

WORDS = {"samples": "samples", "tokens": "trained tokens", "flops": "FLOPs"}
SCORER = "prm"


@dataclass(frozen=True, slots=True)
class ArmBudget:
    """What an arm spent, by seed; only the seeds whose stages all have a ledger.

    Attributes:
        own: in the stages after those that it shares with arms which do not go on from it.
        whole: in all of them. The training of the step scorers that stages use is in both.
    """

    own: dict[int, Ledger]
    whole: dict[int, Ledger]

    def as_json(self) -> dict[str, Any]:
        """The arm's entry in report.json."""
        return {
            name: {str(seed): ledger.model_dump() for seed, ledger in ledgers.items()}
            for name, ledgers in (("own", self.own), ("whole", self.whole))
        }


@dataclass(frozen=True, slots=True)
class MatchedPair:
    """A control beside its partner.

    Attributes:
        stage, partner: identities.
        by: what was compared: "samples", "tokens" or "flops".
        own, budget: what the control spent of it, and its partner.
    """

    stage: str
    partner: str
    by: str
    own: float
    budget: float

    @property
    def ratio(self) -> float:
        """What the control spent over what its partner did; below 1: it stopped at its own updates."""
        return self.own / self.budget


@dataclass(frozen=True, slots=True)
class Budgets:
    """All of it; `stages` are the ledgers of the finished stages that have one, by identity."""

    arms: dict[str, ArmBudget]
    stages: dict[str, Ledger]
    pairs: tuple[MatchedPair, ...]

    def as_json(self) -> dict[str, Any]:
        """The entry "ledger" of report.json."""
        return {
            "arms": {name: arm.as_json() for name, arm in self.arms.items()},
            "stages": {identity: ledger.model_dump() for identity, ledger in self.stages.items()},
            "matched": {
                pair.stage: {"partner": pair.partner, "by": pair.by, "own": pair.own, "budget": pair.budget}
                | {"ratio": pair.ratio}
                for pair in self.pairs
            },
        }


def summarise_budgets(folder: RunFolder, plan: PlanRecord) -> Budgets:
    """Read the ledgers of a run, finished or not.

    Raises:
        RecordsError: a done.json is malformed; names file and key.
    """
    read = {identity: read_ledger(folder, identity) for identity in plan.stages if folder.is_done(identity)}
    ledgers = {identity: ledger for identity, ledger in read.items() if ledger is not None}
    arms: dict[str, ArmBudget] = {name: ArmBudget({}, {}) for name in plan.arms}
    for name, arm in plan.arms.items():
        for seed, run in arm.seeds.items():
            shared = _shared(plan, name, seed)
            whole = _with_scorers(plan, run.stages)
            if all(identity in ledgers for identity in whole):
                arms[name].whole[seed] = _total(ledgers, whole)
                arms[name].own[seed] = _total(ledgers, _with_scorers(plan, run.stages[shared:]))
    return Budgets(arms, ledgers, tuple(_pairs(plan, ledgers)))


def _shared(plan: PlanRecord, arm: str, seed: int) -> int:
    """How many of an arm's first stages belong to another arm too that does not go on from it."""
    own = plan.arms[arm].seeds[seed].stages
    others = [other.seeds[seed].stages for name, other in plan.arms.items() if name != arm and seed in other.seeds]
    return max((_common(own, other) for other in others if other[: len(own)] != own), default=0)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the beginning that both have."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _with_scorers(plan: PlanRecord, stages: Sequence[str]) -> list[str]:
    """The stages, and those that train the step scorers which they use."""
    needed = [other for identity in stages for other in plan.stages[identity].needs]
    return list(dict.fromkeys([*stages, *(other for other in needed if plan.stages[other].type == SCORER)]))


def _total(ledgers: Mapping[str, Ledger], stages: Sequence[str]) -> Ledger:
    return reduce(add, (ledgers[identity] for identity in stages), Ledger())


def _pairs(plan: PlanRecord, ledgers: Mapping[str, Ledger]) -> list[MatchedPair]:
    found = []
    for identity, stage in plan.stages.items():
        match = stage.match
        if match is None or identity not in ledgers or match.stage not in ledgers:
            continue
        own, budget = ledgers[identity].amount(match.by), ledgers[match.stage].amount(match.by)
        if own is not None and budget:
            found.append(MatchedPair(identity, match.stage, match.by, own, budget))
    return found


def budget_tables(budgets: Budgets, summary: Summary) -> list[Table]:
    """The tables of the section "Budgets"; none where no stage has a ledger."""
    several = len(summary.manifest.seeds) > 1
    a_seed = ", mean over seeds" if several else ""
    tables: list[Table] = []
    for title, which in (("An arm's own stages", "own"), ("All its stages", "whole")):
        rows = [
            (arm_cell(name, summary.arms[name]), *_cells(list(ledgers.values())))
            for name, arm in budgets.arms.items()
            if (ledgers := getattr(arm, which))
        ]
        if rows and all(tuple(rows) != table.rows for table in tables):  # arms that share nothing have one table
            headings = ("arm", "prompts", "samples", "sampled tokens", "trained tokens", "updates")
            tables.append(Table((*headings, "FLOPs", "device time"), tuple(rows), title + a_seed))
    return [*tables, *_matched_table(budgets, summary)]


def _cells(ledgers: Sequence[Ledger]) -> list[Cell]:
    """The entries, means over seeds."""
    total, count = reduce(add, ledgers), len(ledgers)
    counts = (total.prompts, total.samples, total.sampled_tokens, total.trained_tokens, total.updates)
    return [
        *(Cell(f"{value / count:,.0f}", value=value / count) for value in counts),
        NOTHING if total.flops is None else Cell(f"{total.flops / count:.3g}", value=total.flops / count),
        duration_cell(total.device_seconds / count),
    ]


def _matched_table(budgets: Budgets, summary: Summary) -> list[Table]:
    rows = []
    for pair in budgets.pairs:
        short = f"stopped at its own updates, {_amount(pair.own)} of {_amount(pair.budget)} {WORDS[pair.by]}"
        rows.append(
            (
                Cell(stage_label(summary.plan, pair.stage)),
                Cell(stage_label(summary.plan, pair.partner)),
                Cell(WORDS[pair.by]),
                Cell(_amount(pair.own), value=pair.own),
                Cell(_amount(pair.budget), value=pair.budget),
                Cell(f"{pair.ratio:.3f}", short if pair.ratio < 1 else "", value=pair.ratio),
            )
        )
    headings = ("control", "matched with", "by", "it spent", "its partner", "ratio")
    return [Table(headings, tuple(rows), "Controls and their partners")] if rows else []


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value < 1e9 else f"{value:.3g}"
