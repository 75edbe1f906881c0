"""Mastery and what it unlocks, worked by hand; and a curriculum behind a gate."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from rlreason.curriculum.contract import Outcome
from rlreason.curriculum.gate import Gate, Gated, Mastery, wilson_lower
from rlreason.curriculum.policies import make_curriculum
from rlreason.errors import CheckpointError, RecipeError, RunFailed

# two skills, a composite of both, and one on top of it
NEEDS = {"add": (), "carry": (), "sum": ("add", "carry"), "product": ("sum",)}
RIGHT, WRONG = Outcome([0.0] * 8, [1.0] * 8), Outcome([0.0] * 8, [0.0] * 8)


def gate(needs=NEEDS, **parameters) -> Gate:
    # 8 of 8 right: the bound at 0.8 one-sided is 8 / (8 + 0.8416^2) = 0.919
    return Gate(needs, **{"threshold": 0.9, "window": 8, "confidence": 0.8, **parameters})


def gated(seed: int = 0, needs=NEEDS) -> Gated:
    make = make_curriculum("sec", difficulties={arm: len(needed) for arm, needed in needs.items()}, floor=0.2)
    return Gated(make(dict.fromkeys(needs, 1.0), np.random.default_rng(seed)), gate(needs))


@given(n=st.integers(1, 200), right=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_the_bound_is_wilsons(n, right, confidence):
    low, _ = proportion_confint(right * n, n, alpha=2 * (1 - confidence), method="wilson")
    found = wilson_lower(np.array([right, 0.5]), np.array([n, 0]), confidence)
    assert found == pytest.approx([low, 0.0], abs=1e-9)


def test_a_composite_waits_for_all_of_its_prerequisites():
    the_gate = gate()
    assert the_gate.unlocked() == ["add", "carry"]
    the_gate.observe({"add": RIGHT, "carry": WRONG})
    assert the_gate.unlocked() == ["add", "carry"]
    assert the_gate.mastered == {"add": True, "carry": False, "sum": False, "product": False}
    assert the_gate.bounds() == pytest.approx(
        {"add": 8 / (8 + 0.8416**2), "carry": 0, "sum": 0, "product": 0}, abs=1e-4
    )
    the_gate.observe({"carry": RIGHT})  # eight right ones push eight wrong ones out of the window
    assert the_gate.unlocked() == ["add", "carry", "sum"]
    the_gate.observe({"sum": RIGHT})
    assert the_gate.unlocked() == ["add", "carry", "sum", "product"]


def test_a_few_right_answers_prove_nothing():
    the_gate = gate()
    the_gate.observe({"add": Outcome([0.0] * 6, [1.0] * 6)})  # 6 / (6 + 0.708) = 0.894, below 0.9
    assert not the_gate.mastered["add"]
    the_gate.observe({"add": Outcome([0.0], [1.0])})  # 7 / 7.708 = 0.908
    assert the_gate.mastered["add"]


def test_what_was_mastered_stays_unlocked_when_it_is_forgotten():
    the_gate = gate()
    the_gate.observe({"add": RIGHT, "carry": RIGHT})
    the_gate.observe({"add": WRONG})
    assert the_gate.bounds()["add"] < 0.1
    assert "sum" in the_gate.unlocked()


def test_problems_that_nobody_judged_count_for_nothing():
    the_gate = gate()
    the_gate.observe({"add": Outcome([0.0] * 9, [1.0] * 8 + [math.nan])})
    assert the_gate.mastered["add"]


def test_a_prerequisite_that_is_not_trained_has_to_be_said_to_be_mastered():
    with pytest.raises(
        RecipeError, match=r"'sum' needs 'carry', which is not trained here.*train it too, or list it as mastered"
    ):
        gate({"add": (), "sum": ("add", "carry")})
    assert gate({"sum": ("add", "carry")}, mastered=("add", "carry")).unlocked() == ["sum"]
    with pytest.raises(RecipeError, match="did you mean 'carry'"):
        gate({**NEEDS, "sum": ("add", "carri")})


def test_a_cycle_is_refused_and_named():
    with pytest.raises(RecipeError, match=r"prerequisites form a cycle: 'a' needs 'b' needs 'c' needs 'a'") as refused:
        gate({"a": ("b",), "b": ("c",), "c": ("a",), "d": ("a",)})
    assert "'d'" not in str(refused.value)
    with pytest.raises(RecipeError, match="'a' needs 'a'"):
        gate({"a": ("a",)})


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"threshold": 0.0}, r"threshold 0.0 is not in \(0, 1\)"),
        ({"threshold": 1.0}, "threshold 1.0"),
        ({"window": 0}, "window 0 is not at least 1"),
        ({"confidence": 1.0}, r"confidence 1.0 is not in \(0, 1\)"),
        (
            {"threshold": 0.95},
            "threshold 0.95 is not within reach; a full window of 8 problems, all solved, proves 0.919",
        ),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, words):
    with pytest.raises(RecipeError, match=words):
        gate(**parameters)


def test_many_gates_side_by_side_never_meet():
    needs = np.array([[False, False], [True, False]])
    mastery = Mastery((2, 2), needs, threshold=0.5, window=4)
    mastery.observe(np.array([[[1.0] * 4, [1.0] * 4], [[0.0] * 4, [1.0] * 4]]))
    assert mastery.unlocked().tolist() == [[True, True], [True, False]]


def test_a_gated_curriculum_draws_only_what_is_unlocked():
    curriculum = gated()
    assert curriculum.probabilities() == pytest.approx({"add": 0.5, "carry": 0.5, "sum": 0, "product": 0})
    curriculum.observe({"add": RIGHT, "carry": RIGHT})
    # all of them paid 0, so three arms are drawn alike
    assert curriculum.probabilities() == pytest.approx({"add": 1 / 3, "carry": 1 / 3, "sum": 1 / 3, "product": 0})


OUTCOME = st.lists(st.floats(0, 1), max_size=4).map(lambda values: Outcome(values, values))
UPDATES = st.lists(st.dictionaries(st.sampled_from(list(NEEDS)), st.one_of(OUTCOME, st.just(RIGHT))), max_size=6)


@settings(max_examples=50)
@given(updates=UPDATES, later=UPDATES)
def test_a_resume_gives_the_same_next_draws_and_nothing_locked_is_ever_drawn(updates, later):
    uninterrupted, resumed = gated(seed=1), gated(seed=2)
    for outcomes in updates:
        assert set(uninterrupted.draw(5)) <= set(uninterrupted.gate.unlocked())
        uninterrupted.observe(outcomes)
    resumed.load_state_dict(json.loads(json.dumps(uninterrupted.state_dict())))
    for outcomes in [*later, {}]:
        assert resumed.draw(7) == uninterrupted.draw(7)
        resumed.observe(outcomes)
        uninterrupted.observe(outcomes)
    assert resumed.state_dict() == uninterrupted.state_dict()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state["gate"]["arms"].pop(), r"other arms: it lacks \['product'\]"),
        (lambda state: state["gate"]["memory"].update(values=[[0.0] * 9] * 4), r"'values' have the shape \[4, 9\]"),
        (lambda state: state["gate"]["memory"].update(mastered=[1, 0, 0, -1]), "'mastered' hold"),
        (lambda state: state["curriculum"].update(rule="Fixed"), "followed the rule Fixed"),
        (lambda state: state.pop("gate"), r"lacks \['gate'\]"),
    ],
)
def test_a_state_of_another_gate_is_refused_and_changes_nothing(change, words):
    taught = gated(seed=1)
    taught.observe({"add": RIGHT, "carry": RIGHT})
    state = json.loads(json.dumps(taught.state_dict()))
    change(state)
    asked, untouched = gated(seed=2), gated(seed=2)
    with pytest.raises(CheckpointError, match=words):
        asked.load_state_dict(state)
    assert asked.state_dict() == untouched.state_dict()
    assert asked.probabilities() == untouched.probabilities()


def test_an_unknown_arm_is_named():
    with pytest.raises(RunFailed, match="'ad' is not one of add, carry, sum, product; did you mean 'add'"):
        gate().observe({"ad": RIGHT})
