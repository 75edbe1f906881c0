"""The verdict: which arms are judged against which base on which levels, from the records of a run to one label each.

    counts, halves of samples, probes -> evidence -> clauses -> label

The rules are those of the run's plan; the numbers are `verdict_evidence`'s, how they are read `verdict_rules`' affair.
What the records do not hold is said among what is missing; nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rlreason.errors import RecordsError
from rlreason.records import PlanRecord, RunFolder, read_table, scan_table
from rlreason.records.documents import PlanVerdict
from rlreason.report.pairs import arm_pairs
from rlreason.report.statistics_crossed import Estimate, crossed_share
from rlreason.report.statistics_effects import mixed_model
from rlreason.report.summary import Summary
from rlreason.report.verdict_evidence import (
    Control,
    Evidence,
    Reach,
    Tally,
    control,
    derivations,
    evidence,
    reach,
    with_corrected,
)
from rlreason.report.verdict_registration import registration_sentence
from rlreason.report.verdict_rules import NOT_ENOUGH, Clause, Decision, decide, read_clauses

REINFORCED = "rl"
CONTROL_STAGES = {"sft", "rft"}


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """An arm that goes on by reinforcement learning, where it goes on from, and what it must beat.

    Attributes:
        base: the arm that ends where its reinforcement learning begins; None where there is none, as `lacking` says.
        controls: names of arms.
    """

    arm: str
    base: str | None
    controls: tuple[str, ...]
    lacking: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one pair and level; without evidence where nothing could be measured."""

    level: str
    pair: JudgedPair
    decision: Decision
    clauses: dict[str, Clause]
    evidence: Evidence | None

    def as_json(self) -> dict[str, Any]:
        """The entry in report.json."""
        return {
            "level": self.level,
            "arm": self.pair.arm,
            "base": self.pair.base,
            "verdict": self.decision.label,
            "without_the_cap": self.decision.capped,
            "missing": list(self.decision.missing),
            "clauses": {name: clause.as_json() for name, clause in self.clauses.items()},
            "evidence": self.evidence.as_json() if self.evidence else None,
        }


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All of them, the rules they follow, and in words how these stand to rules that were frozen."""

    rules: PlanVerdict
    registration: str
    judgements: tuple[Judgement, ...]

    def as_json(self) -> dict[str, Any]:
        """The entry "verdict" of report.json."""
        return {
            "rules": self.rules.model_dump(mode="json"),
            "registration": self.registration,
            "verdicts": [each.as_json() for each in self.judgements],
        }


def judge(folder: RunFolder, summary: Summary) -> Verdicts:
    """Every verdict that the plan asks for, level by level."""
    plan = summary.plan
    rules = resolved_rules(plan)
    pairs = judged_pairs(plan, rules)
    table = summary.counts.table
    finished = set(table["stage"])
    bases = [run.evaluation for pair in pairs if pair.base for run in plan.arms[pair.base].seeds.values()]
    halves = count_halves(folder, [stage for stage in dict.fromkeys(bases) if stage in finished])
    found = []
    for level in rules.levels or ():
        for pair in pairs:
            measured = _measure(folder, plan, rules, pair, level, table, halves)
            if isinstance(measured, Evidence):
                clauses = read_clauses(measured, rules)
                found.append(Judgement(level, pair, decide(clauses, len(measured.seeds), rules), clauses, measured))
            else:
                found.append(Judgement(level, pair, Decision(NOT_ENOUGH, None, (measured,)), {}, None))
    return Verdicts(rules, registration_sentence(plan, summary.manifest), tuple(found))


def resolved_rules(plan: PlanRecord) -> PlanVerdict:
    """The plan's rules; levels, k and probes as the evaluation has them where an old plan leaves them out."""
    asked, rules = plan.evaluation, plan.verdict
    return rules.model_copy(
        update={
            "levels": rules.levels or asked.levels[1:] or asked.levels,
            "k": tuple(sorted(rules.k or asked.k)),
            "probes": asked.probes if rules.probes is None else rules.probes,
        }
    )


def judged_pairs(plan: PlanRecord, rules: PlanVerdict) -> tuple[JudgedPair, ...]:
    """Every arm whose own stages, those after its base, hold reinforcement learning.

    Controls, where the rules name none: the arms with the same base whose own stages are all supervised training or
    rejection fine-tuning.
    """
    bases = {pair.arm: pair.against for pair in arm_pairs(plan) if pair.relation == "base"}
    own = {arm: _own_stages(plan, arm, bases.get(arm)) for arm in plan.arms}
    found = []
    for arm, stages in own.items():
        if REINFORCED not in stages:
            continue
        base = bases.get(arm)
        named = rules.controls
        if named is None:
            named = tuple(other for other in own if bases.get(other) == base and _is_control(own[other]))
        lacking = ""
        if base is None or stages[0] != REINFORCED:
            lacking, base = f"an arm that ends where the reinforcement learning of {arm} begins", None
        found.append(JudgedPair(arm, base, tuple(each for each in named if each not in (arm, base)), lacking))
    return tuple(found)


