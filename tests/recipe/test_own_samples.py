"""`rft` and `dpo` in a recipe: what contradicts itself, what decides their identity, and how they are shown."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from rlreason.errors import RecipeError
from rlreason.recipe import Recipe, build_plan, load_recipe
from rlreason.recipe.describe import render_plan, stage_sizes

RFT = {"type": "rft", "data": [{"cells": ["*"]}], "updates": 10, "optimizer": {"learning_rate": 1.0e-3}}
DPO = {**RFT, "type": "dpo"}
STAGES = {"rft": RFT, "dpo": DPO}


@pytest.fixture
def recipe(small: dict[str, Any], write: Any) -> Any:
    """recipe(rft={...}, dpo={...}) -> the small recipe with the two stages, changed so."""

    def make(*, rewards: dict[str, Any] | None = None, **changes: dict[str, Any]) -> Recipe:
        stages = {name: {**STAGES[name], **changes.get(name, {})} for name in STAGES}
        small["stages"] |= stages
        small["arms"] |= {"experts": ["atomic", "rft"], "preferring": ["atomic", "dpo"]}
        return load_recipe(write(small | ({"rewards": rewards} if rewards else {}))).recipe

    return make


CONTRADICTIONS = [
    ("rft", {"per_problem": 9, "samples": 8}, "per_problem 9 is more than samples 8"),
    ("rft", {"sampling": {"max_new_tokens": 100}, "row_tokens": 100}, "max_new_tokens 100 leaves no room for a prompt"),
    ("rft", {"restart": True}, "restart with rounds 1: there is no second round to start again"),
    ("rft", {"samples": 2, "traces": {"type": "skills", "attempts": 3}}, "traces.attempts 3 is more than samples 2"),
    ("rft", {"traces": {"type": "skills", "verdict": "Done."}}, "verdict 'Done.' must have words and then {answer}"),
    ("rft", {"traces": {"type": "skills", "verdict": "{answer}"}}, "verdict '{answer}' must have words and then"),
    (
        "rft",
        {"traces": {"type": "skills", "wrong": "No. So, the answer is: not {answer}"}},
        "wrong and verdict both say 'So, the answer is:'",
    ),
    ("rft", {"data": [{"texts": True}]}, "`data` has `texts: true`, which cannot be scored"),
    (
        "rft",
        {"data": [{"cells": ["*"], "problems": 4}]},
        "`data` has `problems: 4`, but this stage keeps its samples by",
    ),
    ("rft", {"data": [{"cells": ["*"], "targets": "format"}]}, "`data` has `targets: format`, but this stage trains"),
    ("dpo", {"samples": 1}, "samples 1: a pair is two completions of one problem"),
    ("dpo", {"samples": 3, "pairs_per_problem": 3}, "pairs_per_problem 3 is more than the 2 pairs that samples 3 can"),
    ("dpo", {"sampling": {"max_new_tokens": 128}}, "stages.dpo.sampling.max_new_tokens: 128 tokens leave no room"),
]


@pytest.mark.parametrize(("stage", "changes", "message"), CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused_as_a_pair(
    recipe: Any, stage: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError) as error:
        recipe(**{stage: changes})
    assert f"stages.{stage}" in str(error.value) and message in str(error.value)


@pytest.mark.parametrize(
    ("stage", "section", "message"),
    [
        ("atomic", {"texts": True, "targets": "format"}, "`texts: true` with `targets: format`: plain texts have no"),
        ("rl", {"cells": ["complementary/*"], "targets": "format"}, "`data` has `targets: format`, but this stage"),
    ],
)
def test_targets_where_there_are_none_are_refused(
    small: dict[str, Any], write: Any, stage: str, section: dict[str, Any], message: str
) -> None:
    small["stages"][stage]["data"] = [section]
    with pytest.raises(RecipeError) as error:
        load_recipe(write(small))
    assert message in str(error.value)


def ids(recipe: Recipe) -> dict[str, str]:
    return {stage.name: stage.id for stage in build_plan(recipe, model_fingerprint="m").stages}


def test_rewards_decide_the_identity_of_what_is_kept_and_the_checkpoint_interval_does_not(recipe: Any) -> None:
    before, paid = ids(recipe()), ids(recipe(rewards={"combine": "product"}))
    assert before["atomic"] == paid["atomic"]
    assert before["rft"] != paid["rft"] and before["dpo"] != paid["dpo"]
    often = ids(recipe(rft={"checkpoint_every": 1}, dpo={"checkpoint_every": 1}))
    assert often == before
    assert before["rft"].startswith("rft-") and before["dpo"].startswith("dpo-")


def test_their_work_by_hand_and_in_words(recipe: Any) -> None:
    loaded = recipe(
        rft={"rounds": 3, "prompts": 5, "samples": 4, "updates": 2, "batch_rows": 6, "row_tokens": 100},
        dpo={"prompts": 7, "samples": 4, "updates": 2, "batch_pairs": 8},
    )
    plan = build_plan(loaded, model_fingerprint="m")
    sizes = {stage.name: stage_sizes(stage) for stage in plan.stages}
    # 3 rounds of 5 prompts and 2 updates of 6 rows
    assert sizes["rft"] == {
        "rounds": 3,
        "prompts": 15,
        "completions": 60,
        "updates": 6,
        "rows": 36,
        "tokens": 3600,
    }
    assert sizes["dpo"] == {"prompts": 7, "completions": 28, "updates": 2, "pairs": 16}
    console = Console(width=200)
    with console.capture() as capture:
        console.print(render_plan(plan, loaded))
    assert "3 rounds, 15 prompts x 4 = 60 completions, 6 updates, 36 rows of 100 tokens" in capture.get()
    assert "7 prompts x 4 = 28 completions, 2 updates, 16 pairs" in capture.get()
