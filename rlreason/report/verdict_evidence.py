"""What the verdict on an arm and its base rests on: from counts of solved samples to numbers with intervals.

    counts -> Tally -> evidence -> clauses and verdict (`report.verdict_rules`)

Pure: arrays in, numbers out, so that a simulation measures as the report does. Where the counts come from is
`report.verdict`'s affair; nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlreason.algorithms.pass_at_k import pass_at_k
from rlreason.report.statistics import PairedDifference, corrected, paired_difference
from rlreason.report.statistics_crossed import Estimate, crossed_mean, crossed_ratio
from rlreason.report.statistics_effects import EffectSizes, MixedModel, effect_sizes


@dataclass(frozen=True, slots=True)
class Tally:
    """What an arm's samples came to: [S, P] int, samples taken under each seed of each problem, and those solved."""

    samples: np.ndarray
    solved: np.ndarray

    @property
    def fewest(self) -> int:
        """Samples of the problem that has fewest."""
        return int(self.samples.min())

    def pass_at(self, k: int) -> np.ndarray:
        """[S, P] float: estimated without bias, whether one of k samples solves the problem."""
        return pass_at_k(self.samples, self.solved, k)


@dataclass(frozen=True, slots=True)
class Course:
    """How the gap between an arm and its base goes as both are given more samples.

    Attributes:
        gaps: k -> pass@k of the arm minus that of its base, on the same problems.
        slope: of the gap, a doubling of k (least squares over log2 k); None where there is one k.
    """

    gaps: dict[int, PairedDifference]
    slope: Estimate | None

    @property
    def largest(self) -> int:
        """The largest k."""
        return max(self.gaps)

    def as_json(self) -> dict[str, Any]:
        """The entry in report.json."""
        gaps = {str(k): gap.as_json() for k, gap in self.gaps.items()}
        return {"gaps": gaps, "slope_a_doubling": self.slope.as_json() if self.slope else None}


@dataclass(frozen=True, slots=True)
class SplitHalf:
    """Problems that the base leaves unsolved in one half of its samples, tested on the other half, and the reverse.

    Attributes:
        unsolved: how many such problems a seed, mean over both directions.
        half: samples of the half that has fewest. None of so many right bounds the base's chance at p < 3 / half.
        tries: the base's tries that one try of the arm is held against.
        arm: share that the arm solves in one try.
        base_one, base_many: share that the base solves, in the other half, in one try, in `tries`.
        lead_one, lead_many: arm minus base.
    """

    unsolved: float
    half: int
    tries: int
    arm: float
    base_one: float
    base_many: float
    lead_one: Estimate
    lead_many: Estimate

    def as_json(self) -> dict[str, Any]:
        """The entry in report.json."""
        plain = {name: getattr(self, name) for name in ("unsolved", "half", "tries", "arm", "base_one", "base_many")}
        return {**plain, "lead_one": self.lead_one.as_json(), "lead_many": self.lead_many.as_json()}


