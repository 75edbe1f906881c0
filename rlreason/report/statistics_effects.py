"""How large a difference of two arms is, in several scales, and where its spread comes from.

The difference itself and its test are in `report.statistics`; what may be concluded is `report.verdict_rules`' affair.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from rlreason.report.statistics_crossed import Estimate, crossed_mean

REML_ROWS = 600
"""Above so many differences restricted maximum likelihood takes seconds, and is not tried."""


@dataclass(frozen=True, slots=True)
class EffectSizes:
    """How much more one arm solves of the same problems than another: in points, as odds, and on Cohen's scale.

    Attributes:
        risk_difference: share solved by the first minus share solved by the second.
        odds_ratio: odds of the first over odds of the second, problems pooled.
        cohens_h: difference of the arcsines; 0.2 is called small, 0.5 medium, 0.8 large.
    """

    risk_difference: Estimate
    odds_ratio: Estimate
    cohens_h: Estimate

    def as_json(self) -> dict[str, Any]:
        """The entry in report.json."""
        return {name: getattr(self, name).as_json() for name in ("risk_difference", "odds_ratio", "cohens_h")}


def effect_sizes(a: np.ndarray, b: np.ndarray, alpha: float = 0.05) -> EffectSizes:
    """Effect sizes of two arms on the same problems under the same seeds, with paired intervals.

    Half a problem right and half a problem wrong are added to each arm's share in the odds, so that they exist where an
    arm solves all or nothing.

    Args:
        a, b: [S, P] float in [0, 1], share right under each seed on each problem.
    Source:
        Cohen 1988, chapter 6. Intervals: the delta method, with the variances of `statistics_crossed`.
    """
    added = 0.5 / (a.shape[1] + 1)
    first, second = (float(shares.mean()) * (1 - 2 * added) + added for shares in (a, b))

    def reach(slope_first: float, slope_second: float) -> float:
        """Half the width of the interval of a function of both shares with these derivatives."""
        values = slope_first * (a - a.mean()) - slope_second * (b - b.mean())
        return crossed_mean(values, span=max(slope_first, slope_second)).half_width(alpha)

    log_odds = float(np.log(first / (1 - first) * (1 - second) / second))
    by_odds = reach(1 / (first * (1 - first)), 1 / (second * (1 - second)))
    h = float(2 * np.arcsin(np.sqrt(first)) - 2 * np.arcsin(np.sqrt(second)))
    by_arcsine = reach(1 / np.sqrt(first * (1 - first)), 1 / np.sqrt(second * (1 - second)))
    low, odds, high = (float(np.exp(value)) for value in (log_odds - by_odds, log_odds, log_odds + by_odds))
    return EffectSizes(
        risk_difference=crossed_mean(a - b).interval(alpha),
        odds_ratio=Estimate(odds, low, high),
        cohens_h=Estimate(h, max(-np.pi, h - by_arcsine), min(np.pi, h + by_arcsine)),
    )


@dataclass(frozen=True, slots=True)
class MixedModel:
    """Paired differences as a mean, a random effect a seed, a random effect a problem, and noise.

    Attributes:
        mean: the fixed effect.
        error: its standard error.
        between_seeds, between_problems, noise: standard deviations.
        method: how it was fitted, and why so where that is not restricted maximum likelihood.
    """

    mean: float
    error: float
    between_seeds: float
    between_problems: float
    noise: float
    method: str

    def as_json(self) -> dict[str, Any]:
        """The entry in report.json."""
        names = ("mean", "error", "between_seeds", "between_problems", "noise", "method")
        return {name: getattr(self, name) for name in names}


def mixed_model(differences: np.ndarray) -> MixedModel | None:
    """Fit it by restricted maximum likelihood, or by mean squares where that fails; the method says which.

    For differences that are there for every problem under every seed both give the same where no variance is 0.

    Args:
        differences: [S, P] float.
    Returns:
        None for one seed, or one problem: then nothing tells their spread from noise.
    """
    if min(differences.shape) < 2:
        return None
    simple = _by_mean_squares(differences)
    if differences.size > REML_ROWS:
        return replace(simple, method=f"mean squares: {differences.size:,} differences, too many for REML here")
    if min(simple.between_seeds, simple.between_problems, simple.noise) == 0:
        return replace(simple, method="mean squares: a variance comes out as 0, where REML does not settle")
    return _by_reml(differences) or replace(simple, method="mean squares: REML did not converge")


def _by_reml(differences: np.ndarray) -> MixedModel | None:
    """None where it does not converge, or does not know its error."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    seed, problem = np.indices(differences.shape)
    rows = pd.DataFrame({"difference": differences.ravel(), "seed": seed.ravel(), "problem": problem.ravel()})
    crossed = {"seed": "0 + C(seed)", "problem": "0 + C(problem)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels warns of every optimizer that it tries; `converged` says the end
        try:
            model = MixedLM.from_formula("difference ~ 1", rows, groups=np.ones(len(rows)), vc_formula=crossed)
            fitted = model.fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return None
    spreads = dict(zip(model.exog_vc.names, fitted.vcomp, strict=True))
    error = float(fitted.bse_fe.iloc[0])
    if not fitted.converged or not np.isfinite(error):
        return None
    return MixedModel(
        mean=float(fitted.fe_params.iloc[0]),
        error=error,
        between_seeds=float(np.sqrt(spreads["seed"])),
        between_problems=float(np.sqrt(spreads["problem"])),
        noise=float(np.sqrt(fitted.scale)),
        method="REML",
    )


def _by_mean_squares(differences: np.ndarray) -> MixedModel:
    """Analysis of variance; a component that comes out negative is 0."""
    seeds, problems = differences.shape
    by_problem, by_seed = differences.mean(axis=0), differences.mean(axis=1, keepdims=True)
    residuals = differences - by_problem - by_seed + differences.mean()
    noise = float((residuals**2).sum()) / ((seeds - 1) * (problems - 1))
    of_seeds = max(0.0, float(by_seed.var(ddof=1)) - noise / problems)
    of_problems = max(0.0, float(by_problem.var(ddof=1)) - noise / seeds)
    error = np.sqrt(of_seeds / seeds + of_problems / problems + noise / differences.size)
    return MixedModel(
        mean=float(differences.mean()),
        error=float(error),
        between_seeds=float(np.sqrt(of_seeds)),
        between_problems=float(np.sqrt(of_problems)),
        noise=float(np.sqrt(noise)),
        method="mean squares",
    )
