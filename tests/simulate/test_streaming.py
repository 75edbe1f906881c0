from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.simulate.costs import Layout
from rlreason.simulate.phases import run_phases
from rlreason.simulate.streaming import run_stream
from tests.simulate.works import costs, work

LONG_TAIL = {"type": "lognormal", "median": 50, "sigma": 1}


@pytest.mark.parametrize("sequences", [64, 3])
def test_without_staleness_one_generator_is_synchronous_to_the_last_bit_but_one(sequences):
    # the same prompts in the same order, each read where it is begun: the same seconds as a phase, draw for draw
    there = costs(
        Layout(1, 2),
        work(sequences=sequences),
        lengths={"type": "constant", "tokens": 70},
        prompt_tokens=20,
        decoding={"type": "linear", "step_s": 0.01, "sequence_s": 0.001, "prompt_token_s": 0.001},
    )
    phases = run_phases(there, 5, np.random.default_rng(0), one_step_off=False)
    stream = run_stream(there, 5, np.random.default_rng(0), max_staleness=0, partial=False)
    assert stream.seconds == pytest.approx(phases.seconds)
    assert stream.staleness.tolist() == [40]
    for share in ("learn", "sync", "starved"):
        assert stream.gpu_seconds[share] == pytest.approx(phases.gpu_seconds[share]), share


def test_a_stream_is_never_faster_than_its_slower_side():
    # the utilisation bound: 8 completions of 100 tokens; decoding them at full batch, and learning them, take at least
    for learners in (1, 2, 4, 16):
        there = costs(Layout(1, learners))
        stream = run_stream(there, 20, np.random.default_rng(0), max_staleness=3, partial=True)
        learning = 800 / (100 * learners) + there.sync_s
        generating = 800 * there.step_seconds[32] / 32
        assert stream.seconds.mean() >= max(learning, generating) - 1e-9


def test_a_slow_learner_sets_the_pace_whatever_the_generators_do():
    there = costs(Layout(4, 1), lengths=LONG_TAIL)
    stream = run_stream(there, 40, np.random.default_rng(0), max_staleness=2, partial=True)
    learning = stream.tokens / 100 + 40 * there.sync_s
    assert stream.seconds.sum() == pytest.approx(learning, rel=0.001)
    assert stream.gpu_seconds["starved"] == pytest.approx(0, abs=0.01 * learning)


def test_what_is_half_written_is_read_again_under_new_weights():
    # at the first update's end 4 x 2 of the next batch are running; reading a token takes 1 s, so it shows in sync
    reading = {"type": "linear", "step_s": 0.01, "sequence_s": 0.001, "prompt_token_s": 1.0}
    quick = costs(Layout(1, 8), prompt_tokens=0)
    slow = costs(Layout(1, 8), prompt_tokens=0, decoding=reading)
    spent = [
        run_stream(there, 5, np.random.default_rng(0), max_staleness=1, partial=True).gpu_seconds["sync"]
        for there in (quick, slow)
    ]
    assert spent[0] == pytest.approx(5 * 9 * 0.5)
    assert spent[1] > spent[0] + 1


def test_ending_what_is_begun_costs_more_than_interrupting_it_where_tails_are_long():
    there = costs(
        Layout(4, 4),
        work(prompts=32),
        lengths={"type": "lognormal", "median": 50, "sigma": 1.2},
        learning={"tokens_per_s": 2000},
    )
    drained, interrupted = (
        run_stream(there, 30, np.random.default_rng(0), max_staleness=1, partial=partial).seconds.mean()
        for partial in (False, True)
    )
    assert interrupted < 0.9 * drained


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 12),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 9),
)
def test_the_bound_holds_and_every_gpu_second_is_in_one_share(
    generators, learners, width, sequences, max_staleness, partial, seed
):
    layout = Layout(generators, learners, width)
    there = costs(
        layout,
        work(sequences=sequences, tensor_parallel=width),
        lengths=LONG_TAIL,
        prompt_tokens=20,
        decoding={"type": "linear", "step_s": 0.01, "sequence_s": 0.001, "prompt_token_s": 0.001},
        learning={"tokens_per_s": 500},
        scoring={"completion_s": 0.01},
    )
    timeline = run_stream(there, 6, np.random.default_rng(seed), max_staleness=max_staleness, partial=partial)
    again = run_stream(there, 6, np.random.default_rng(seed), max_staleness=max_staleness, partial=partial)
    assert timeline.seconds.tolist() == again.seconds.tolist()
    assert len(timeline.staleness) == max_staleness + 1
    assert timeline.staleness.sum() == 6 * 8
    assert min(timeline.gpu_seconds.values()) >= -1e-9
    # rounding is hidden where a share is a difference, so a little is allowed
    assert sum(timeline.gpu_seconds.values()) == pytest.approx(layout.gpus * timeline.seconds.sum(), rel=1e-6)
