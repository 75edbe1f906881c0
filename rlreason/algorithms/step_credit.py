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
    return _from_each_token_on(normalised, there, ends, length)


def min_form_returns(
    scores: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    temperature: float,
    length: int,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """For each token, nearly the lowest score among its own and all later steps, while the worst is still to come.

    Every step's score is weighted by softmax(-scores / temperature) over the completion's steps, so that the worst one
    keeps nearly all of its score and the others next to nothing. The sum from a token on is then the completion's
    lowest score up to the end of the step that has it, and nearly 0 behind it: no good step makes up for a bad one.

    Args:
        scores: [B, S] float, NaN where there is no step. The paper's lie in [-1, 1], a wrong step below 0: where a
            wrong step scores 0, the worst derivation gets 0 and needs `groups` to be blamed.
        starts, ends: [B, S] int, tokens of the completion before each step, and up to its end.
        temperature: of the soft minimum, in units of the scores (the paper: 0.1); towards 0 it is the minimum.
        length: T.
        groups: [B] int, which completions answer the same prompt. Given, each step pays for its tokens what a token of
            the group's other completions earned on average (the paper's baseline by tokens); a completion with none
            to compare with gets 0. None: no baseline.
    Returns:
        [B, T] float64. Tokens behind the last step get 0.
    Source:
        PURE, Cheng et al. 2025 (arXiv 2504.15275): its transformation of process rewards, and its leave-one-out
        baseline by tokens; there all of a response's tokens count for that baseline, here those of its steps.
    """
    there = ~np.isnan(scores)
    lowest = np.where(there, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    # shifted by the lowest, no exponent is above 0; a completion without steps weighs nothing
    shifted = np.subtract(scores, lowest, out=np.full(scores.shape, np.inf), where=there)
    weights = np.exp(-shifted / temperature)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    earned = weights * np.where(there, scores, 0.0)
    if groups is not None:
        spans = np.where(there, ends - starts, 0)
        rate, compared = _earned_by_others(earned.sum(axis=1), spans.sum(axis=1), groups)
        earned = np.where(compared[:, None], earned - rate[:, None] * spans, 0.0)
    return _from_each_token_on(earned, there, ends, length)


def _earned_by_others(totals: np.ndarray, tokens: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(total over tokens [B] of the group's other completions, 0 where they have no tokens; whether they have any)."""
    _, of = np.unique(groups, return_inverse=True)
    other_tokens = np.bincount(of, tokens)[of] - tokens
    other_totals = np.bincount(of, totals)[of] - totals
    compared = other_tokens > 0
    return np.divide(other_totals, other_tokens, out=np.zeros(len(totals)), where=compared), compared


def _from_each_token_on(step_values: np.ndarray, there: np.ndarray, ends: np.ndarray, length: int) -> np.ndarray:
    """[B, T]: for each token the sum of the values [B, S] of its own and all later steps."""
    at_end = np.zeros((len(step_values), length + 1))
    row, _ = np.nonzero(there)
    np.add.at(at_end, (row, ends[there]), step_values[there])
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
