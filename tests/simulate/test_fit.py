from __future__ import annotations

import numpy as np
import pytest

from rlreason.errors import UserError
from rlreason.simulate.fit import PHASES, Measured, check, fit_rates, together
from rlreason.simulate.rates import EmpiricalLengths, LinearDecoding
from tests.simulate.works import work


def lived(updates: int, longest: int, seed: int, prompts: int = 16, group: int = 8) -> Measured:
    """Updates of a machine whose rates are known: 2 ms a step, 0.05 ms a sampled token, 20,000 trained tokens/s."""
    random = np.random.default_rng(seed)
    lengths = [random.integers(5, longest, (prompts, group)) for _ in range(updates)]
    sampled = np.array([own.sum() for own in lengths])
    steps = np.array([own.max() for own in lengths])  # all of them run together
    return Measured(
        lengths=lengths,
        prompt_tokens=30.0,
        seconds={
            "generate": 0.002 * steps + 0.00005 * sampled,
            "score": np.full(updates, 0.0001 * prompts * group),
            "learn": (sampled + 30 * prompts * group) / 20_000,
            "sync": np.full(updates, 0.03),
            "other": np.full(updates, 0.0002 * prompts * group),
        },
    )


def test_known_rates_are_found_again():
    found = fit_rates(together([lived(30, 40, 0), lived(30, 120, 1)]), 512, "made up")
    assert isinstance(found.decoding, LinearDecoding)
    assert found.decoding.step_s == pytest.approx(0.002, rel=1e-6)
    assert found.decoding.sequence_s == pytest.approx(0.00005, rel=1e-6)
    assert found.learning.tokens_per_s == pytest.approx(20_000)
    assert (found.scoring.completion_s, found.driving.completion_s) == (pytest.approx(0.0001), pytest.approx(0.0002))
    assert found.syncing.latency_s == pytest.approx(0.03)
    assert found.failing.gpu_hours_between is None
    assert isinstance(found.lengths, EmpiricalLengths)
    assert len(found.lengths.groups) == 60 * 16


def test_lengths_that_were_never_seen_are_predicted():
    asked = work(prompts=16, group=8, sequences=512)
    short, long = (lived(40, 40, 0), asked), (lived(40, 400, 1), asked)
    (first, second) = check({"short": short}, {"short": short, "long": long}, seed=0)
    assert (first.fitted_on, first.predicted_for) == ("short, first half", "short, second half")
    assert first.ratio == pytest.approx(1, abs=0.02)
    assert (second.fitted_on, second.predicted_for) == ("all stages of the run", "long")
    assert second.measured_s == pytest.approx(sum(long[0].seconds[phase].mean() for phase in PHASES))
    assert second.ratio == pytest.approx(1, abs=0.05)


def test_a_machine_that_became_slower_shows_in_the_ratio():
    whole = lived(40, 40, 0)
    slower = {phase: np.where(np.arange(40) < 20, values, 2 * values) for phase, values in whole.seconds.items()}
    measured = Measured(whole.lengths, whole.prompt_tokens, slower)
    (only,) = check({"rl": (measured, work(prompts=16, group=8))}, {"rl": (measured, work(prompts=16, group=8))}, 0)
    assert only.ratio == pytest.approx(0.5, abs=0.02)


def test_one_update_is_too_few():
    with pytest.raises(UserError, match="1 updates; rates need at least 2"):
        fit_rates(lived(1, 40, 0), 512, "made up")
