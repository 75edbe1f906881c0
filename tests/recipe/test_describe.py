"""What `rlreason plan` shows: work of each stage, what is shared, memory and layout."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from rlreason.recipe import build_plan, load_recipe
from rlreason.recipe.describe import device_layout, plan_json, render_plan, stage_sizes
from rlreason.recipe.schema import Recipe
from rlreason.recipe.sizes import GIB, Estimate, Machine, estimate_memory, shape_of


def shown(recipe: Recipe, estimate: Estimate | None = None, machine: Machine | None = None) -> str:
    console = Console(width=200, record=True, quiet=True, file=None)
    plan = build_plan(recipe, model_fingerprint="m")
    with console.capture() as capture:
        console.quiet = False
        console.print(render_plan(plan, recipe, estimate, machine))
    return capture.get()


def estimate(recipe: Recipe, on_gpu: bool = False) -> Estimate:
    assert recipe.model.scratch is not None
    return estimate_memory(recipe, shape_of(recipe.model.scratch), on_gpu=on_gpu)


def test_the_work_of_a_stage_by_hand(load: Any) -> None:
    recipe = load(
        "stages.atomic.batch_rows=3", "stages.atomic.row_tokens=50", "evaluation.probes={p: {cells: [x], problems: 6}}"
    ).recipe
    atomic, evaluate, rl, _ = build_plan(recipe, model_fingerprint="m").stages
    assert stage_sizes(atomic) == {"updates": 10, "rows": 30, "tokens": 1500}
    assert stage_sizes(rl) == {"updates": 5, "prompts": 20, "group_size": 2, "completions": 40}
    # one level of 4 problems and a probe of 6, each asked once greedily and 4 times sampled
    assert stage_sizes(evaluate) == {"problems": 10, "completions": 50}


def test_the_tree_shows_what_is_shared_and_what_it_saves() -> None:
    text = shown(load_recipe("quickstart").recipe)
    assert "5 arms, 1 seed; 5 stages to train (7 if nothing were shared), 5 evaluations" in text
    assert text.count("shared by 2 arms") == 2
    assert "not estimated: the model's shape is not known" in text
    lines = text.splitlines()
    (rl,) = (index for index, line in enumerate(lines) if "evaluate sft_atomic_rl" in line)
    assert "── rl " in lines[rl - 1]


def test_other_seeds_are_named_not_drawn_again(load: Any) -> None:
    text = shown(load("seeds=[0, 1, 2]").recipe)
    assert "seed 0; the same again for seed 1, 2" in text
    assert text.count("evaluate sft_rl") == 1


def test_arms_are_shown_as_chains_with_their_titles(load: Any) -> None:
    text = shown(load("arms.sft_rl.title=SFT then RL", "arms.base=[]").recipe)
    assert "sft_rl  (SFT then RL)" in text
    assert "atomic -> rl" in text
    assert "the model itself" in text


def test_memory_and_whether_it_fits(load: Any) -> None:
    recipe = load().recipe
    machine = Machine(cores=2, memory_bytes=8 * GIB)
    text = shown(recipe, estimate(recipe), machine)
    assert "co-located on 2 CPU cores, taking turns; a local Ray" in text
    assert "yes, in this machine's free 8.0 GiB" in text
    assert "NO, in this machine's free 1.0 GiB" in shown(recipe, estimate(recipe), Machine(2, GIB))


def test_the_layout_on_gpus(load: Any) -> None:
    recipe = load(
        "resources={generators: 2, tensor_parallel: 4, learners: 8, zero_stage: 3, address: auto, accelerator: cuda}"
    ).recipe
    assert device_layout(recipe) == (
        "2 generators (vllm x TP 4), 8 learner ranks (deepspeed, ZeRO 3); 8 GPUs generate, 8 learn; "
        "the Ray cluster at auto"
    )
    text = shown(recipe, estimate(recipe, on_gpu=True), Machine(64, 500 * GIB, 16, 80 * GIB))
    assert "yes, in a GPU's 80.0 GiB" in text
    assert "in all" not in text


def test_gpus_that_are_shared_or_too_few_are_told_with_what_to_change(load: Any) -> None:
    colocated = "accelerator: cuda, placement: colocated, sleep_level: 1, offload: optimizer"
    recipe = load(f"resources={{{colocated}, generators: 2, learners: 2}}").recipe
    assert device_layout(recipe, estimate(recipe, on_gpu=True)) == (
        "2 generators (vllm), 2 learner ranks (deepspeed, ZeRO 1, optimizer in host memory); 2 GPUs, each shared by a "
        "generator and a learner, generators asleep at level 1 meanwhile; a local Ray"
    )
    text = shown(recipe, estimate(recipe, on_gpu=True), Machine(8, 64 * GIB, 1, 80 * GIB))
    assert "NO, in a GPU's 80.0 GiB: the recipe asks for 2 generators and 2 learners that share GPUs" in text
    assert "of host memory" in text
    small = Machine(8, 64 * GIB, 2, GIB)
    described = plan_json(build_plan(recipe, model_fingerprint="m"), recipe, estimate(recipe, on_gpu=True), small)
    assert described["fits"] is False
    assert [told.partition(" needs ")[0] for told in described["shortages"]] == [
        "a generator",
        "a learner rank at rest",
        "a learner rank while the generator sleeps",
    ]
    assert "raise resources.gpu_memory_share" in described["shortages"][0]
    assert described["devices"]["sleep_level"] == 1 and described["devices"]["weight_sync"] == "host_memory"


def test_the_layout_in_one_process(load: Any) -> None:
    recipe = load("resources={generator: torch, learner: torch}").recipe
    assert device_layout(recipe) == "generator and learner (torch) in this process, taking turns"


def test_the_json_form_holds_plan_sizes_memory_and_devices(load: Any) -> None:
    recipe = load().recipe
    plan = build_plan(recipe, model_fingerprint="m")
    machine = Machine(2, 8 * GIB)
    form = json.loads(json.dumps(plan_json(plan, recipe, estimate(recipe), machine)))
    assert form["order"] == [stage.id for stage in plan.stages]
    assert form["stages"][form["order"][2]]["sizes"]["completions"] == 40
    assert form["memory"]["host_bytes"] == estimate(recipe).host_bytes
    assert form["memory"]["learner"]["total"] == estimate(recipe).learner.total
    assert (form["fits"], form["devices"]["zero_stage"], form["machine"]["cores"]) == (True, 1, 2)
    bare = plan_json(plan, recipe)
    assert (bare["memory"], bare["machine"], bare["fits"]) == (None, None, None)
    assert {key: bare[key] for key in plan.to_json() if key != "stages"} == {
        key: value for key, value in plan.to_json().items() if key != "stages"
    }
