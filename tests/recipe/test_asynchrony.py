"""What a recipe may say of sampling ahead, and what it may not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from rlreason.errors import MachineError, RecipeError
from rlreason.recipe import build_plan
from rlreason.recipe.describe import device_layout, plan_json
from rlreason.recipe.layout import check_turns, lay_out
from rlreason.recipe.sizes import GIB, Machine, estimate_memory, shape_of
from tests.stages.groups import config


def test_one_step_off_is_what_nothing_more_is_said_of():
    said = config(asynchrony={}).asynchrony
    assert (said.max_staleness, said.mode, said.batches_ahead, said.partial_rollouts) == (1, "lockstep", 1, False)
    assert config(asynchrony={"mode": "newest", "max_staleness": 3}).asynchrony.batches_ahead == 3
    assert config(asynchrony={"mode": "newest", "ahead": 5}).asynchrony.batches_ahead == 5
    assert config().asynchrony is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"asynchrony": {"max_staleness": 0}}, "greater than 0"),
        ({"asynchrony": {"mode": "fast"}}, "'lockstep' or 'newest'"),
        ({"asynchrony": {"partial_rollouts": True}}, "partial_rollouts true with mode lockstep"),
        ({"asynchrony": {"ahead": 2}}, "ahead 2 with mode lockstep, .*; use mode newest, or drop ahead"),
        (
            {"asynchrony": {"mode": "newest", "when_stale": "reweight"}, "correction": {}},
            "when_stale reweight with 1 batches ahead and max_staleness 1: no rollout can be too old",
        ),
        (
            {"asynchrony": {"mode": "newest", "when_stale": "reweight", "ahead": 2}},
            "when_stale reweight needs importance weights: give a `correction: {}`",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_name(changes, message):
    with pytest.raises(ValidationError, match=message):
        config(**changes)


def test_engines_that_take_turns_on_a_device_cannot_work_at_the_same_time(load: Any) -> None:
    with pytest.raises(RecipeError, match=r"stages\.rl\.asynchrony.*does not go with resources\.placement colocated"):
        load("stages.rl.asynchrony={}", "resources.placement=colocated")


SHARING = (
    r"stages\.rl\.asynchrony does not go with GPUs that engines share, and resources\.placement auto has them share 2 "
    r"here; provide 3 GPUs, lower resources\.generators or resources\.learners, or drop asynchrony"
)


def test_neither_can_those_that_share_one_for_want_of_gpus(load: Any) -> None:
    recipe = load("stages.rl.asynchrony={}", "resources.generators=2").recipe
    for gpus in (0, 3, 8):
        check_turns(recipe, lay_out(recipe.resources, gpus))
    with pytest.raises(MachineError, match=SHARING):
        check_turns(recipe, lay_out(recipe.resources, 2))
    by_turns = load("resources.generators=2").recipe
    check_turns(by_turns, lay_out(by_turns.resources, 2))


def test_the_plan_says_so_before_anything_starts(load: Any) -> None:
    recipe = load("stages.rl.asynchrony={}", "resources.generators=2").recipe
    shape = shape_of(recipe.model.scratch)

    def shortages(gpus: int) -> list[str]:
        estimate = estimate_memory(recipe, shape, on_gpu=True, gpus=gpus)
        machine = Machine(8, 64 * GIB, gpus, 80 * GIB)
        found: list[str] = plan_json(build_plan(recipe, model_fingerprint="m"), recipe, estimate, machine)["shortages"]
        return found

    assert shortages(3) == []
    (told,) = shortages(2)
    assert re.fullmatch(SHARING, told)


def test_it_makes_another_stage_and_leaves_the_others_as_they_were(load: Any) -> None:
    def ids(*overrides: str) -> dict[str, str]:
        plan = build_plan(load(*overrides).recipe, model_fingerprint="m")
        return {stage.name: stage.id for stage in plan.stages if stage.type != "evaluate"}

    plain, said = ids(), ids("stages.rl.asynchrony={}")
    assert ids("stages.rl.asynchrony=null") == plain
    assert said["atomic"] == plain["atomic"]
    assert len({plain["rl"], said["rl"], ids("stages.rl.asynchrony={mode: newest}")["rl"]}) == 3


def test_a_plan_says_that_such_stages_do_not_take_turns(load: Any) -> None:
    assert "taking turns but in asynchronous stages" in device_layout(load("stages.rl.asynchrony={}").recipe)
    assert "asynchronous" not in device_layout(load().recipe)
