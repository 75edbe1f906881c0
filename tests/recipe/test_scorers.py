"""Step scorers in a recipe: what the plan makes of them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from rlreason.errors import RecipeError
from rlreason.recipe import Plan, build_plan, load_recipe
from rlreason.recipe.schema import Recipe

PRM = {
    "type": "prm",
    "after": "sft",
    "data": [{"cells": ["complementary/*"]}],
    "optimizer": {"learning_rate": 1.0e-3},
}
BY_STEPS = {"type": "process_return", "steps": "judge"}


def with_scorer(small: dict[str, Any], scorer: dict[str, Any], **credit: Any) -> dict[str, Any]:
    """The small recipe whose arm sft_rl has its steps scored by `judge`."""
    small["scorers"] = {"judge": scorer}
    small["stages"]["rl"]["credit"] = {**BY_STEPS, **credit}
    return small


def plan_of(recipe: Recipe, **fingerprints: Any) -> Plan:
    return build_plan(recipe, model_fingerprint="m", **fingerprints)


def planned(write: Any, values: dict[str, Any], *overrides: str) -> Plan:
    return plan_of(load_recipe(write(values), overrides).recipe)


def names(plan: Plan) -> list[tuple[str, tuple[str, ...]]]:
    return [(stage.name, stage.arms) for stage in plan.stages]


def test_a_scorer_is_trained_after_its_arm_and_before_the_stage_that_uses_it(small: Any, write: Any) -> None:
    plan = planned(write, with_scorer(small, PRM))
    assert names(plan) == [
        ("atomic", ("sft", "sft_rl")),
        ("evaluate", ("sft",)),
        ("judge", ("sft_rl",)),
        ("rl", ("sft_rl",)),
        ("evaluate", ("sft_rl",)),
    ]
    atomic, _, judge, rl, _ = plan.stages
    assert (judge.type, judge.parent, rl.parent, rl.needs) == ("prm", atomic.id, atomic.id, (judge.id,))
    assert rl.scorer is not None and (rl.scorer.name, rl.scorer.models) == ("judge", (judge.id,))
    # it belongs to no arm
    assert plan.arms["sft_rl"][0].stages == (atomic.id, rl.id)
    assert plan.to_json()["stages"][rl.id]["scorer"] == "judge"


def test_what_a_stage_needs_of_another_branch_is_brought_forward(small: Any, write: Any) -> None:
    values = with_scorer(small, {"type": "implicit", "policy": "other", "reference": "sft"})
    values["stages"]["composite"] = {**values["stages"]["atomic"], "updates": 11}
    values["arms"]["other"] = ["composite"]
    plan = planned(write, values)
    order = [stage.name for stage in plan.stages]
    assert order == ["atomic", "evaluate", "composite", "evaluate", "rl", "evaluate"]
    rl = plan.stages[4]
    assert rl.scorer is not None and rl.scorer.models == (plan.stages[2].id, plan.stages[0].id) == rl.needs


def test_a_reference_left_out_is_the_recipes_model(small: Any, write: Any) -> None:
    plan = planned(write, with_scorer(small, {"type": "implicit", "policy": "sft"}))
    rl = next(stage for stage in plan.stages if stage.name == "rl")
    assert rl.scorer is not None and rl.scorer.models == (plan.stages[0].id, None)


def test_a_scorer_that_no_stage_uses_is_trained_all_the_same(small: Any, write: Any) -> None:
    small["scorers"] = {"judge": PRM}
    assert ("judge", ()) in names(planned(write, small))


def test_each_seed_has_its_own_scorer(small: Any, write: Any) -> None:
    plan = planned(write, with_scorer(small, PRM), "seeds=[0, 1]")
    judges = [stage for stage in plan.stages if stage.name == "judge"]
    assert [judge.seed for judge in judges] == [0, 1] and judges[0].id != judges[1].id


@pytest.mark.parametrize(
    ("change", "judge_changes"),
    [
        ("scorers.judge.problems=7", True),
        ("scorers.judge.labels={type: monte_carlo}", True),
        ("evaluation.levels=[zero_shot]", True),
        ("scorers.judge.checkpoint_every=7", False),
        ("rewards.combine=product", False),
    ],
)
def test_the_stage_that_uses_a_scorer_changes_with_it(small: Any, write: Any, change: str, judge_changes: bool) -> None:
    def ids(*overrides: str) -> dict[str, str]:
        return {stage.name: stage.id for stage in planned(write, with_scorer(small, PRM), *overrides).stages}

    before, after = ids(), ids(change)
    assert (before["judge"] != after["judge"]) == judge_changes
    assert before["rl"] != after["rl"] or not judge_changes
    assert before["atomic"] == after["atomic"]


def test_the_content_of_a_scorers_folder_counts(small: Any, write: Any) -> None:
    recipe = load_recipe(write(with_scorer(small, {"type": "prm_folder", "path": "x"}))).recipe
    one, same, other = (
        next(stage.id for stage in plan_of(recipe, scorer_fingerprints={"judge": each}).stages if stage.name == "rl")
        for each in ("a", "a", "b")
    )
    assert one == same != other


MISTAKES = [
    ({**PRM, "after": "stf"}, {}, "scorers.judge.after: arm 'stf' is not one of sft, sft_rl; did you mean 'sft'?"),
    (PRM, {"steps": "jugde"}, "stages.rl.credit.steps: step scorer 'jugde' is not one of symbolic, answer, judge"),
    (
        {"type": "implicit", "policy": "sft", "reference": "sft"},
        {},
        "scorers.judge: policy and reference are both 'sft', so that every step scores 0",
    ),
    (
        {**PRM, "after": "sft_rl"},
        {},
        "arms.sft_rl: waits for itself, through the scorers or references of its stages: sft_rl -> sft_rl",
    ),
    ({**PRM, "data": [{"texts": True}]}, {}, "`data` has `texts: true`, which have no steps"),
    ({**PRM, "data": [{"cells": ["*"], "problems": 4}]}, {}, "`data` has `problems: 4`, but this stage keeps its"),
    (
        {**PRM, "sampling": {"max_new_tokens": 128}},
        {},
        "scorers.judge.sampling.max_new_tokens: 128 tokens leave no room",
    ),
    ({**PRM, "lables": {}}, {}, "scorers.judge.lables: key 'lables' is not one of"),
    ({"type": "prn"}, {}, "scorers.judge.type: type 'prn' is not one of prm, prm_folder, implicit"),
    (PRM, {"weight": -1}, "stages.rl.credit.weight"),
]


@pytest.mark.parametrize(("scorer", "credit", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_told_with_key_and_remedy(
    small: Any, write: Any, scorer: dict[str, Any], credit: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(write(with_scorer(small, scorer, **credit)))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"), [("symbolic", "the task's own check"), ("answer", "a part of `rewards` too")]
)
def test_a_scorers_name_is_its_own(small: Any, write: Any, name: str, words: str) -> None:
    small["scorers"] = {name: PRM}
    with pytest.raises(RecipeError, match=rf"scorers\.{name}: '{name}' is the name of {words}.*rename it"):
        load_recipe(write(small))
