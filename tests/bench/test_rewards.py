"""The benchmark of scoring: what it measures is the real thing, and its table holds each figure against its bar."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from rlreason.bench import rewards as bench
from rlreason.bench.rewards import BARS, BATCH, GROUP, batch, bench_rewards, rate
from rlreason.bench.rewards_table import render
from rlreason.selection import find_task


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return bench_rewards(0.1)


def test_half_of_a_batch_is_right_and_half_is_wrong():
    task = find_task("quickstart", None, [])
    requests = batch(task)
    assert len(requests) == BATCH
    assert len({request.problem.id for request in requests}) == BATCH // GROUP
    verdicts = [task.check(request.problem, request.completion) for request in requests]
    assert [verdict.derivation_correct for verdict in verdicts] == [True, False] * (BATCH // 2)
    assert all(len(verdict.steps) == 3 for verdict in verdicts)


def test_a_rate_is_what_was_done_over_the_time_it_took(monkeypatch):
    # the clock goes on by 0.5 s a look, so that a round takes 0.5 s and three begin before 4 s are over
    times = iter(index * 0.5 for index in range(100))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(times))
    rounds = iter([99, 10, 20, 30])  # the first warms up; 20, 40 and 60 a second
    assert rate(lambda: next(rounds), 4.0) == {"low": 30.0, "median": 40.0, "high": 50.0}


def test_every_figure_is_there_and_ordered(figures):
    pool = figures["pool"]
    assert pool["batch"] == BATCH
    spreads = [figures["checks_per_s"], figures["graded_per_s"], *(pool[key] for key in pool if key != "batch")]
    assert all(values["low"] <= values["median"] <= values["high"] for values in spreads)
    assert all(values["median"] > 0 for values in spreads if values is not pool["overhead"])
    assert set(figures["met"]) == set(figures["bars"]) == set(BARS)


def test_recovery_is_counted_from_the_deadline_and_held_against_its_bar(figures):
    recovery = figures["recovery"]
    assert recovery["seconds"] == pytest.approx(recovery["deadline_s"] + recovery["beyond_deadline_s"])
    beyond = recovery["beyond_deadline_s"]
    assert 0 < beyond < 10  # under 2 on a machine that does nothing else
    assert figures["met"]["recovery_beyond_deadline_s"] == (beyond < 2.0)


def test_the_table_holds_figures_against_bars_and_fits_a_narrow_terminal(figures):
    one = {"low": 1.0, "median": 2.0, "high": 3.0}
    shown = {
        **figures,
        "checks_per_s": {"low": 1000.0, "median": 25_000.4, "high": 30_000.0},
        "math_verify_per_s": None,
        "fresh_ms": one,
        "pool": {**figures["pool"], "overhead": {"low": 0.1, "median": 0.2, "high": 0.3}},
        "met": {"checks_per_s": True, "pool_overhead": False, "recovery_beyond_deadline_s": True},
    }
    console = Console(width=80, file=io.StringIO())
    with console.capture() as capture:
        console.print(render(shown))
    lines = [" ".join(line.split()) for line in capture.get().splitlines()]
    assert "derivations checked/s, one core 25,000 [1,000-30,000] over 20,000 met" in lines
    assert "overhead of the worker 20% [10%-30%] under 15% not met" in lines
    assert "math-verify calls/s, one core not available" in lines
    assert "one fresh completion, ms 2 [1-3]" in lines
    assert len(lines) == 2 + 1 + 9