def _own_stages(plan: PlanRecord, arm: str, base: str | None) -> list[str]:
    """Types of the stages of an arm after those of its base."""
    paths = [next(iter(plan.arms[name].seeds.values())).stages for name in (arm, base) if name is not None]
    return [plan.stages[stage].type for stage in paths[0][len(paths[1]) if base else 0 :]]


def _is_control(stages: Sequence[str]) -> bool:
    return bool(stages) and set(stages) <= CONTROL_STAGES


def count_halves(folder: RunFolder, stages: Sequence[str]) -> pd.DataFrame:
    """Samples with even and with odd numbers apart: index (stage, level, problem, odd), n, right and derived."""
    keys, sums = ["stage", "level", "problem", "odd"], ["n", "right", "derived"]
    read = ("stage", "level", "probe", "problem", "greedy", "sample", "correct", "derivation_correct")
    counted = []
    for stage in stages:
        for part in scan_table(folder, "evaluations", stage, read):
            rows = part.filter(pc.invert(pc.or_(part["greedy"], part["probe"])))
            verdicts = {"right": rows["correct"], "derived": rows["derivation_correct"]}
            whole_numbers = {name: pc.cast(pc.fill_null(each, False), pa.int64()) for name, each in verdicts.items()}
            odd = pc.bit_wise_and(rows["sample"], 1)
            plain = {name: rows[name] for name in keys[:-1]} | {"odd": odd, "n": pa.repeat(1, len(rows))}
            grouped = pa.table(plain | whole_numbers).group_by(keys, use_threads=False)
            totals = grouped.aggregate([(name, "sum") for name in sums])
            counted.append(totals.rename_columns([*keys, *sums]).to_pandas())
    if not counted:
        return pd.DataFrame(columns=[*keys, *sums]).set_index(keys)
    return pd.concat(counted).groupby(keys, sort=False).sum()


def _measure(
    folder: RunFolder,
    plan: PlanRecord,
    rules: PlanVerdict,
    pair: JudgedPair,
    level: str,
    table: pd.DataFrame,
    halves: pd.DataFrame,
) -> Evidence | str:
    """The evidence on a pair and level, or what is missing for any."""
    if pair.base is None:
        return pair.lacking
    sampled = table[~table["probe"] & ~table["greedy"] & (table["level"] == level)]
    sampled = sampled.set_index(["stage", "problem"]).sort_index()
    shared = _shared(plan, sampled, (pair.arm, pair.base))
    if shared is None:
        return f"samples of {pair.arm} and {pair.base} on {level}, of the same problems under the same seeds"
    column = "derived" if rules.outcome == "derivation" else "right"
    arm, base = (shared.tally(plan, sampled, name, column) for name in (pair.arm, pair.base))
    if rules.outcome == "derivation" and not shared.sums(plan, sampled, pair.arm, "checked").all():
        return f"derivations that the task can check, on {level}"
    fewest = min(arm.fewest, base.fewest)
    ks = [k for k in rules.k or () if k <= fewest]
    if not ks:
        return f"samples: {fewest} a problem on {level}, and the smallest k of the verdict is {min(rules.k or (1,))}"
    return evidence(
        shared.seeds,
        arm,
        base,
        shared.halves(plan, halves, pair.base, level, column),
        ks=ks,
        tries=rules.amplification,
        alpha=rules.alpha,
        mixed=mixed_model(arm.pass_at(1) - base.pass_at(1)),
        controls=_controls(plan, rules, pair, sampled, ks[-1], column),
        derivations=_derivations(plan, rules, pair, sampled, shared, ks[-1]),
        prerequisites=_prerequisites(plan, rules, pair.base, table),
        chance=_chance(folder, plan, pair.base, level, ks[-1]),
        reach=_reach(folder, plan, rules, pair, level, shared, base),
    )


@dataclass(frozen=True, slots=True)
class _Shared:
    """The seeds under which all of some arms were evaluated, and the problems asked of all of them under all these."""

    seeds: tuple[int, ...]
    problems: pd.Index

    def sums(self, plan: PlanRecord, sampled: pd.DataFrame, arm: str, column: str) -> np.ndarray:
        """[S, P] int."""
        stages = [plan.arms[arm].seeds[seed].evaluation for seed in self.seeds]
        return np.stack([sampled.loc[stage, column].loc[self.problems].to_numpy(dtype=int) for stage in stages])

    def tally(self, plan: PlanRecord, sampled: pd.DataFrame, arm: str, column: str) -> Tally:
        """Samples, and those that `column` counts."""
        return Tally(self.sums(plan, sampled, arm, "n"), self.sums(plan, sampled, arm, column))

    def halves(self, plan: PlanRecord, halves: pd.DataFrame, arm: str, level: str, column: str) -> tuple[Tally, Tally]:
        """The arm's samples in two."""
        stages = [plan.arms[arm].seeds[seed].evaluation for seed in self.seeds]
        found = []
        for odd in (0, 1):
            wanted = pd.MultiIndex.from_product([stages, [level], self.problems, [odd]])
            rows = halves.reindex(wanted, fill_value=0)
            shape = (len(stages), len(self.problems))
            found.append(Tally(*(rows[name].to_numpy(dtype=int).reshape(shape) for name in ("n", column))))
        return found[0], found[1]


