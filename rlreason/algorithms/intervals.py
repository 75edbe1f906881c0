"""How sure a share is that was measured on some problems: one interval for whoever reports it, or waits for it."""

from __future__ import annotations

import math

import numpy as np

NORMAL_975 = 1.959963984540054
"""The standard normal distribution's 97.5% quantile."""


def wilson_interval(per_problem: np.ndarray, answers: int = 1) -> tuple[float, float, float]:
    """Mean of per-problem shares with the Wilson score interval for that many problems.

    Args:
        per_problem: [P] float in [0, 1], P at least 1: 0 or 1, or a mean of several answers.
        answers: of each problem. Several may say more than one: the interval is that of as many problems of 0 or 1 as
            would show the same spread, at most the number of answers.
    Returns:
        (mean, low, high), a 95% interval.
    """
    n, value, spread = len(per_problem), float(per_problem.mean()), float(per_problem.var())
    worth = n if spread == 0 else min(n * answers, max(n, n * value * (1 - value) / spread))
    shrink = 1 + NORMAL_975**2 / worth
    centre = (value + NORMAL_975**2 / (2 * worth)) / shrink
    reach = NORMAL_975 / shrink * math.sqrt(value * (1 - value) / worth + NORMAL_975**2 / (4 * worth**2))
    # with none or all right the bound is exact, but rounding may put it a hair on the wrong side of the value
    return value, max(0.0, min(centre - reach, value)), min(1.0, max(centre + reach, value))
