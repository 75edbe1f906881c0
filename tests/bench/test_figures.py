"""Rates, breakdowns and ratios from the updates of two sides."""

from __future__ import annotations

import pytest

from rlreason.bench.figures import MachineFigures, SideFigures, UpdateFigures, ratios, spread
from rlreason.bench.floor import Ceilings, UpdateFloor, Work


def update(seconds: float, generate: float = 2.0, learn: float = 4.0) -> UpdateFigures:
    phases = {"generate": generate, "score": 0.5, "learn": learn, "sync": 0.25}
    return UpdateFigures(seconds, phases, 20, 100, 240, forward_passes=3, padded_share=0.0, computed_tokens=240)


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


def test_shares_of_the_floor_are_taken_round_by_round():
    floor = UpdateFloor(prefill=Work(100, 0), decode=Work(100, 0), learn=Work(600, 0))
    machine = MachineFigures(floor, [Ceilings(200.0, 200.0, 1.0), Ceilings(100.0, 100.0, 1.0)], {"wide_rows": 4})
    # generate needs 200 operations: 1 s, then 2 s on a machine that is half as fast; learn 3 s, then 6 s
    shares = machine.shares([update(8.0, generate=2.0, learn=4.0), update(20.0, generate=2.5, learn=12.0)])
    assert shares["generate"] == {"min": 0.5, "median": pytest.approx(0.65), "max": 0.8}
    assert shares["learn"] == {"min": 0.5, "median": 0.625, "max": 0.75}


def test_the_machine_is_summed_up_with_what_was_counted():
    floor = UpdateFloor(prefill=Work(100, 1), decode=Work(200, 2), learn=Work(900, 3))
    summary = MachineFigures(floor, [Ceilings(1e9, 2e9, 3e9)], {"wide_rows": 4}).summary()
    assert summary["ceilings"]["wide_rows"] == 4
    assert [summary["ceilings"][name]["median"] for name in ("wide_gflop_per_s", "decode_gflop_per_s")] == [1.0, 2.0]
    assert summary["ceilings"]["read_gb_per_s"]["median"] == 3.0
    assert (summary["floor"]["generate"]["operations"], summary["floor"]["generate"]["bytes"]) == (300, 3)
    assert summary["floor"]["learn"]["seconds"]["median"] == pytest.approx(900 / 1e9)
