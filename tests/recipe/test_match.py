"""Controls and their partners: which stage is meant, what is refused, and what a plan makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from rlreason.errors import RecipeError
from rlreason.recipe import Plan, build_plan, dump_recipe, load_recipe
from rlreason.recipe.describe import render_plan, stage_sizes
from rlreason.recipe.partners import partner_of
from rlreason.recipe.schema import Recipe

DATA = "data: [{cells: [x]}], updates: 9, optimizer: {learning_rate: 1.0e-3}"
MORE = f"stages.more={{type: sft, {DATA}, match: {{stage: rl, by: tokens}}}}"
ARM = "arms.more={after: sft, stages: [more]}"


def plan_of(recipe: Recipe) -> Plan:
    return build_plan(recipe, model_fingerprint="m")


def test_a_control_runs_after_its_partner_whatever_the_order_of_the_arms(load: Any) -> None:
    recipe = load(MORE, "arms={sft: [atomic], more: {after: sft, stages: [more]}, sft_rl: [atomic, rl]}").recipe
    plan = plan_of(recipe)
    assert [stage.name for stage in plan.stages if stage.type != "evaluate"] == ["atomic", "rl", "more"]
    rl, more = (plan.arms[arm][0].stages[-1] for arm in ("sft_rl", "more"))
    assert plan.stage(more).needs == (rl,)
    assert plan.to_json()["stages"][more]["match"] == {"stage": rl, "by": "tokens"}
    # it pays for what is its own alone
    assert plan.stage(rl).arms == ("sft_rl",)


def test_the_partners_identity_is_part_of_the_controls(load: Any) -> None:
    def ids(*overrides: str) -> list[str]:
        plan = plan_of(load(MORE, ARM, *overrides).recipe)
        return [plan.arms[arm][0].stages[-1] for arm in ("sft_rl", "more")]

    rl, more = ids()
    changed_rl, changed_more = ids("stages.rl.group_size=4")
    assert changed_rl != rl and changed_more != more
    assert ids("stages.more.match.by=flops")[1] != more


def test_the_partners_name_is_not_part_of_the_controls_identity(load: Any, small: Any, write: Any) -> None:
    plan = plan_of(load(MORE, ARM).recipe)
    small["stages"]["renamed"] = small["stages"].pop("rl")
    small["arms"]["sft_rl"]["stages"] = ["renamed"]
    other = plan_of(load_recipe(write(small, "other.yaml"), [MORE.replace("rl,", "renamed,"), ARM]).recipe)
    assert other.arms["more"] == plan.arms["more"]


def test_the_partner_is_the_one_that_starts_where_the_control_starts(load: Any) -> None:
    recipe = load(MORE, "stages.other=" + f"{{type: sft, {DATA}}}", "arms.o={stages: [other, rl]}", ARM).recipe
    assert partner_of(recipe, ("atomic", "more")) == ("atomic", "rl")
    plan = plan_of(recipe)
    (match,) = {stage.match.stage for stage in plan.stages if stage.match}
    assert match == plan.arms["sft_rl"][0].stages[-1]


def test_every_seed_has_its_own_partner(load: Any) -> None:
    plan = plan_of(load(MORE, ARM, "seeds=[3, 4]").recipe)
    matched = [stage for stage in plan.stages if stage.match]
    assert [plan.stage(stage.match.stage).seed for stage in matched] == [3, 4]  # type: ignore[union-attr]


def test_a_matched_stage_is_shown_with_its_partner_and_as_the_most_it_may_be(load: Any) -> None:
    recipe = load(
        MORE,
        ARM,
        f"stages.rft={{type: rft, {DATA}, match: {{stage: rl, by: samples}}}}",
        "arms.rft={after: sft, stages: [rft]}",
    ).recipe
    plan = plan_of(recipe)
    console = Console(width=200, record=True, quiet=False)
    with console.capture() as capture:
        console.print(render_plan(plan, recipe))
    assert "more  at most 9 updates, 288 rows of 256 tokens  matched with rl by tokens" in capture.get()
    assert "rft  1 round, prompts x 8 completions, 9 updates" in capture.get()
    (rft,) = (stage for stage in plan.stages if stage.type == "rft")
    assert "completions" not in stage_sizes(rft), "its partner's samples decide"


def test_a_resolved_recipe_with_a_match_reads_back_as_itself(load: Any, write: Any) -> None:
    recipe = load(MORE, ARM).recipe
    assert load_recipe(write(dump_recipe(recipe), "resolved.yaml")).recipe == recipe


RL = f"{{type: rl, {DATA}, match: {{stage: rl, by: %s}}"
REFUSED = [
    ([MORE.replace("rl,", "rll,"), ARM], "stages.more.match.stage: stage 'rll' is not one of atomic, rl; did you mean"),
    ([MORE.replace("rl,", "more,"), ARM], "stages.more.match.stage: 'more' cannot be matched with itself"),
    (
        [MORE.replace("tokens", "samples"), ARM],
        "stages.more: match by samples with 'rl' in a stage of type sft, which samples nothing; match by tokens or",
    ),
    (
        [f"stages.rft={{type: rft, {DATA}, match: {{stage: rl, by: flops}}}}"],
        "stages.rft: match by flops with 'rl' in a stage of type rft",
    ),
    (
        ["stages.rl.match={stage: atomic, by: samples}"],
        "'rl' matched by samples with 'atomic', a stage of type sft, which samples nothing; match by tokens or flops",
    ),
    (
        [MORE, ARM, "arms.sft_rl=null"],
        "stages.more.match.stage: 'more' is matched with 'rl', which no arm runs; add an arm with it",
    ),
    (
        [MORE, "arms.more={after: sft_rl, stages: [more]}"],
        "'more' (in atomic -> rl -> more) is matched with 'rl', which comes before or after it in the same arm",
    ),
    (
        ["stages.rl.match={stage: more, by: tokens}", MORE, ARM],
        "'more' (in atomic -> more) is matched with 'rl', and both wait for each other: atomic -> more waits for "
        "atomic -> rl waits for atomic -> more",
    ),
    (
        [
            MORE,
            f"stages.a={{type: sft, {DATA}}}",
            f"stages.b={{type: sft, {DATA}}}",
            "arms={one: [a, rl], two: [b, rl], more: [atomic, more], sft_rl: null}",
        ],
        "'more' (in atomic -> more) is matched with 'rl', which may be a -> rl or b -> rl; have one of them under",
    ),
    (
        ["stages.again=" + RL % "tokens" + ", curriculum: {type: ordered}}"],
        "stages.again: match by tokens (with 'rl') shows only as it goes how many updates there are, and curriculum "
        "ordered has to know before",
    ),
    (
        ["stages.again={type: rl, data: [{cells: [x]}], updates: 9, match: {stage: rl, by: flops}, "
         "optimizer: {learning_rate: 1.0, schedule: linear}}"],
        "stages.again: match by flops (with 'rl') shows only as it goes how many updates there are, and "
        "optimizer.schedule linear has to know before",
    ),
    (
        ["stages.again=" + RL % "samples" + ", dynamic_sampling: {}, curriculum: {type: ordered}}"],
        "stages.again: match by samples with dynamic_sampling (with 'rl') shows only as it goes",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "sentence"), REFUSED, ids=[sentence[:60] for _, sentence in REFUSED])
def test_a_partner_that_cannot_be_is_refused_with_the_pair_named(
    load: Any, overrides: list[str], sentence: str
) -> None:
    with pytest.raises(RecipeError) as error:
        load(*overrides)
    assert sentence in str(error.value)


def test_samples_of_an_rl_stage_tell_its_updates_before_so_any_schedule_will_do(load: Any) -> None:
    rl = RL.replace("1.0e-3", "1.0e-3, schedule: linear") % "samples" + ", curriculum: {type: ordered}}"
    assert load(f"stages.again={rl}", "arms.again={after: sft, stages: [again]}").recipe.stages["again"]


def test_a_circle_of_arms_is_told_without_looking_for_partners_in_it(load: Any) -> None:
    with pytest.raises(RecipeError, match="circle"):
        load(MORE, ARM, "arms.sft={after: more, stages: [atomic]}")
