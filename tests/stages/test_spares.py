"""Rollouts on disk come back as they were."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.algorithms.budget import Spending
from rlreason.errors import CheckpointError
from rlreason.stages.draws import Drawn, rewards_of
from rlreason.stages.sources import Batch
from rlreason.stages.spares import ARRAYS, VALUES, read_spares, write_spares
from rlreason.types import Completion, Group, Problem, Rollout, Score, Step, StepScore
from tests.stages.groups import group

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
TEXTS = st.text(max_size=6)


def tokens(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int32) + 7


@st.composite
def completions(draw) -> Completion:
    count = draw(st.integers(1, 4))
    logprobs = draw(st.lists(st.floats(-50, 0, width=32), min_size=count, max_size=count))
    mask = draw(st.none() | st.lists(st.booleans(), min_size=count, max_size=count))
    versions = draw(st.none() | st.lists(st.integers(0, 9), min_size=count, max_size=count))
    return Completion(
        prompt_tokens=tokens(draw(st.integers(1, 3))),
        tokens=tokens(count),
        generator_logprobs=np.array(logprobs, dtype=np.float32),
        text=draw(TEXTS),
        finish_reason=draw(st.sampled_from(["stop", "length"])),
        policy_version=draw(st.integers(0, 9)),
        seed=draw(st.integers(0, 2**63 - 1)),
        loss_mask=None if mask is None else np.array(mask),
        turns=tuple(draw(st.lists(TEXTS, max_size=2))),
        failure=draw(TEXTS),
        policy_versions=None if versions is None else np.array(versions, dtype=np.int32),
    )


SCORES = st.builds(
    Score,
    reward=FLOATS,
    correct=st.none() | st.booleans(),
    parts=st.dictionaries(TEXTS, FLOATS, max_size=2),
    steps=st.lists(
        st.builds(Step, st.integers(0, 5), st.integers(5, 9), st.sampled_from(["right", "wrong"]), TEXTS, FLOATS),
        max_size=2,
    ).map(tuple),
    step_scores=st.dictionaries(
        TEXTS, st.lists(st.builds(StepScore, st.integers(0, 5), st.integers(5, 9), FLOATS)).map(tuple), max_size=2
    ),
    failure=TEXTS,
    derivation_correct=st.none() | st.booleans(),
    first_error=st.none() | st.integers(0, 5),
    answer=st.none() | TEXTS,
)


@st.composite
def batches(draw) -> Batch:
    groups = []
    for number in range(draw(st.integers(1, 2))):
        detail = {"path": ["a", "b"], "deep": {"x": [1, 2.5, None, True]}}
        problem = Problem(f"p{number}", "t", "c", "train", draw(TEXTS), "!", "!", detail, ("one", "two"))
        rollouts = [Rollout(problem, sample, draw(completions()), draw(SCORES)) for sample in range(2)]
        groups.append(Group(problem, tuple(rollouts)))
    rewards, scored = rewards_of(groups)
    drawn = Drawn(groups, rewards, scored, np.arange(len(groups)), {"arm": draw(FLOATS)}, draw(FLOATS))
    return Batch(drawn, Spending(samples=3, flops=draw(FLOATS)), [("load", 1.5, 2.5)], {"x": draw(FLOATS)})


def assert_equal(one: object, other: object) -> None:
    """The same values, arrays with their types, through dataclasses and containers."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert isinstance(other, np.ndarray) and one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif hasattr(one, "__dataclass_fields__"):
        for each in fields(one):  # type: ignore[arg-type]
            assert_equal(getattr(one, each.name), getattr(other, each.name))
    elif isinstance(one, list | tuple):
        assert isinstance(other, list | tuple)
        for pair in zip(one, other, strict=True):
            assert_equal(*pair)
    else:
        assert one == other


@settings(max_examples=30, deadline=None)
@given(st.lists(batches(), min_size=1, max_size=2))
def test_every_value_comes_back_as_it_was(tmp_path_factory, several):
    folder = tmp_path_factory.mktemp("spare")
    written = dict(enumerate(several, start=4))
    write_spares(folder, written)
    found = read_spares(folder)
    assert found.keys() == written.keys()
    for update, batch in written.items():
        assert_equal(found[update], batch)


def test_nothing_is_written_of_nothing(tmp_path):
    write_spares(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
    assert read_spares(tmp_path) == {}


@pytest.mark.parametrize("lost", [VALUES, ARRAYS])
def test_half_of_it_is_refused_and_not_taken_for_none(tmp_path, lost):
    groups = [group("a", ([3, 4], Score(1.0)), ([5], Score(0.0)))]
    write_spares(tmp_path, {4: Batch(Drawn(groups, *rewards_of(groups), np.array([0]), {}, 1.0))})
    (tmp_path / lost).unlink()
    with pytest.raises(
        CheckpointError, match=rf"spare rollouts .* cannot be read .* restore .* or delete {tmp_path.parent} "
    ):
        read_spares(tmp_path)
