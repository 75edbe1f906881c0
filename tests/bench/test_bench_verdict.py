"""The simulation behind docs/verdict.md, made small."""

from dataclasses import replace

import numpy as np
import pytest

from rlreason.bench.verdict import (
    Design,
    base_chances,
    bench_verdict,
    coverage,
    made_up_arms,
    render,
    sharpened,
    synthesising,
    tilted,
    tries,
    verdict_rates,
)

SMALL = Design(problems=64, samples=16)


@pytest.mark.parametrize("make", [sharpened, tilted])
def test_sharpening_and_tilting_by_m_are_worth_at_most_m_tries(make):
    chances = np.linspace(0, 0.999, 200)[None, :]
    rng = np.random.default_rng(0)
    for m in (2.0, 8.0):
        assert (make(m)(rng, chances) <= tries(m)(rng, chances) + 1e-12).all()


def test_made_up_bases_have_problems_that_they_never_and_hardly_ever_solve():
    p = base_chances(np.random.default_rng(0), Design(problems=4000))
    assert np.mean(p[0] == 0) == pytest.approx(0.25, abs=0.03)
    assert np.mean((p[0] > 0) & (p[0] < 0.015)) > 0.3


def test_intervals_cover_the_truth():
    # 60 cases: 95% have a standard error of 2.8 points
    held = coverage(SMALL, synthesising(0.3), 60, np.random.default_rng(1))
    assert {name for name, share in held.items() if share < 0.85} == set()
    assert "split half, one try against many" in held


def test_amplifiers_are_not_called_synthesis_and_synthesisers_are():
    rng = np.random.default_rng(2)
    assert verdict_rates(SMALL, tilted(8), 30, rng).get("synthesis", 0.0) <= 0.1
    assert verdict_rates(SMALL, synthesising(0.6), 30, rng).get("synthesis", 0.0) >= 0.8


def test_an_amplifier_of_what_the_base_solves_now_and_then_is_called_one():
    plain = Design(problems=128, samples=256, never=0.2, hardly=0.0)
    assert verdict_rates(plain, tilted(8), 10, np.random.default_rng(3)).get("amplification", 0.0) >= 0.6


def test_a_strong_amplifier_is_called_synthesis_until_its_derivations_are_scored_by_the_base():
    # odds times 32 where 16 samples rule out 8 tries; everything is within one in 1,024
    near = replace(SMALL, rarest=500)
    plain, scored = (
        verdict_rates(near, tilted(32), 20, np.random.default_rng(4), with_reach).get("synthesis", 0.0)
        for with_reach in (False, True)
    )
    assert plain > 0.3
    assert scored == 0.0


def test_the_bench_tells_of_every_interval_and_every_arm(monkeypatch):
    monkeypatch.setattr("rlreason.bench.verdict.designs", lambda: [SMALL])
    monkeypatch.setattr("rlreason.bench.verdict.made_up_arms", lambda: made_up_arms()[:2])
    figures = bench_verdict(2)
    assert {row["interval"] for row in figures["coverage"]} >= {"gap at k = 1", "slope of the gap", "odds ratio"}
    assert [sum(row["verdicts"].values()) for row in figures["verdicts"]] == [1.0, 1.0]
    assert len(render(figures).renderables) == 2
