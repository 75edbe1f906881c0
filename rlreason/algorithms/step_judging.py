"""How well a step scorer finds wrong steps: by step, and by where a derivation first goes wrong. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class StepFigures:
    """A scorer's agreement with the task's check; NaN where there was nothing to be right about.

    Attributes:
        steps, derivations: how many were judged.
        wrong: share of the steps that are wrong.
        precision, recall, f1: of finding wrong steps.
        first_error_accuracy: of the derivations with a wrong step, those whose first one is the first that the scorer
            calls wrong.
        correct_accuracy: of the derivations without one, those in which the scorer calls none wrong.
        process_f1: harmonic mean of the last two, ProcessBench's figure (Zheng et al. 2024, section 4).
    """

    steps: int
    derivations: int
    wrong: float
    precision: float
    recall: float
    f1: float
    first_error_accuracy: float
    correct_accuracy: float
    process_f1: float


def judge_steps(derivation: np.ndarray, right: np.ndarray, called_right: np.ndarray) -> StepFigures:
    """Compare what a scorer calls right with what is.

    Args:
        derivation: [N] int, which derivation each step is of; the steps of one stand together, in their order.
        right, called_right: [N] bool.
    """
    wrong, called = ~right, ~called_right
    found = int((wrong & called).sum())
    starts = np.flatnonzero(np.diff(derivation, prepend=derivation[:1] - 1)) if len(derivation) else np.zeros(0, int)
    pieces = zip(np.split(wrong, starts[1:]), np.split(called, starts[1:]), strict=True) if len(starts) else ()
    firsts = [(_first(actual), _first(claimed)) for actual, claimed in pieces]
    first_error = _share([claimed == actual for actual, claimed in firsts if actual >= 0])
    correct = _share([claimed < 0 for actual, claimed in firsts if actual < 0])
    precision, recall = _ratio(found, int(called.sum())), _ratio(found, int(wrong.sum()))
    return StepFigures(
        steps=len(right),
        derivations=len(firsts),
        wrong=_ratio(int(wrong.sum()), len(wrong)),
        precision=precision,
        recall=recall,
        f1=_ratio(2 * found, int(called.sum() + wrong.sum())),
        first_error_accuracy=first_error,
        correct_accuracy=correct,
        process_f1=_harmonic(first_error, correct),
    )


def _first(flags: np.ndarray) -> int:
    """Index of the first True; -1 where there is none."""
    return int(flags.argmax()) if flags.any() else -1


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _share(flags: list[bool]) -> float:
    return _ratio(sum(flags), len(flags))


def _harmonic(one: float, other: float) -> float:
    return 2 * one * other / (one + other) if one + other else 0.0
