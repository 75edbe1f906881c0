"""Workloads as recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlreason.bench.workload import RECIPE, SIZES, Setup, Workload, describe, rl_stage, words_task, write_workload
from rlreason.errors import RecipeError, UserError
from rlreason.recipe import load_recipe
from rlreason.recipe.sizes import cache_bytes_per_token, count_parameters, shape_of

VLLM = Setup("vllm")


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_named_after_its_parameters(size: str, tmp_path: Path):
    scratch = write_workload(Workload(size, prompts=1), VLLM, 2, [], tmp_path).recipe.model.scratch
    assert scratch is not None
    assert count_parameters(shape_of(scratch, 1024)) / 1e6 == pytest.approx(float(size.rstrip("M")), rel=0.1)


def test_what_the_sides_read_is_what_was_asked_for(tmp_path: Path):
    write_workload(Workload(prompts=3, group=4, prompt_tokens=5, completion_tokens=6), VLLM, 7, [], tmp_path)
    recipe = load_recipe(tmp_path / RECIPE).recipe
    config = rl_stage(recipe)
    assert (config.prompts_per_update, config.group_size, config.updates) == (3, 4, 7)
    assert (words_task(recipe).parameters.prompt_words, config.sampling.max_new_tokens) == (5, 6)
    assert recipe.model.scratch is not None
    assert recipe.model.scratch.max_positions == 11


def test_the_key_value_cache_holds_a_whole_update(tmp_path: Path):
    recipe = write_workload(
        Workload("30M", prompts=64, prompt_tokens=256, completion_tokens=256), VLLM, 2, [], tmp_path
    ).recipe
    assert recipe.model.scratch is not None
    a_token = cache_bytes_per_token(shape_of(recipe.model.scratch), 4)
    assert recipe.resources.kv_cache_gib * 2**30 > 64 * 8 * 512 * a_token


def test_any_key_of_the_recipe_can_be_overridden(tmp_path: Path):
    overrides = ["stages.rl.group_size=2", "resources.threads=1"]
    recipe = write_workload(Workload(prompts=32), VLLM, 2, overrides, tmp_path).recipe
    assert (describe(recipe)["group"], recipe.resources.threads) == (2, 1)


def test_an_override_of_an_unknown_key_names_it(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"resources\.thread"):
        write_workload(Workload(prompts=32), VLLM, 2, ["resources.thread=1"], tmp_path)


def test_unknown_sizes_and_engines_are_refused():
    with pytest.raises(UserError, match=r"--size '5M' is not one of 0\.4M, 4M, 30M"):
        Workload(size="5M")
    with pytest.raises(UserError, match="--engine 'vlm' is not one of vllm, torch; did you mean 'vllm'"):
        Setup("vlm")
    with pytest.raises(UserError, match="--group 1"):
        Workload(group=1)


def test_several_processes_are_named_and_asked_for_in_the_recipe(tmp_path: Path):
    setup = Setup("vllm", generators=2, learners=1)
    resources = write_workload(Workload(prompts=4), setup, 2, [], tmp_path).recipe.resources
    assert (resources.generator, resources.generators, resources.learner, resources.learners) == (
        *("vllm", 2),
        *("deepspeed", 1),
    )
    assert (setup.name, VLLM.name) == ("vllm-2x1", "vllm")


def test_several_of_the_engine_in_one_process_are_refused():
    with pytest.raises(UserError, match="--learner-ranks 2 does not go with --engine torch"):
        Setup("torch", learners=2)
