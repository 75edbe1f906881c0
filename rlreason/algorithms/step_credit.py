"""How a completion's advantage is shared out among its tokens, by what was said of its steps. Pure numpy.

Steps are rows padded with NaN scores; the spans of padding are ignored. Tokens after a completion's last are computed
like any other and are the caller's to drop.
"""

from __future__ import annotations

import numpy as np


def token_spans(token_ends: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of each step of one text.

    A token belongs to the step that it overlaps, to the earlier one where it straddles two. A step whose every token
    belongs to earlier steps shares the last of them.

    Args:
        token_ends: [T] int, where each token ends in the text, not decreasing.
        starts, ends: [S] int, the steps' characters, end exclusive, in text order and without overlap.
    Returns:
        (starts [S], ends [S]) int, tokens from 0, end exclusive; every span holds at least one token. T must not be 0.
    """
    last = len(token_ends)
    first_token = np.searchsorted(token_ends, starts, side="right")
    end_token = np.minimum(np.searchsorted(token_ends, ends, side="left") + 1, last)
    earlier = np.concatenate([[0], end_token[:-1]]) if len(end_token) else end_token
    first_token = np.minimum(np.maximum(first_token, earlier), end_token - 1)
    return first_token, end_token


def process_returns(scores: np.ndarray, ends: np.ndarray, groups: np.ndarray, length: int) -> np.ndarray:
    """For each token, the sum of the normalised scores of its own and all later steps.

    Scores are normalised (mean, population standard deviation) over all steps of all completions of the group; in a
    group whose steps all score the same they are 0. Tokens behind the last step get 0.

    Args:
        scores: [B, S] float, NaN where there is no step.
        ends: [B, S] int, tokens of the completion up to the step's end.
        groups: [B] int, which completions answer the same prompt.
        length: T.
    Returns:
        [B, T] float64.
    Source:
        DeepSeekMath, Shao et al. 2024, section 4.1.3 (process supervision).
    """
    there = ~np.isnan(scores)
    normalised = np.zeros(scores.shape)
    for group in np.unique(groups):
        of = there & (groups == group)[:, None]
        values = scores[of]
        if len(values) and values.max() > values.min():
            normalised[of] = (values - values.mean()) / values.std()
    at_end = np.zeros((len(scores), length + 1))
    row, _ = np.nonzero(there)
    np.add.at(at_end, (row, ends[there]), normalised[there])
    # a token at t is in or before the steps that end after t
    return np.cumsum(at_end[:, :0:-1], axis=1)[:, ::-1]


def praise_before_first_error(
    advantages: np.ndarray, scores: np.ndarray, starts: np.ndarray, length: int, wrong_below: float = 0.5
) -> np.ndarray:
    """Each token gets its completion's advantage, but from the first wrong step on none that is positive.

    Args:
        advantages: [B] float.
        scores: [B, S] float, NaN where there is no step.
        starts: [B, S] int, tokens of the completion before each step.
        wrong_below: a step that scores less is wrong.
    Returns:
        [B, T] float64.
    """
    with np.errstate(invalid="ignore"):
        wrong = scores < wrong_below
    first = np.where(wrong, starts, length).min(axis=1, initial=length)
    spread = np.repeat(np.asarray(advantages, dtype=np.float64)[:, None], length, axis=1)
    after = np.arange(length)[None, :] >= first[:, None]
    return np.where(after, np.minimum(spread, 0.0), spread)
