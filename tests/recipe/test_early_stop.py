"""The section `evaluation.stop_at`: what it may stand beside, and what it leaves as it was."""

from __future__ import annotations

from typing import Any

import pytest

from rlreason.errors import RecipeError
from rlreason.recipe import build_plan
from rlreason.recipe.freeze import rules_of

STOP = "evaluation.stop_at={half_width: 0.02, at_least: 2}"
FIXED = ("verdict.k=[1, 2]", "verdict.amplification=1")


def identities(loaded: Any) -> list[str]:
    return [stage.id for stage in build_plan(loaded.recipe, model_fingerprint="m").stages]


def test_left_out_it_changes_neither_stages_nor_frozen_rules(load: Any):
    assert identities(load()) == identities(load("evaluation.stop_at=null"))
    assert "stop_at" not in rules_of(load().recipe)["evaluation"]


def test_said_it_is_another_evaluation_by_other_rules_and_trains_the_same(load: Any):
    with_stop = load(STOP, *FIXED)
    stages = zip(identities(load()), identities(with_stop), strict=True)
    assert [one == other for one, other in stages] == [True, False, True, False]
    assert rules_of(with_stop.recipe)["evaluation"]["stop_at"] == {"half_width": 0.02, "at_least": 2}


def test_interpolators_take_no_samples_and_are_what_they_were(load: Any):
    controls = "evaluation.interpolation={methods: [nearest]}"
    assert identities(load(controls))[-1] == identities(load(controls, STOP, *FIXED))[-1]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((STOP, "verdict.amplification=1"), "does not go with k 4 of the verdict"),
        ((STOP, "verdict.k=[1, 2]"), "verdict.amplification unset (half of the samples)"),
        ((STOP, "verdict.k=[1, 2]", "verdict.amplification=2"), "verdict.amplification 2, which needs"),
        ((STOP, *FIXED, "verdict.reach_derivations=8"), "does not go with verdict.reach_derivations 8"),
        (("evaluation.stop_at={half_width: 0.02, at_least: 4}",), "4 is not below evaluation.samples 4"),
        (("evaluation.stop_at={half_width: 0}",), "evaluation.stop_at.half_width"),
    ],
)
def test_what_needs_a_fixed_number_of_samples_is_refused_beside_it(load: Any, overrides: Any, said: str):
    with pytest.raises(RecipeError) as refused:
        load(*overrides)
    assert said in str(refused.value)


def test_without_reinforcement_learning_there_is_no_verdict_to_protect(load: Any):
    load(STOP, "arms.sft_rl=null", "stages.rl=null")
