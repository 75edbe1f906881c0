"""Named arms: draws, floor, restriction, unusable payoffs, and going on exactly after a resume."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.curriculum.bandit import BanditCurriculum
from rlreason.curriculum.contract import Outcome
from rlreason.curriculum.learned import Sec
from rlreason.curriculum.policies import RULES, make_curriculum
from rlreason.errors import CheckpointError, RecipeError, RunFailed

ARMS = ("one", "two", "three")
DIFFICULTIES = {"one": 1, "two": 2, "three": 3}
SIZES = {"one": 600.0, "two": 300.0, "three": 100.0}
PLANNED = ("ordered", "reverse_ordered", "easy_to_hard")

UNIT = st.floats(0, 1)
PAYOFF = st.one_of(UNIT, st.just(math.nan))
OUTCOME = st.lists(st.tuples(PAYOFF, PAYOFF), max_size=4).map(
    lambda pairs: Outcome([payoff for payoff, _ in pairs], [success for _, success in pairs])
)
UPDATES = st.lists(st.dictionaries(st.sampled_from(ARMS), OUTCOME), max_size=6)


def curriculum(name: str, seed: int = 0, floor: float = 0.0, arms=ARMS) -> BanditCurriculum:
    plan = {"updates": 4} if name in PLANNED else {}
    make = make_curriculum(name, difficulties=DIFFICULTIES, sizes=SIZES, floor=floor, **plan)
    return make(dict.fromkeys(arms, 1.0), np.random.default_rng(seed))


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=25)
@given(updates=UPDATES, floor=UNIT, allowed=st.sets(st.sampled_from(ARMS), min_size=1))
def test_probabilities_sum_to_one_above_the_floor_and_nothing_locked_is_drawn(name, updates, floor, allowed):
    policy = curriculum(name, floor=floor)
    policy.restrict(allowed)
    for outcomes in updates:
        policy.observe(outcomes)
    probabilities = policy.probabilities()
    assert sum(probabilities.values()) == pytest.approx(1)
    assert all(probabilities[arm] >= floor / len(allowed) - 1e-12 for arm in allowed)
    assert all(probabilities[arm] == 0 for arm in set(ARMS) - allowed)
    assert set(policy.draw(20)) <= allowed


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=25)
@given(updates=UPDATES, drawn=st.integers(0, 9), later=UPDATES, seeds=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_a_resume_gives_the_same_next_draws(name, updates, drawn, later, seeds):
    uninterrupted, resumed = curriculum(name, seeds[0]), curriculum(name, seeds[1])
    for outcomes in updates:
        uninterrupted.draw(drawn)
        uninterrupted.observe(outcomes)
    resumed.load_state_dict(json.loads(json.dumps(uninterrupted.state_dict())))
    for outcomes in [*later, {}]:
        assert resumed.draw(7) == uninterrupted.draw(7)
        resumed.observe(outcomes)
        uninterrupted.observe(outcomes)
    assert resumed.probabilities() == uninterrupted.probabilities()
    assert resumed.state_dict() == uninterrupted.state_dict()


@pytest.mark.parametrize("name", RULES)
def test_a_single_arm_is_always_drawn(name):
    policy = curriculum(name, arms=("two",))
    policy.observe({"two": Outcome([0.0], [1.0])})
    assert policy.draw(3) == ["two"] * 3
    assert policy.probabilities() == {"two": 1.0}


def test_payoffs_that_are_no_numbers_are_counted_and_left_out():
    policy, spared = curriculum("sec"), curriculum("sec")
    policy.observe({"one": Outcome([0.4, math.nan, math.inf], [0.5, 0.5, 0.5]), "two": Outcome([math.nan], [0.5])})
    spared.observe({"one": Outcome([0.4], [0.5])})
    assert policy.probabilities() == spared.probabilities()
    assert policy.unusable == {"one": 2, "two": 1, "three": 0}
    assert policy.state_dict()["unusable"] == policy.unusable


def test_uniform_follows_the_recipe_and_proportional_the_sizes():
    assert curriculum("uniform").probabilities() == pytest.approx(dict.fromkeys(ARMS, 1 / 3))
    assert curriculum("proportional").probabilities() == pytest.approx({"one": 0.6, "two": 0.3, "three": 0.1})


def test_every_arm_needs_a_difficulty_and_for_proportional_a_size():
    with pytest.raises(RecipeError, match="no difficulty is given of 'four'; every arm needs one"):
        curriculum("sec", arms=("one", "four"))
    with pytest.raises(RecipeError, match="no size is given of 'one'"):
        make_curriculum("proportional", difficulties=DIFFICULTIES)({"one": 1.0}, np.random.default_rng(0))


@pytest.mark.parametrize("floor", [-0.1, 1.1, math.nan])
def test_a_floor_that_is_no_share_is_refused(floor):
    with pytest.raises(RecipeError, match=r"floor .* is not in \[0, 1\]; it is the share of the draws"):
        curriculum("sec", floor=floor)


def test_an_unknown_arm_is_named_with_the_near_one():
    with pytest.raises(RunFailed, match="'tow' is not one of one, two, three; did you mean 'two'"):
        curriculum("sec").observe({"tow": Outcome([0.1], [0.5])})
    with pytest.raises(RunFailed, match="'tow' is not one of"):
        curriculum("sec").restrict(["tow"])


def test_to_lock_every_arm_is_refused():
    with pytest.raises(RunFailed, match="no arm may be drawn: all of one, two, three are locked"):
        curriculum("sec").restrict([])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.update(rule="Variance"), "followed the rule Variance, here it is Sec"),
        (lambda state: state["weights"].pop("two"), r"other arms: it lacks \['two'\] and has \[\] besides"),
        (lambda state: state["weights"].update(four=1.0), r"has \['four'\] besides"),
        (lambda state: state["weights"].update(two=2.0), "weighed its arms"),
        (lambda state: state["memory"].update(means=[0.0]), r"other memory: .* has \['means'\] besides"),
        (lambda state: state["memory"].update(values=[0.0, 0.0]), r"'values' have the shape \[2\], here it is \[3\]"),
        (lambda state: state["memory"].update(values=[0.0, 0.0, math.nan]), "'values' hold .*nan.*: damaged"),
        (lambda state: state["memory"].update(values=[0.0, "x", 0.0]), "'values' are no numbers"),
        (lambda state: state["unusable"].update(two=-1), r"'unusable' hold \[1.0, -1.0, 0.0\]: damaged"),
        (lambda state: state["unusable"].update(two=0.5), "'unusable' hold"),
        (lambda state: state["rng"].update(bit_generator="MT19937"), "not a PCG64 state"),
        (lambda state: state.pop("rng"), r"lacks \['rng'\]"),
    ],
)
def test_a_state_of_another_curriculum_is_refused_and_changes_nothing(change, words):
    taught = curriculum("sec", seed=1)
    taught.observe({"one": Outcome([0.7, math.nan], [0.5, 0.5])})
    state = taught.state_dict()
    change(state)
    asked, untouched = curriculum("sec", seed=2), curriculum("sec", seed=2)
    with pytest.raises(CheckpointError, match=words):
        asked.load_state_dict(state)
    assert asked.state_dict() == untouched.state_dict()


def test_weights_count_beside_what_was_learned():
    policy = BanditCurriculum({"one": 1.0, "two": 3.0}, np.random.default_rng(0), Sec((2,), alpha=1.0, tau=1.0))
    policy.observe({"one": Outcome([math.log(3)], [0.5])})
    # softmax is 3 to 1, the weights are 1 to 3
    assert policy.probabilities() == pytest.approx({"one": 0.5, "two": 0.5})
