"""What one arm did on one level or probe: from the counts of its evaluations to shares with intervals.

A completion that could not be judged counts as not right, and is counted as unscored, so that a failing grader lowers
a figure in sight and never raises one. Which rows belong to which arm is decided in `report.summary`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rlreason.algorithms.pass_at_k import pass_at_k
from rlreason.report.statistics import Estimate, bootstrap_over_problems, wilson

BOOTSTRAP_SEED = 0


@dataclass(frozen=True, slots=True)
class LevelSummary:
    """One arm on one level.

    Attributes:
        n: problems.
        pass_at_1: share of problems right with the greedy completion, Wilson interval over problems.
        pass_at_k: k -> share from the sampled completions, bootstrap interval over problems; k=1 is sampled pass@1.
            A k above the number of samples of some problem is left out.
        derived_at_k: the same of samples with every step right; empty where steps were not checked.
        samples: sampled completions of the problem that has fewest.
        derivation_correct: share of greedy completions with every step right; None where steps were not checked.
        right_answer_wrong_steps: of the greedy completions with the right answer, the share with steps that are not
            right; None where steps were not checked or no answer is right.
        unscored: completions (greedy and sampled) without a verdict.
        completions: all completions.
        chance: mean probability of guessing right.
        per_seed: seed -> greedy share right.
    """

    n: int
    pass_at_1: Estimate
    pass_at_k: dict[int, Estimate]
    derived_at_k: dict[int, Estimate]
    samples: int
    derivation_correct: Estimate | None
    right_answer_wrong_steps: float | None
    unscored: int
    completions: int
    chance: float | None
    per_seed: dict[int, float]

    def as_json(self) -> dict[str, Any]:
        """The level's entry in report.json: shares in [0, 1], intervals as [low, high]."""
        derivation = self.derivation_correct
        return {
            "n": self.n,
            "pass_at_1": self.pass_at_1.value,
            "ci95": [self.pass_at_1.low, self.pass_at_1.high],
            "pass_at_k": {str(k): estimate.value for k, estimate in self.pass_at_k.items()},
            "pass_at_k_ci95": {str(k): [estimate.low, estimate.high] for k, estimate in self.pass_at_k.items()},
            "derived_at_k": {str(k): estimate.value for k, estimate in self.derived_at_k.items()},
            "derived_at_k_ci95": {str(k): [estimate.low, estimate.high] for k, estimate in self.derived_at_k.items()},
            "samples": self.samples,
            "derivation_correct": derivation.value if derivation else None,
            "derivation_correct_ci95": [derivation.low, derivation.high] if derivation else None,
            "right_answer_wrong_steps": self.right_answer_wrong_steps,
            "unscored": self.unscored,
            "completions": self.completions,
            "chance": self.chance,
            "per_seed": {str(seed): share for seed, share in self.per_seed.items()},
        }


def summarise_level(counts: pd.DataFrame, ks: Sequence[int], chance: float | None) -> LevelSummary | None:
    """Figures of one arm on one level.

    Args:
        counts: those of `report.counts`, with "seed"; all seeds of the arm together.
        ks: values of k wanted.
        chance: passed through.
    Returns:
        None where there is no greedy completion to report.
    """
    greedy = counts[counts["greedy"]]
    if greedy.empty:
        return None
    by_problem = greedy.groupby("problem", sort=False)[["n", "right", "derived"]].sum()
    seeds = int(by_problem["n"].min())  # greedy answers of a problem
    sampled = counts[~counts["greedy"]]
    samples = 0 if sampled.empty else int(sampled["n"].min())
    by_seed = greedy.groupby("seed")[["n", "right"]].sum()
    return LevelSummary(
        n=len(by_problem),
        pass_at_1=wilson((by_problem["right"] / by_problem["n"]).to_numpy(), seeds),
        pass_at_k=_at_k(sampled, "right", ks),
        derived_at_k=_at_k(sampled, "derived", ks) if greedy["checked"].any() else {},
        samples=samples,
        derivation_correct=(
            wilson((by_problem["derived"] / by_problem["n"]).to_numpy(), seeds) if greedy["checked"].any() else None
        ),
        right_answer_wrong_steps=_right_answer_wrong_steps(greedy),
        unscored=int((counts["n"] - counts["judged"]).sum()),
        completions=int(counts["n"].sum()),
        chance=chance,
        per_seed={
            int(seed): float(right / n)
            for seed, n, right in zip(by_seed.index, by_seed["n"], by_seed["right"], strict=True)
        },
    )


def _at_k(sampled: pd.DataFrame, column: str, ks: Sequence[int]) -> dict[int, Estimate]:
    """k -> pass@k of the samples that `column` counts: estimated for each seed, then the mean over seeds."""
    n, solved = sampled["n"].to_numpy(), sampled[column].to_numpy()
    wanted = [k for k in sorted(ks) if len(n) and k <= int(n.min())]
    if not wanted:
        return {}
    shares = pd.DataFrame({k: pass_at_k(n, solved, k) for k in wanted}, index=sampled["problem"])
    per_problem = shares.groupby("problem", sort=False).mean()
    return dict(zip(wanted, bootstrap_over_problems(per_problem.to_numpy(), BOOTSTRAP_SEED), strict=True))


def _right_answer_wrong_steps(greedy: pd.DataFrame) -> float | None:
    checked = int(greedy["right_checked"].sum())
    return 1.0 - int(greedy["right_derived"].sum()) / checked if checked else None