def _shared(plan: PlanRecord, sampled: pd.DataFrame, arms: Sequence[str]) -> _Shared | None:
    """None where there is no such seed or problem."""
    there = set(sampled.index.unique("stage"))
    runs = [
        {seed: run.evaluation for seed, run in plan.arms[arm].seeds.items() if run.evaluation in there} for arm in arms
    ]
    seeds = tuple(seed for seed in runs[0] if all(seed in run for run in runs))
    if not seeds:
        return None
    problems = sampled.loc[runs[0][seeds[0]]].index
    for run in runs:
        for seed in seeds:
            problems = problems[problems.isin(sampled.loc[run[seed]].index)]
    return _Shared(seeds, problems) if len(problems) else None


def _controls(
    plan: PlanRecord, rules: PlanVerdict, pair: JudgedPair, sampled: pd.DataFrame, k: int, column: str
) -> tuple[Control, ...]:
    found = []
    for name in pair.controls:
        shared = _shared(plan, sampled, (pair.arm, name)) if name in plan.arms else None
        if shared is None:
            found.append(Control(name, reason="not evaluated on the same problems under the same seeds"))
            continue
        arm, other = (shared.tally(plan, sampled, each, column) for each in (pair.arm, name))
        if min(arm.fewest, other.fewest) < k:
            found.append(Control(name, reason=f"{min(arm.fewest, other.fewest)} samples a problem, fewer than k = {k}"))
            continue
        found.append(control(name, arm, other, k, rules.alpha))
    return with_corrected(found)


def _derivations(
    plan: PlanRecord, rules: PlanVerdict, pair: JudgedPair, sampled: pd.DataFrame, shared: _Shared, k: int
) -> Any:
    assert pair.base is not None
    if not all(shared.sums(plan, sampled, name, "checked").all() for name in (pair.arm, pair.base)):
        return None
    arm, base = (shared.tally(plan, sampled, name, "derived") for name in (pair.arm, pair.base))
    return derivations(arm, base, shared.sums(plan, sampled, pair.arm, "right"), k, rules.alpha)


def _prerequisites(
    plan: PlanRecord, rules: PlanVerdict, base: str, table: pd.DataFrame
) -> Mapping[str, Estimate | None]:
    """Share of each probe that the base's greedy completions get right."""
    found: dict[str, Estimate | None] = {}
    for probe in rules.probes or ():
        asked = table[table["probe"] & table["greedy"] & (table["level"] == probe)]
        asked = asked.set_index(["stage", "problem"]).sort_index()
        shared = _shared(plan, asked, (base,))
        if shared is None:
            found[probe] = None
            continue
        right, n = (shared.sums(plan, asked, base, column) for column in ("right", "n"))
        found[probe] = crossed_share(right / n, rules.alpha)
    return found


def _chance(folder: RunFolder, plan: PlanRecord, base: str, level: str, k: int) -> float | None:
    """Mean share of the problems that guessing solves in k tries."""
    stages = [run.evaluation for run in plan.arms[base].seeds.values() if folder.is_done(run.evaluation)]
    try:
        problems = read_table(folder, "problems", stages[:1], ["level", "problem", "chance"])
    except RecordsError:  # the summary names the file
        return None
    chance = problems.loc[problems["level"] == level, "chance"].to_numpy(dtype=float)
    known = chance[~np.isnan(chance)]
    return float(np.mean(1 - (1 - known) ** k)) if len(known) else None


def _reach(
    folder: RunFolder, plan: PlanRecord, rules: PlanVerdict, pair: JudgedPair, level: str, shared: _Shared, base: Tally
) -> Reach | None:
    """How likely the base finds the arm's right derivations, where that was recorded."""
    assert pair.base is not None
    logprobs = np.full((len(shared.seeds), len(shared.problems)), np.nan)
    for row, seed in enumerate(shared.seeds):
        stages = plan.arms[pair.base].seeds[seed].stages
        evaluation = plan.arms[pair.arm].seeds[seed].evaluation
        rows = read_table(folder, "base_logprobs", [evaluation], ["level", "problem", "base", "logprob"])
        rows = rows[(rows["level"] == level) & (rows["base"] == (stages[-1] if stages else ""))]
        logprobs[row] = rows.groupby("problem")["logprob"].max().reindex(shared.problems).to_numpy(dtype=float)
    return reach(logprobs, base, rules.reach, rules.alpha)
