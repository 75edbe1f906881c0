"""`rlreason bench verdict`: are the intervals as sure as they say, and how often does the verdict err?

Made-up arms of known chances are sampled as an evaluation would and measured by the report's own code. Coverage: how
often an interval holds the truth. Verdicts: how often an arm that only amplifies its base is called a synthesis, and
how often one that solves what its base cannot. The clauses that need other records (controls, derivations,
prerequisites, guessing) are granted, so that these rates are those of the clauses on pass@k alone: the worst case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table

from rlreason.records.documents import PlanVerdict
from rlreason.report.statistics import bootstrap_over_problems, wilson
from rlreason.report.statistics_crossed import Estimate, crossed_share
from rlreason.report.statistics_effects import effect_sizes
from rlreason.report.verdict_evidence import Reach, Tally, course, derivations, evidence, reach, split_half
from rlreason.report.verdict_rules import LABELS, REQUIRED, Clause, decide, read_clauses

DERIVED = (4, 1)
"""Of the made-up right answers of a problem, the share that rests on right steps is drawn from this beta."""


@dataclass(frozen=True, slots=True)
class Design:
    """The size of an evaluation, and of what its problems are.

    Attributes:
        between_seeds: how much seeds differ (standard deviation, in log odds).
        never, hardly: shares of the problems that the base never solves, and solves once in 100 to `rarest` tries.
    """

    seeds: int = 3
    problems: int = 128
    samples: int = 64
    between_seeds: float = 0.3
    never: float = 0.25
    hardly: float = 0.35
    rarest: float = 10_000.0


Arm = Callable[[np.random.Generator, np.ndarray], np.ndarray]
"""Chances of a base [S, P] -> those of the arm that goes on from it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A made-up arm on an evaluation of one size, and what it is: "amplifier", "synthesiser" or "beyond the bound".

    An amplifier's one try is worth at most half of the base's samples, which is what the verdict claims to tell. One
    that amplifies by more cannot be told from synthesis by so few samples: these cases show how often it is not, and
    how often it is where `reach` has the base score the arm's derivations.
    """

    kind: str
    name: str
    design: Design
    arm: Arm
    reach: bool = False


def tries(m: float) -> Arm:
    """One try is as good as m of the base."""
    return lambda rng, p: 1 - (1 - p) ** m


def sharpened(m: float) -> Arm:
    """Sampled at temperature 1 / m, where each problem has one wrong answer."""
    return lambda rng, p: p**m / (p**m + (1 - p) ** m)


def tilted(m: float) -> Arm:
    """The odds times m: what a reward of 0 or 1 with a KL penalty converges to."""
    return lambda rng, p: m * p / (1 - p + m * p)


def synthesising(share: float, m: float = 4.0) -> Arm:
    """Amplified by m; a share of the problems that the base solves less than once in 100 is solved in six of ten."""

    def chances(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
        new = (p.mean(axis=0) < 0.01) & (rng.random(p.shape[1]) < share)
        return np.where(new, rng.beta(6, 4, p.shape), tries(m)(rng, p))

    return chances


def base_chances(rng: np.random.Generator, design: Design) -> np.ndarray:
    """[S, P]: some never, some hardly ever, the others anything; each seed a little better or worse throughout."""
    kind = rng.random(design.problems)
    some = rng.beta(0.6, 0.8, design.problems)
    tiny = 10 ** -rng.uniform(2, np.log10(design.rarest), design.problems)
    p = np.where(kind < design.never, 0.0, np.where(kind < design.never + design.hardly, tiny, some))
    shift = np.exp(rng.normal(0, design.between_seeds, (design.seeds, 1)))
    return p * shift / (1 - p + p * shift)


def sample(rng: np.random.Generator, p: np.ndarray, samples: int) -> Tally:
    """Take samples of every problem under every seed."""
    return Tally(np.full(p.shape, samples), rng.binomial(samples, p))


def whole(halves: tuple[Tally, Tally]) -> Tally:
    """Two halves together."""
    return Tally(halves[0].samples + halves[1].samples, halves[0].solved + halves[1].solved)


def derived_under_base(
    rng: np.random.Generator, chances: np.ndarray, base: Tally, arm: Tally, rules: PlanVerdict
) -> Reach | None:
    """A right derivation of each problem that the arm solves, with half to all of the base's chance to solve it."""
    with np.errstate(divide="ignore"):
        logprobs = np.log(chances * rng.uniform(0.5, 1.0, chances.shape))
    return reach(np.where(arm.solved > 0, logprobs, np.nan), base, rules.reach, rules.alpha)


def powers_of_two(samples: int) -> list[int]:
    """1, 2, 4 ... up to the samples."""
    return [2**power for power in range(samples.bit_length()) if 2**power <= samples]


