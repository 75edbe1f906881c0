from __future__ import annotations

import math

import numpy as np
import pytest

from rlreason.simulate.costs import Layout
from rlreason.simulate.failures import best_checkpoint_every, best_interval_s, kept_share, seconds_between, useful_share
from rlreason.simulate.rates import Failing
from tests.simulate.works import costs, work


def lived_through(work_s: float, checkpoint_s: float, between_s: float, restart_s: float, segments: int) -> float:
    """Useful share of segments of work and a checkpoint, each begun anew until none of its failures comes in time."""
    random, spent = np.random.default_rng(0), 0.0
    for _ in range(segments):
        while True:
            failure = random.exponential(between_s)
            if failure >= work_s + checkpoint_s:
                spent += work_s + checkpoint_s
                break
            spent += failure
            while (failure := random.exponential(between_s)) < restart_s:
                spent += failure
            spent += restart_s
    return segments * work_s / spent


@pytest.mark.parametrize("between_s", [3600.0, 900.0])
def test_the_closed_form_is_what_a_run_lives_through(between_s):
    expected = lived_through(600, 20, between_s, 120, 40_000)
    assert useful_share(600, 20, between_s, 120) == pytest.approx(expected, rel=0.02)


def test_without_failures_only_checkpoints_cost():
    assert useful_share(90, 10, math.inf, 600) == pytest.approx(0.9)


def test_youngs_interval_is_near_the_best_of_the_exact_form():
    checkpoint_s, between_s = 20.0, 6 * 3600.0
    intervals = np.geomspace(60, 20_000, 400)
    best = max(intervals, key=lambda work_s: useful_share(work_s, checkpoint_s, between_s, 600))
    assert best_interval_s(checkpoint_s, between_s) == pytest.approx(best, rel=0.05)


def test_sixteen_thousand_gpus_are_interrupted_every_three_hours():
    failing = Failing(gpu_hours_between=49_152)
    assert seconds_between(failing, 16_384) == 3 * 3600
    assert seconds_between(Failing(), 16_384) == math.inf


def test_a_generators_failure_costs_a_stream_its_part_and_phases_a_wait():
    # one failure of the 10 generators in 10 hours, none of the learner: 1 GPU-hour between at 10 of them is 360 s
    failing = {"gpu_hours_between": 1, "restart_s": 0, "generator_restart_s": 90, "checkpoint_s": 0}
    there = costs(Layout(10, 1), work(checkpoint_every=1), failing=failing)
    learner = useful_share(10, 0, 3600, 0)
    assert kept_share(there, 10, 4, phases=False) == pytest.approx(learner / (1 + 9 / 360))
    assert kept_share(there, 10, 4, phases=True) == pytest.approx(learner / (1 + 92 / 360))


def test_the_best_number_of_updates_between_checkpoints_is_youngs():
    failing = Failing(gpu_hours_between=49_152, checkpoint_s=20)
    # 4,096 learner GPUs: 12 h between failures, sqrt(2 x 20 x 43200) = 1314.5 s, of updates of 60 s
    assert best_checkpoint_every(failing, Layout(4096, 4096, colocated=True), 60) == 22
    assert best_checkpoint_every(Failing(checkpoint_s=20), Layout(1, 1), 60) is None
