from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.simulate.costs import Layout
from rlreason.simulate.phases import generate, occupancy, run_phases
from rlreason.simulate.timeline import SHARES
from tests.simulate.works import costs, work


def one_step_at_a_time(lengths: list[int], sequences: int) -> list[int]:
    """Continuous batching as it is told: every step each running sequence gets a token, and the ended are replaced."""
    waiting, running, spent = [n for n in lengths if n], [], [0] * (sequences + 1)
    while waiting or running:
        while waiting and len(running) < sequences:
            running.append(waiting.pop(0))
        spent[len(running)] += 1
        running = [left - 1 for left in running if left > 1]
    return spent


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=9, max_size=9), min_size=1, max_size=3),
    st.sampled_from([1, 2, 3, 8, 9, 20]),
)
def test_occupancy_is_that_of_a_loop_over_single_steps(lengths, sequences):
    expected = [one_step_at_a_time(own, sequences) for own in lengths]
    assert occupancy(np.array(lengths), sequences).tolist() == expected


def test_a_phase_of_two_generators_by_hand():
    # generator 0 writes 3 and 1 tokens: a step of two (0.012 s), two of one (0.011 s); generator 1 writes 2 and 2
    phase = generate(costs(Layout(2, 1)), np.array([[3, 1], [2, 2]]))
    assert phase.seconds == pytest.approx(0.012 + 2 * 0.011)
    assert phase.full == pytest.approx((4 + 4) * 0.012 / 2)


def test_completions_of_one_length_make_a_synchronous_update_exact():
    # 2 generators x 4 sequences: 100 steps of 0.014 s; 800 tokens at 2 x 100/s; 0.5 s of sync; 8 scores; the driver
    there = costs(Layout(2, 2), scoring={"completion_s": 0.01}, driving={"update_s": 0.2, "completion_s": 0.001})
    timeline = run_phases(there, 3, np.random.default_rng(0), one_step_off=False)
    assert timeline.seconds == pytest.approx([1.4 + 4.0 + 0.5 + 0.08 + 0.2 + 0.008] * 3)
    assert timeline.tokens == 2400
    assert timeline.staleness.tolist() == [24, 0]
    assert timeline.gpu_seconds["tail"] == pytest.approx(0)
    assert timeline.gpu_seconds["held"] == pytest.approx(3 * 2 * 4.0)
    assert timeline.gpu_seconds["starved"] == pytest.approx(3 * 2 * 1.4)


def test_one_step_off_hides_the_shorter_side():
    timeline = run_phases(costs(Layout(2, 2)), 3, np.random.default_rng(0), one_step_off=True)
    assert timeline.seconds == pytest.approx([4.0 + 0.5] * 3)
    assert timeline.staleness.tolist() == [0, 24]
    assert timeline.gpu_seconds["held"] == pytest.approx(3 * 2 * (4.0 - 1.4))


def test_switching_is_paid_only_where_gpus_are_shared():
    apart = costs(Layout(2, 2), switching={"sleep_s": 1, "wake_s": 2})
    shared = costs(Layout(2, 2, colocated=True), switching={"sleep_s": 1, "wake_s": 2})
    assert (apart.sync_s, shared.sync_s) == (0.5, 3.5)
    assert (apart.layout.gpus, shared.layout.gpus) == (4, 2)


def test_the_slowest_of_n_exponential_lengths_takes_the_nth_harmonic_number_of_means():
    # a token a step of 0.01 s however many run: a phase is as long as the longest completion, on average mean x H_8
    asked = work(prompts=8, group=1)
    there = costs(Layout(8, 1), asked, decoding={"type": "linear", "step_s": 0.01, "sequence_s": 0})
    random = np.random.default_rng(0)
    seconds = [generate(there, np.ceil(random.exponential(1000, (8, 1))).astype(np.int64)).seconds for _ in range(4000)]
    harmonic = sum(1 / n for n in range(1, 9))
    assert np.mean(seconds) == pytest.approx(0.01 * 1000 * harmonic, rel=0.02)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 12),
    st.booleans(),
    st.booleans(),
    st.integers(0, 9),
)
def test_every_gpu_second_is_in_one_share(generators, learners, width, sequences, one_step_off, colocated, seed):
    if colocated:
        learners, one_step_off = generators * width, False
    layout = Layout(generators, learners, width, colocated)
    there = costs(
        layout,
        work(sequences=sequences, tensor_parallel=width),
        lengths={"type": "lognormal", "median": 50, "sigma": 1},
        prompt_tokens=20,
        decoding={"type": "linear", "step_s": 0.01, "sequence_s": 0.001, "prompt_token_s": 0.001},
        scoring={"completion_s": 0.01},
        driving={"update_s": 0.1},
    )
    timeline = run_phases(there, 4, np.random.default_rng(seed), one_step_off=one_step_off)
    assert list(timeline.gpu_seconds) == list(SHARES)
    assert min(timeline.gpu_seconds.values()) >= -1e-9
    assert sum(timeline.gpu_seconds.values()) == pytest.approx(layout.gpus * timeline.seconds.sum())
