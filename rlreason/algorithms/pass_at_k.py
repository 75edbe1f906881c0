"""pass@k from more samples than k, without bias. Intervals over problems are the report's."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def pass_at_k(samples: ArrayLike, correct: ArrayLike, k: int) -> np.ndarray:
    """Probability that at least one of k samples, drawn without replacement from those taken, is right.

    Args:
        samples: [...] int, n, samples taken of each problem.
        correct: [...] int, c, how many of them are right; broadcasts against `samples`.
        k: at least 1, at most every n.
    Returns:
        [...] float, 1 - C(n - c, k) / C(n, k).
    Raises:
        ValueError: k is below 1 or above some n, or some c is outside 0..n.
    Source:
        Chen et al. 2021 (Codex), equation 1. The ratio of binomials is taken as a product of k factors below 1, so
        nothing overflows.
    """
    n, c = np.broadcast_arrays(np.asarray(samples), np.asarray(correct))
    if n.size and not 1 <= k <= n.min():
        raise ValueError(
            f"k {k} must be between 1 and the number of samples, here at least {n.min()}; take more samples"
        )
    if np.any((c < 0) | (c > n)):
        raise ValueError("every number of right samples must be between 0 and the number of samples")
    all_wrong = np.ones(n.shape)
    for drawn in range(k):
        # once the wrong samples run out the factor is 0, and stays so
        all_wrong *= np.maximum(n - c - drawn, 0) / (n - drawn)
    return 1.0 - all_wrong