@dataclass(frozen=True, slots=True)
class Control:
    """An arm that must be beaten: how much more the judged arm solves, in one try and at the largest k.

    `at_most` has its p value corrected for the number of controls (Holm). Both are None where the two cannot be
    compared; then `reason` says why.
    """

    name: str
    at_one: PairedDifference | None = None
    at_most: PairedDifference | None = None
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """The entry in report.json."""
        told = {"at_one": self.at_one, "at_most": self.at_most}
        measured = {name: each.as_json() if each else None for name, each in told.items()}
        return {"control": self.name, **measured, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Derivations:
    """What the right answers rest on: the share of the arm's that have every step right, and the gap counted so."""

    share: Estimate | None
    gap: PairedDifference

    def as_json(self) -> dict[str, Any]:
        """The entry in report.json."""
        return {"share": self.share.as_json() if self.share else None, "gap": self.gap.as_json()}


@dataclass(frozen=True, slots=True)
class Reach:
    """How likely the base finds the arm's right derivations of problems that it left unsolved.

    Attributes:
        logprobs: of each, sum over its tokens under the base, natural log.
        k: the number of tries that stands for "within reach".
        problems: how many such problems a seed.
        within: share of them whose derivation has a log-probability above -ln k.
    """

    logprobs: tuple[float, ...]
    k: int
    problems: float
    within: Estimate

    def as_json(self) -> dict[str, Any]:
        """The entry in report.json."""
        quantiles = np.quantile(self.logprobs, [0.1, 0.5, 0.9])
        named = dict(zip(("p10", "median", "p90"), (float(value) for value in quantiles), strict=True))
        plain = {"derivations": len(self.logprobs), "problems": self.problems, "k": self.k}
        return {**plain, "logprob": named, "within": self.within.as_json()}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything measured of an arm and its base on one level.

    Attributes:
        seeds: those under which both were evaluated.
        problems: asked of both under all of these.
        samples: of the problem that has fewest.
        arm, base: k -> pass@k.
        course: of the gap.
        effects: sizes of the difference in one try.
        split_half: None where a problem has fewer than two samples of the base, or the base leaves none unsolved.
        mixed: a model of the difference in one try; None under one seed.
        controls: those that there are.
        derivations: None where steps were not checked.
        prerequisites: probe -> share that the base gets right; None where it was not asked.
        chance: share of problems that guessing solves in as many tries as the largest k; None where it is not known.
        reach: None where log-probabilities under the base were not recorded.
    """

    seeds: tuple[int, ...]
    problems: int
    samples: int
    arm: dict[int, float]
    base: dict[int, float]
    course: Course
    effects: EffectSizes
    split_half: SplitHalf | None
    mixed: MixedModel | None = None
    controls: tuple[Control, ...] = ()
    derivations: Derivations | None = None
    prerequisites: Mapping[str, Estimate | None] | None = None
    chance: float | None = None
    reach: Reach | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry in report.json."""
        prerequisites = {name: each.as_json() if each else None for name, each in (self.prerequisites or {}).items()}
        return {
            "seeds": list(self.seeds),
            "problems": self.problems,
            "samples": self.samples,
            "pass_at_k": {
                "arm": {str(k): share for k, share in self.arm.items()},
                "base": {str(k): share for k, share in self.base.items()},
            },
            **self.course.as_json(),
            "effects": self.effects.as_json(),
            "mixed_model": self.mixed.as_json() if self.mixed else None,
            "split_half": self.split_half.as_json() if self.split_half else None,
            "controls": [control.as_json() for control in self.controls],
            "derivations": self.derivations.as_json() if self.derivations else None,
            "prerequisites": prerequisites,
            "chance": self.chance,
            "reach": self.reach.as_json() if self.reach else None,
        }


def course(arm: Tally, base: Tally, ks: Sequence[int], alpha: float) -> Course:
    """The gap in pass@k at each k, and its slope.

    Args:
        ks: ascending, none above the samples of a problem.
    """
    solved = {k: (arm.pass_at(k), base.pass_at(k)) for k in ks}
    differences = {k: paired_difference(*both, alpha) for k, both in solved.items()}
    if len(ks) < 2:
        return Course(differences, None)
    doublings = np.log2(np.array(ks, dtype=float))
    weights = (doublings - doublings.mean()) / ((doublings - doublings.mean()) ** 2).sum()
    steepest = float(np.cumsum(weights[::-1]).max())  # of a problem: never solved, then always, from some k on
    slopes = np.tensordot(weights, np.stack([one - other for one, other in solved.values()]), axes=1)
    return Course(differences, crossed_mean(slopes, span=steepest).interval(alpha))


def split_half(arm: Tally, halves: tuple[Tally, Tally], tries: int | None, alpha: float) -> SplitHalf | None:
    """Test the arm where the base failed, against tries of the base that had no part in choosing the problems.

    An arm that only amplifies by m, so that one of its tries is worth at most m of its base's, has no lead over m tries
    of its base on any choice of problems that those tries did not make.

    Args:
        halves: the base's samples in two.
        tries: None: all of a half.
    Returns:
        None where a half is empty, or there is no such problem.
    """
    half = min(tally.fewest for tally in halves)
    if half < 1:
        return None
    tries = min(tries or half, half)
    one = arm.pass_at(1)
    unsolved = [(chosen.solved == 0).astype(float) for chosen in halves]
    tested = halves[::-1]
    chosen = sum(unsolved)
    if not chosen.sum():
        return None

    def mean(values: Sequence[np.ndarray]) -> float:
        return float(sum((each * shares).sum() for each, shares in zip(unsolved, values, strict=True)) / chosen.sum())

    def lead(values: Sequence[np.ndarray]) -> Estimate:
        gained = sum(each * (one - shares) for each, shares in zip(unsolved, values, strict=True))
        return crossed_ratio(gained, chosen, -1.0, 1.0, alpha)

    base_one, base_many = ([tally.pass_at(k) for tally in tested] for k in (1, tries))
    return SplitHalf(
        unsolved=float(chosen.sum()) / 2 / len(one),
        half=half,
        tries=tries,
        arm=mean([one, one]),
        base_one=mean(base_one),
        base_many=mean(base_many),
        lead_one=lead(base_one),
        lead_many=lead(base_many),
    )


def reach(logprobs: np.ndarray, base: Tally, k: int, alpha: float) -> Reach | None:
    """Whether the base would find, in k tries, what the arm derives and the base's samples left unsolved.

    What the base solved in these is within its reach anyway and tells nothing.

    Args:
        logprobs: [S, P] of the arm's right derivation under the base, NaN where there is none.
    Returns:
        None where nothing was derived that the base left unsolved.
    """
    chosen = (base.solved == 0) & ~np.isnan(logprobs)
    if not chosen.any():
        return None
    within = chosen & (np.nan_to_num(logprobs, nan=-np.inf) > -np.log(k))
    share = crossed_ratio(within.astype(float), chosen.astype(float), 0.0, 1.0, alpha)
    return Reach(tuple(float(value) for value in logprobs[chosen]), k, float(chosen.sum()) / len(chosen), share)


def with_corrected(controls: Sequence[Control]) -> tuple[Control, ...]:
    """The controls with p values at the largest k corrected for the number of those that could be compared."""
    family = iter(corrected([each.at_most for each in controls if each.at_most is not None]))
    return tuple(
        each if each.at_most is None else Control(each.name, each.at_one, next(family), each.reason)
        for each in controls
    )


def control(name: str, arm: Tally, other: Tally, k: int, alpha: float) -> Control:
    """How much more the arm solves than a control, both on the same problems under the same seeds."""
    at_one, at_most = (paired_difference(arm.pass_at(each), other.pass_at(each), alpha) for each in (1, k))
    return Control(name, at_one, at_most)


def derivations(arm: Tally, base: Tally, right: np.ndarray, k: int, alpha: float) -> Derivations:
    """What the arm's right answers rest on.

    Args:
        arm, base: samples, and those with every step right.
        right: [S, P] int, the arm's samples with the right answer.
        k: of the gap.
    """
    share = crossed_ratio(arm.solved / arm.samples, right / arm.samples, 0.0, 1.0, alpha) if right.sum() else None
    return Derivations(share, paired_difference(arm.pass_at(k), base.pass_at(k), alpha))


def evidence(
    seeds: Sequence[int],
    arm: Tally,
    base: Tally,
    halves: tuple[Tally, Tally],
    *,
    ks: Sequence[int],
    tries: int | None,
    alpha: float,
    **more: Any,
) -> Evidence:
    """Everything that the samples of the two tell; `more` are the fields that need other records."""
    at_one = [tally.pass_at(1) for tally in (arm, base)]
    return Evidence(
        seeds=tuple(seeds),
        problems=arm.samples.shape[1],
        samples=min(arm.fewest, base.fewest),
        arm={k: float(arm.pass_at(k).mean()) for k in ks},
        base={k: float(base.pass_at(k).mean()) for k in ks},
        course=course(arm, base, ks, alpha),
        effects=effect_sizes(at_one[0], at_one[1], alpha),
        split_half=split_half(arm, halves, tries, alpha),
        **more,
    )
