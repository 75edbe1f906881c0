"""Rates, breakdowns and ratios from the updates of two sides."""

from __future__ import annotations

import pytest

from rlreason.bench.figures import SideFigures, UpdateFigures, ratios, spread


def update(seconds: float, generate: float = 2.0, learn: float = 4.0) -> UpdateFigures:
    phases = {"generate": generate, "score": 0.5, "learn": learn, "sync": 0.25}
    return UpdateFigures(seconds, phases, 20, 100, 240, forward_passes=3, padded_share=0.0)


def test_a_rate_is_over_the_seconds_of_its_own_phase():
    # 20 completions in 8 s; 100 tokens in 2 s of generate; 240 tokens in 4 s of learn
    assert update(8.0).rates() == {
        "completions_per_s": 2.5,
        "generated_tokens_per_s": 50.0,
        "trained_tokens_per_s": 60.0,
    }


def test_what_no_phase_claims_is_other():
    # 8 - 2 - 0.5 - 4 - 0.25
    assert update(8.0).breakdown()["other"] == 1.25


def test_spread_is_min_median_and_max():
    assert spread([3.0, 1.0, 2.0, 10.0]) == {"min": 1.0, "median": 2.5, "max": 10.0}


def test_ratios_compare_neighbours_and_not_medians():
    # rates of whole updates are as the peer's seconds over ours: 20/10 and 8/16, although the median seconds are alike
    found = ratios([update(10.0), update(16.0)], [update(20.0), update(8.0)])
    assert found["completions_per_s"] == {"min": 0.5, "median": 1.25, "max": 2.0}
    assert found["generated_tokens_per_s"] == {"min": 1.0, "median": 1.0, "max": 1.0}


def test_sides_with_different_numbers_of_updates_cannot_be_compared():
    with pytest.raises(ValueError):
        ratios([update(1.0)], [])


def test_shares_of_the_phases_add_up_to_one():
    summary = SideFigures("engine", 30.0, 2**30, [update(8.0), update(10.0, generate=3.0)]).summary()
    assert sum(phase["share"] for phase in summary["phases"].values()) == pytest.approx(1.0)
    # learn: 4 + 4 of 18 seconds
    assert summary["phases"]["learn"] == {"seconds": 4.0, "share": pytest.approx(8 / 18)}
    assert (summary["peak_memory_gib"], summary["start_to_first_update_s"]) == (1.0, 30.0)
