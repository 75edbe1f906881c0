"""Identities, sharing and order of a plan's stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.recipe import Plan, build_plan, fingerprint_model, fingerprint_rewards, load_recipe
from rlreason.recipe.loading import plain
from rlreason.recipe.schema import Recipe


def plan_of(recipe: Recipe, model: str = "m") -> Plan:
    return build_plan(recipe, model_fingerprint=model)


def names(plan: Plan) -> list[tuple[str, tuple[str, ...]]]:
    return [(stage.name, stage.arms) for stage in plan.stages]


def test_arms_with_the_same_beginning_share_it(load: Any) -> None:
    plan = plan_of(load().recipe)
    assert names(plan) == [
        ("atomic", ("sft", "sft_rl")),
        ("evaluate", ("sft",)),
        ("rl", ("sft_rl",)),
        ("evaluate", ("sft_rl",)),
    ]
    atomic, first, rl, second = plan.stages
    assert [stage.parent for stage in plan.stages] == [None, atomic.id, atomic.id, rl.id]
    assert plan.arms["sft_rl"][0].stages == (atomic.id, rl.id)
    assert plan.arms["sft_rl"][0].evaluation == second.id
    assert plan.arms["sft"][0].evaluation == first.id


def test_ids_are_the_type_and_ten_hex_digits(load: Any) -> None:
    for stage in plan_of(load().recipe).stages:
        type, _, digits = stage.id.partition("-")
        assert type == stage.type
        assert len(digits) == 10 and int(digits, 16) >= 0


def test_sharing_does_not_depend_on_how_the_arm_is_written(load: Any) -> None:
    written_out = load("arms.sft_rl={after: null, stages: [atomic, rl]}").recipe
    assert written_out.arms["sft_rl"].after is None
    assert plan_of(written_out).arms == plan_of(load().recipe).arms


def test_an_arm_that_only_continues_another_shares_its_evaluation_too(load: Any) -> None:
    plan = plan_of(load("arms.again={after: sft_rl}").recipe)
    assert plan.arms["again"] == plan.arms["sft_rl"]
    assert len(plan.stages) == 4


def test_an_arm_without_stages_is_the_model_itself(load: Any) -> None:
    plan = plan_of(load("arms.base=[]").recipe)
    assert plan.arms["base"][0].stages == ()
    first = plan.stages[0]
    assert (first.id, first.type, first.parent) == (plan.arms["base"][0].evaluation, "evaluate", None)


def test_the_same_stage_twice_in_a_row_is_two_stages(load: Any) -> None:
    plan = plan_of(load("arms={sft: [atomic, atomic], sft_rl: null}").recipe)
    once, twice = plan.arms["sft"][0].stages
    assert once != twice
    assert plan.stage(twice).parent == once


def test_a_branch_is_finished_before_the_next_begins() -> None:
    recipe = load_recipe("quickstart").recipe
    assert names(plan_of(recipe)) == [
        ("atomic", ("sft_atomic", "sft_atomic_rl")),
        ("evaluate", ("sft_atomic",)),
        ("rl", ("sft_atomic_rl",)),
        ("evaluate", ("sft_atomic_rl",)),
        ("composite", ("sft_composite", "sft_composite_rl")),
        ("evaluate", ("sft_composite",)),
        ("rl", ("sft_composite_rl",)),
        ("evaluate", ("sft_composite_rl",)),
        ("mixture", ("sft_mixture",)),
        ("evaluate", ("sft_mixture",)),
    ]


def test_every_seed_has_its_own_stages_one_seed_after_the_other(load: Any) -> None:
    plan = plan_of(load("seeds=[3, 1]").recipe)
    assert [stage.seed for stage in plan.stages] == [3] * 4 + [1] * 4
    assert len({stage.id for stage in plan.stages}) == 8
    assert list(plan.arms["sft"]) == [3, 1]


KEEPS = [
    "resources.generators=3",
    "resources.micro_batch_tokens=64",
    "description=other",
    "name=other",
    "arms.sft.title=Supervised",
    "stages.atomic.checkpoint_every=7",
    "stages.rl.checkpoint_every=7",
    "stages.atomic.keep_last=3",
    "stages.rl.keep_last=3",
    "stages.rl.keep_models_every=2",
    "stages.rl={keep_models_every: 2, keep_best: 1}",
    "stages.rl.mismatch_tolerance=0.5",
    "rewards.workers=4",
    "evaluation.k=[2]",
    "evaluation.task=people",
    "stages.rl.data[0].task=people",
]
CHANGES = [  # override, names of the stages that get another identity (an evaluation goes by its arm)
    ("stages.rl.group_size=4", {"rl", "sft_rl"}),
    ("stages.atomic.optimizer.learning_rate=0.5", {"atomic", "rl", "sft", "sft_rl"}),
    ("tasks.people.people=9", {"atomic", "rl", "sft", "sft_rl"}),
    ("rewards.combine=product", {"rl", "sft_rl"}),
    ("evaluation.samples=8", {"sft", "sft_rl"}),
    ("seeds=[1]", {"atomic", "rl", "sft", "sft_rl"}),
    ("model.dtype=bfloat16", {"atomic", "rl", "sft", "sft_rl"}),
]


def identities(plan: Plan) -> dict[str, str]:
    found = {stage.name: stage.id for stage in plan.stages if stage.type != "evaluate"}
    return found | {arm: next(iter(seeds.values())).evaluation for arm, seeds in plan.arms.items()}


@pytest.mark.parametrize("override", KEEPS)
def test_what_only_watches_or_places_a_stage_keeps_its_identity(load: Any, override: str) -> None:
    small = "arms.sft={stages: [atomic]}"  # the long form, so that a title can be set
    assert identities(plan_of(load(small, override).recipe)) == identities(plan_of(load(small).recipe))


@pytest.mark.parametrize(("override", "changed"), CHANGES)
def test_what_decides_a_result_changes_the_identity_and_all_that_follows(
    load: Any, override: str, changed: set[str]
) -> None:
    before, after = identities(plan_of(load().recipe)), identities(plan_of(load(override).recipe))
    assert {name for name in before if before[name] != after[name]} == changed


def test_another_model_is_another_history(load: Any) -> None:
    recipe = load().recipe
    assert not {stage.id for stage in plan_of(recipe, "a").stages} & {stage.id for stage in plan_of(recipe, "b").stages}


def test_where_a_model_lies_does_not_matter_but_what_it_holds_does(
    small: dict[str, Any], write: Any, tmp_path: Path
) -> None:
    plans = []
    for folder, weights in (("one", b"w"), ("two", b"w"), ("three", b"other")):
        path = tmp_path / folder
        path.mkdir()
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_bytes(weights)
        (path / "README.md").write_text(folder)
        small["model"] = {"path": folder}
        recipe = load_recipe(write(small)).recipe
        plans.append(plan_of(recipe, fingerprint_model(path, recipe)))
    assert plans[0].arms == plans[1].arms
    assert plans[0].arms != plans[2].arms


def test_of_a_large_file_size_and_both_ends_count(load: Any, tmp_path: Path) -> None:
    recipe = load().recipe
    weights = tmp_path / "m" / "model.safetensors"
    weights.parent.mkdir()

    def fingerprint(size: int, at: int) -> str:
        with weights.open("wb") as file:  # sparse
            file.truncate(size)
            file.seek(at)
            file.write(b"x")
        return fingerprint_model(weights.parent, recipe)

    size = 65 * 2**20
    first = fingerprint(size, 0)
    assert fingerprint(size, 0) == first
    assert fingerprint(size, size - 1) != first
    assert fingerprint(size + 1, 0) != first


def test_an_edited_reward_file_changes_the_rl_stages_alone(load: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    recipe = load("rewards.parts=[{spec: 'mine.py:score'}, {spec: 'rlreason.rewards.builtin:answer'}]").recipe
    found = []
    for text in ("a = 1", "a = 2"):
        file.write_text(text)
        rewards = fingerprint_rewards(recipe, [tmp_path])
        assert list(rewards) == ["mine.py:score"]
        found.append(identities(build_plan(recipe, model_fingerprint="m", reward_fingerprints=rewards)))
    assert {name for name in found[0] if found[0][name] != found[1][name]} == {"rl", "sft_rl"}


def test_the_plan_of_a_run_is_written_in_this_form(load: Any) -> None:
    plan = plan_of(load("arms.sft_rl.title=SFT then RL", "evaluation.probes={skill: {cells: [x]}}").recipe)
    written = json.loads(json.dumps(plan.to_json()))
    atomic, first, rl, second = (stage.id for stage in plan.stages)
    assert written["arms"] == {
        "sft": {"title": "sft", "seeds": {"0": {"stages": [atomic], "evaluation": first}}},
        "sft_rl": {"title": "SFT then RL", "seeds": {"0": {"stages": [atomic, rl], "evaluation": second}}},
    }
    assert list(written["stages"]) == [atomic, first, rl, second]
    assert {key: written["stages"][rl][key] for key in ("name", "type", "seed", "parent", "arms")} == {
        "name": "rl",
        "type": "rl",
        "seed": 0,
        "parent": atomic,
        "arms": ["sft_rl"],
    }
    assert written["stages"][rl]["config"]["group_size"] == 2
    assert written["evaluation"] == {"levels": ["iid"], "probes": ["skill"], "k": [1, 4], "samples": 4}


_paths = st.lists(st.sampled_from(["atomic", "rl"]), max_size=4)


@given(paths=st.lists(_paths, min_size=1, max_size=5), seeds=st.sets(st.integers(0, 3), min_size=1, max_size=2))
def test_any_arms_make_a_tree_that_can_be_run_in_order(paths: list[list[str]], seeds: set[int]) -> None:
    values = plain(load_recipe("quickstart").recipe)
    values["arms"] = {f"arm{index}": {"stages": path} for index, path in enumerate(paths)}
    values["seeds"] = sorted(seeds)
    plan = plan_of(Recipe.model_validate(values))
    place = {stage.id: index for index, stage in enumerate(plan.stages)}
    assert len(place) == len(plan.stages), "each once"
    prefixes = {tuple(path[:length]) for path in paths for length in range(1, len(path) + 1)}
    ends = {tuple(path) for path in paths}
    assert len(plan.stages) == len(seeds) * (len(prefixes) + len(ends))
    for stage in plan.stages:
        assert stage.parent is None or place[stage.parent] < place[stage.id]
        if stage.type == "evaluate" and stage.parent is not None:
            assert place[stage.id] == place[stage.parent] + 1
    for index, path in enumerate(paths):
        for seed in seeds:
            taken = plan.arms[f"arm{index}"][seed].stages
            assert [plan.stage(id).name for id in taken] == path
            assert all(f"arm{index}" in plan.stage(id).arms for id in taken)


def test_a_default_that_is_said_is_the_stage_where_it_is_not(load: Any) -> None:
    # so that a setting that comes later leaves the identities of stages that do without it
    said = load("stages.rl.loss={type: clipped, clip_low: 0.2}", "stages.rl.minibatches=1", "rewards.combine=sum")
    assert names(plan_of(said.recipe)) == names(plan_of(load().recipe))
    assert [stage.id for stage in plan_of(said.recipe).stages] == [stage.id for stage in plan_of(load().recipe).stages]
    other = load("stages.rl.loss={type: clipped, clip_low: 0.1}")
    assert plan_of(other.recipe).stages[2].id != plan_of(load().recipe).stages[2].id


def test_a_reference_counts_by_its_stage_and_not_by_its_arm_s_name(load: Any) -> None:
    def planned(*more: str) -> Plan:
        return plan_of(load('arms.other={stages: [atomic], title: "the same again"}', *more).recipe)

    named, other = (planned(f"stages.rl.kl={{weight: 0.1, reference: {arm}}}") for arm in ("sft", "other"))
    assert [stage.id for stage in named.stages] == [stage.id for stage in other.stages]
    rl = next(stage for stage in named.stages if stage.type == "rl")
    assert rl.reference == rl.parent and rl.needs == (rl.parent,)
    own_start = planned("stages.rl.kl={weight: 0.1}")
    model = planned("stages.rl.kl={weight: 0.1, reference: bare}", "arms.bare=[]")
    ids = {next(stage.id for stage in each.stages if stage.type == "rl") for each in (named, own_start, model)}
    assert len(ids) == 3
