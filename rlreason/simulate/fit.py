"""Rates from what a run took: one generator and one learner rank, update by update; and predictions held against it.

A run shows few sizes of batch, so little is fitted: two figures for decoding, one for everything else. Reading the
records is `rlreason.simulate_commands`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlreason.errors import UserError
from rlreason.simulate.costs import Layout, Work
from rlreason.simulate.phases import occupancy
from rlreason.simulate.rates import (
    Driving,
    EmpiricalLengths,
    Failing,
    Learning,
    Lengths,
    LinearDecoding,
    Rates,
    Scoring,
    Syncing,
)
from rlreason.simulate.search import Pipeline, simulate

PHASES = ("generate", "score", "learn", "sync", "other")
"""Of an update, as the records name them: seconds_PHASE."""
_PREDICTED = 50


@dataclass(frozen=True, slots=True)
class Measured:
    """Updates of a stage.

    Attributes:
        lengths: [P, G] int of each update, tokens sampled.
        prompt_tokens: mean tokens of a prompt.
        seconds: name of `PHASES` -> [U] float64.
    """

    lengths: Sequence[np.ndarray]
    prompt_tokens: float
    seconds: Mapping[str, np.ndarray]

    def part(self, chosen: slice) -> Measured:
        """Some of the updates."""
        return replace(
            self,
            lengths=self.lengths[chosen],
            seconds={phase: values[chosen] for phase, values in self.seconds.items()},
        )

    @property
    def update_s(self) -> np.ndarray:
        """[U] float64, seconds of each update."""
        return np.sum(list(self.seconds.values()), axis=0)


def together(stages: Sequence[Measured]) -> Measured:
    """The updates of several stages."""
    updates = np.array([len(stage.lengths) for stage in stages])
    prompts = np.array([stage.prompt_tokens for stage in stages])
    return Measured(
        lengths=[lengths for stage in stages for lengths in stage.lengths],
        prompt_tokens=float(prompts @ updates / updates.sum()),
        seconds={phase: np.concatenate([stage.seconds[phase] for stage in stages]) for phase in PHASES},
    )


def empirical_lengths(measured: Measured) -> EmpiricalLengths:
    """Its groups."""
    size = max(lengths.shape[1] for lengths in measured.lengths)
    groups = tuple(
        tuple(group) for lengths in measured.lengths if lengths.shape[1] == size for group in lengths.tolist()
    )
    return EmpiricalLengths(type="empirical", groups=groups)


def fit_rates(measured: Measured, sequences: int, about: str) -> Rates:
    """Rates by least squares without negative figures, of generator and learner as they ran.

    Decoding is step_s a step and sequence_s a token, the reading of prompts being in these; learning is seconds a
    token, prompts included; scoring and the driver are seconds a completion; weights take what they took.

    Args:
        sequences: that the generator decoded together at most.
        about: where the figures are from.
    Raises:
        UserError: fewer than two updates.
    """
    from scipy.optimize import nnls  # a third of a second, for this alone

    if len(measured.lengths) < 2:
        raise UserError(f"{about}: {len(measured.lengths)} updates; rates need at least 2, so let the run go on")
    completions = np.array([lengths.size for lengths in measured.lengths])
    sampled = np.array([lengths.sum() for lengths in measured.lengths], dtype=float)
    steps = np.array([occupancy(lengths.reshape(1, -1), sequences).sum() for lengths in measured.lengths], dtype=float)
    scale = np.array([steps.mean(), sampled.mean()])
    (step_s, sequence_s), _ = nnls(np.stack([steps, sampled], axis=1) / scale, measured.seconds["generate"])
    trained = sampled + completions * measured.prompt_tokens
    total = {phase: float(values.sum()) for phase, values in measured.seconds.items()}
    return Rates(
        about=about,
        lengths=empirical_lengths(measured),
        prompt_tokens=measured.prompt_tokens,
        decoding=LinearDecoding(type="linear", step_s=step_s / scale[0], sequence_s=sequence_s / scale[1]),
        scoring=Scoring(completion_s=total["score"] / completions.sum()),
        learning=Learning(tokens_per_s=trained.sum() / total["learn"]),
        syncing=Syncing(latency_s=total["sync"] / len(completions)),
        driving=Driving(completion_s=total["other"] / completions.sum()),
        failing=Failing(),
    )


@dataclass(frozen=True, slots=True)
class Check:
    """A prediction beside what happened: mean seconds of an update, and the median, which says how even they were."""

    fitted_on: str
    predicted_for: str
    predicted_s: float
    measured_s: float
    measured_median_s: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted_s / self.measured_s


def _beside(fitted_on: str, predicted_for: str, predicted_s: float, measured: Measured) -> Check:
    seconds = measured.update_s
    return Check(fitted_on, predicted_for, predicted_s, float(seconds.mean()), float(np.median(seconds)))


def predict_s(rates: Rates, lengths: Lengths, prompt_tokens: float, work: Work, seed: int) -> float:
    """Mean seconds of an update where generator and learner take turns, as those did that the rates are from."""
    other = rates.model_copy(update={"lengths": lengths, "prompt_tokens": prompt_tokens})
    layout = Layout(1, 1, colocated=True)
    outcome = simulate(other, work, layout, "check", Pipeline(colocated=True), updates=_PREDICTED, seed=seed)
    return outcome.update_s


def check(
    fitted: Mapping[str, tuple[Measured, Work]], predicted: Mapping[str, tuple[Measured, Work]], seed: int
) -> list[Check]:
    """Predictions that never saw what they are held against.

    Where both are the same stages: the second half of each from the first half of the same, lengths included. Others:
    from all that was fitted, with the lengths of the stage that is predicted.
    """
    found = []
    for name, (measured, work) in predicted.items():
        if name in fitted:
            half = len(measured.lengths) // 2
            seen, then = measured.part(slice(half)), measured.part(slice(half, None))
            rates = fit_rates(seen, work.sequences, f"{name}, first half")
            seconds = predict_s(rates, rates.lengths, rates.prompt_tokens, work, seed)
            found.append(_beside(f"{name}, first half", f"{name}, second half", seconds, then))
        others = {other: pair for other, pair in fitted.items() if other != name}
        if others:
            rates = fit_rates(together([pair[0] for pair in others.values()]), work.sequences, "the others")
            seconds = predict_s(rates, empirical_lengths(measured), measured.prompt_tokens, work, seed)
            source = "the other stages" if name in fitted else "all stages of the run"
            found.append(_beside(source, name, seconds, measured))
    return found