def verdict_rates(
    design: Design, arm: Arm, cases: int, rng: np.random.Generator, with_reach: bool = False
) -> dict[str, float]:
    """Label -> share of the made-up runs that it is given."""
    rules = PlanVerdict()
    granted = {name: Clause(name, "", True, "", "") for name in REQUIRED}
    labels: Counter[str] = Counter()
    for _ in range(cases):
        base = base_chances(rng, design)
        halves = (sample(rng, base, design.samples // 2), sample(rng, base, design.samples // 2))
        of_base, of_arm = whole(halves), sample(rng, arm(rng, base), design.samples)
        found = evidence(
            range(design.seeds),
            of_arm,
            of_base,
            halves,
            ks=powers_of_two(design.samples),
            tries=rules.amplification,
            alpha=rules.alpha,
            chance=0.0,
            reach=derived_under_base(rng, base, of_base, of_arm, rules) if with_reach else None,
        )
        read = read_clauses(found, rules)
        clauses = {name: read[name] if name in ("gain", "gap", "unsolved", "reach") else granted[name] for name in read}
        labels[decide(clauses, design.seeds, rules).label] += 1
    return {label: count / cases for label, count in sorted(labels.items())}


def coverage(design: Design, arm: Arm, cases: int, rng: np.random.Generator) -> dict[str, float]:
    """Interval -> share of the made-up evaluations in which it holds the truth of all problems and seeds."""
    ks = powers_of_two(design.samples)
    truth = _truths(design, arm, ks, rng)
    held: Counter[str] = Counter()
    measured: Counter[str] = Counter()
    for _ in range(cases):
        base = base_chances(rng, design)
        estimates = _estimates(rng, design, base, arm(rng, base), ks)
        measured.update(estimates.keys())
        held.update(name for name, each in estimates.items() if each.low <= truth[name] <= each.high)
    return {name: held[name] / measured[name] for name in measured}


def _truths(design: Design, arm: Arm, ks: list[int], rng: np.random.Generator) -> dict[str, float]:
    """What `_estimates` estimates, over many problems and seeds whose chances are known."""
    p = base_chances(rng, replace(design, seeds=400, problems=4000))
    of_arm, half = arm(rng, p), design.samples // 2
    doublings = np.log2(ks) - np.log2(ks).mean()
    gaps = [float(np.mean((1 - p) ** k - (1 - of_arm) ** k)) for k in ks]
    unsolved = (1 - p) ** half

    def where_unsolved(lead: np.ndarray) -> float:
        return float((unsolved * lead).sum() / unsolved.sum())

    base, one = float(p.mean()), float(of_arm.mean())
    return {
        "gap at k = 1": gaps[0],
        "gap at the largest k": gaps[-1],
        "slope of the gap": float(doublings @ gaps / (doublings**2).sum()),
        "split half, one try against one": where_unsolved(of_arm - p),
        "split half, one try against many": where_unsolved(of_arm - (1 - unsolved)),
        "share of right answers with right steps": DERIVED[0] / sum(DERIVED),
        "odds ratio": one / (1 - one) * (1 - base) / base,
        "Cohen's h": float(2 * np.arcsin(np.sqrt(one)) - 2 * np.arcsin(np.sqrt(base))),
        "share, over problems and seeds": base,
        "share of one arm (Wilson)": base,
        "pass@k of one arm (bootstrap)": float(np.mean(1 - (1 - p) ** ks[-1])),
    }


def _estimates(
    rng: np.random.Generator, design: Design, base: np.ndarray, arm: np.ndarray, ks: list[int]
) -> dict[str, Estimate]:
    """Every interval of the report on one made-up evaluation of these chances."""
    halves = (sample(rng, base, design.samples // 2), sample(rng, base, design.samples // 2))
    of_base, of_arm = whole(halves), sample(rng, arm, design.samples)
    seen = course(of_arm, of_base, ks, 0.05)
    sizes = effect_sizes(of_arm.pass_at(1), of_base.pass_at(1))
    split = split_half(of_arm, halves, None, 0.05)
    derived = Tally(of_arm.samples, rng.binomial(of_arm.solved, rng.beta(*DERIVED, design.problems)))
    share = derivations(derived, derived, of_arm.solved, 1, 0.05).share
    greedy = rng.random(base.shape) < base
    assert seen.slope is not None
    found = {
        "gap at k = 1": seen.gaps[1].difference,
        "gap at the largest k": seen.gaps[ks[-1]].difference,
        "slope of the gap": seen.slope,
        **({"split half, one try against one": split.lead_one} if split else {}),
        **({"split half, one try against many": split.lead_many} if split else {}),
        **({"share of right answers with right steps": share} if share else {}),
        "odds ratio": sizes.odds_ratio,
        "Cohen's h": sizes.cohens_h,
        "share, over problems and seeds": crossed_share(greedy.astype(float)),
    }
    if not design.between_seeds:  # these two claim to cover other problems, never other seeds
        found["share of one arm (Wilson)"] = wilson(greedy.mean(axis=0), answers=design.seeds)
        (found["pass@k of one arm (bootstrap)"],) = bootstrap_over_problems(
            of_base.pass_at(ks[-1]).mean(axis=0)[:, None], 0
        )
    return found


def designs() -> list[Design]:
    """The evaluations whose intervals are tried."""
    return [
        Design(seeds=1, problems=128, samples=64, between_seeds=0.0),
        Design(seeds=1, problems=384, samples=16, between_seeds=0.0),
        Design(seeds=3, problems=40, samples=16),
        Design(seeds=3, problems=128, samples=64, between_seeds=0.0),
        Design(seeds=3, problems=128, samples=64),
        Design(seeds=3, problems=128, samples=16, between_seeds=0.6),
        Design(seeds=3, problems=384, samples=16, between_seeds=0.1),
        Design(seeds=5, problems=64, samples=32),
    ]


def made_up_arms() -> list[Case]:
    """The arms that are judged."""
    few, many = Design(samples=16), Design(samples=64)
    mostly_never = Design(samples=16, never=0.5, hardly=0.1)
    now_and_then = [Design(samples=samples, never=0.2, hardly=0.0) for samples in (64, 256)]
    return [
        Case("amplifier", "8 tries", few, tries(8)),
        Case("amplifier", "sharpened by 8", few, sharpened(8)),
        Case("amplifier", "odds times 8", few, tilted(8)),
        Case("amplifier", "8 tries", many, tries(8)),
        Case("amplifier", "32 tries", many, tries(32)),
        Case("amplifier", "sharpened by 32", many, sharpened(32)),
        Case("amplifier", "odds times 32", many, tilted(32)),
        *(Case("amplifier", "odds times 8, no problem hardly ever solved", each, tilted(8)) for each in now_and_then),
        Case("beyond the bound", "odds times 32", few, tilted(32)),
        Case("beyond the bound", "odds times 256", many, tilted(256)),
        *(
            Case(kind, f"{name}; reach recorded", replace(design, rarest=500), arm, reach=True)
            for kind, name, design, arm in (
                ("beyond the bound", "odds times 32", few, tilted(32)),
                ("beyond the bound", "odds times 256", many, tilted(256)),
                ("synthesiser", "new on 60% of what the base never solves", mostly_never, synthesising(0.6)),
            )
        ),
        *(
            Case("synthesiser", f"new on {share:.0%} of what the base hardly ever solves", design, synthesising(share))
            for design in (few, many)
            for share in (0.1, 0.2, 0.4)
        ),
    ]


def bench_verdict(cases: int, seed: int = 0) -> dict[str, Any]:
    """Try every interval and every made-up arm `cases` times.

    Returns:
        "coverage": a row an interval and design; "verdicts": a row a made-up arm; shares in [0, 1].
    """
    rng = np.random.default_rng(seed)
    covered = [
        {**asdict(design), "interval": name, "coverage": share}
        for design in designs()
        for name, share in coverage(design, synthesising(0.3), cases, rng).items()
    ]
    judged = [
        {"kind": case.kind, "arm": case.name, **asdict(case.design)}
        | {"verdicts": verdict_rates(case.design, case.arm, cases, rng, case.reach)}
        for case in made_up_arms()
    ]
    return {"cases": cases, "seed": seed, "coverage": covered, "verdicts": judged}


def render(figures: dict[str, Any]) -> Group:
    """The figures as two tables for a terminal."""
    covered = Table(title=f"How often an interval of 95% holds the truth, of {figures['cases']} cases")
    for heading in ("interval", "seeds", "problems", "samples", "between seeds", "held"):
        covered.add_column(heading)
    for row in figures["coverage"]:
        cells = (row["interval"], row["seeds"], row["problems"], row["samples"], row["between_seeds"])
        covered.add_row(*map(str, cells), f"{row['coverage']:.1%}")
    judged = Table(title="How often a made-up arm is given which verdict")
    for heading in ("what it is", "arm", "samples", *LABELS):
        judged.add_column(heading)
    for row in figures["verdicts"]:
        shares = (f"{row['verdicts'].get(label, 0.0):.1%}" for label in LABELS)
        judged.add_row(row["kind"], row["arm"], str(row["samples"]), *shares)
    return Group(covered, judged)
