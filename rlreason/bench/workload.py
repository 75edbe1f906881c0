"""What is measured: a model size, prompts, completions and lengths, written down as a recipe for each side.

The recipes are ordinary ones but for their task (`words`), which recipes cannot name; so every knob of the engines can
be changed as in any recipe. Making the model and starting anything is left to `rl` and to the sides.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlreason.bench.words import REWARD, Words, build_words
from rlreason.errors import UserError, one_of
from rlreason.recipe import LoadedRecipe, dump_recipe, load_recipe
from rlreason.recipe.schema import Recipe
from rlreason.recipe.stages import Rl
from rlreason.recipe.yaml_text import to_yaml
from rlreason.records.run_folder import write_text

SIZES: dict[str, dict[str, int]] = {
    "0.4M": {"layers": 3, "width": 96, "heads": 3, "mlp_width": 256},
    "4M": {"layers": 4, "width": 256, "heads": 8},
    "30M": {"layers": 9, "width": 512, "heads": 8, "mlp_width": 1408},
    "120M": {"layers": 30, "width": 576, "heads": 9, "mlp_width": 1536},
}
"""Llama shapes by their number of parameters, with a vocabulary of 1,024 and a tied output head."""
ENGINES = {"vllm": "deepspeed", "torch": "torch"}
"""Generator -> the learner that goes with it."""
MODEL = "model"
"""Beside the folders of the sides."""
RECIPE = "recipe.yaml"
"""In the folder of each side."""
STAGE = "rl"
TASK = "words"
FLOAT32_BYTES = 4
CACHE_SLACK = 1.25
"""A key-value cache is handed out in blocks, the last of a sequence only partly used."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One update's work, the same for every side.

    Attributes:
        size: one of `SIZES`.
        prompts: P, prompts an update; None: as many as make an update take some seconds, see `scale`.
        group: G, completions a prompt.
        prompt_tokens, completion_tokens: every prompt and every completion is exactly that long.
    """

    size: str = "4M"
    prompts: int | None = None
    group: int = 8
    prompt_tokens: int = 32
    completion_tokens: int = 48

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: an unknown size, or a group that has nothing to compare.
        """
        if self.size not in SIZES:
            raise UserError(one_of("--size", self.size, SIZES))
        if self.group < 2:
            raise UserError(f"--group {self.group}: advantages compare the completions of a prompt; give at least 2")


SMOKE = Workload("0.4M", prompts=16)
"""For `rlreason bench --smoke`: the least of which an update is more than its fixed costs."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What an update runs on: a side of ours.

    Attributes:
        engine: one of `ENGINES`.
        generators, learners: how many rollout engines, and ranks of the learner.
    """

    engine: str
    generators: int = 1
    learners: int = 1

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: an unknown engine, or several of one that is one.
        """
        if self.engine not in ENGINES:
            raise UserError(one_of("--engine", self.engine, ENGINES))
        several = {"--rollout-workers": self.generators, "--learner-ranks": self.learners}
        for option, count in several.items():
            if self.engine == "torch" and count > 1:
                raise UserError(
                    f"{option} {count} does not go with --engine torch, which is one process; use --engine vllm"
                )

    @property
    def name(self) -> str:
        """ "vllm", or with several processes "vllm-2x1": generators by learners."""
        counts = "" if self.generators == self.learners == 1 else f"-{self.generators}x{self.learners}"
        return self.engine + counts


def recipe_values(workload: Workload, setup: Setup, updates: int) -> dict[str, Any]:
    """The recipe of a workload, before overrides; `updates` counts the one that warms up."""
    assert workload.prompts is not None, "found before anything is written"
    shape = SIZES[workload.size]
    sampling = {"temperature": 1.0, "max_new_tokens": workload.completion_tokens}
    length = workload.prompt_tokens + workload.completion_tokens
    together = workload.prompts * workload.group * length
    cache_bytes = together * 2 * shape["layers"] * shape["width"] * FLOAT32_BYTES * CACHE_SLACK
    return {
        "name": "bench",
        "model": {"scratch": {**shape, "max_positions": length}, "dtype": "float32"},
        "tasks": {TASK: {"type": Words.type, "prompt_words": workload.prompt_tokens}},
        "rewards": {"parts": [{"spec": REWARD}]},
        "stages": {
            STAGE: {
                "type": "rl",
                "data": [{"cells": ["*"]}],
                "updates": updates,
                "prompts_per_update": workload.prompts,
                "group_size": workload.group,
                "sampling": sampling,
                "optimizer": {"learning_rate": 1e-4},
                "checkpoint_every": updates,
            }
        },
        "arms": {"bench": [STAGE]},
        "evaluation": {"levels": ["train"], "sampling": sampling},
        "resources": {
            "generator": setup.engine,
            "generators": setup.generators,
            "learner": ENGINES[setup.engine],
            "learners": setup.learners,
            "kv_cache_gib": max(0.5, round(cache_bytes / 2**30, 2)),
        },
    }


def write_workload(
    workload: Workload, setup: Setup, updates: int, overrides: Sequence[str], folder: Path
) -> LoadedRecipe:
    """Write the recipe that a side reads, overrides applied.

    Raises:
        RecipeError: an override is not a key of a recipe, or its value is not allowed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / "workload.yaml"
    write_text(draft, to_yaml(recipe_values(workload, setup, updates)))
    loaded = load_recipe(draft, overrides)
    write_text(folder / RECIPE, dump_recipe(loaded.recipe))
    return loaded


def rl_stage(recipe: Recipe) -> Rl:
    """The recipe's one training stage."""
    config = recipe.stages[STAGE]
    assert isinstance(config, Rl)
    return config


def words_task(recipe: Recipe) -> Words:
    """The recipe's task."""
    task = recipe.tasks[TASK]
    return build_words(TASK, task.type, task.parameters)


def threads_of(recipe: Recipe) -> int:
    """Threads that a process in which everything happens computes with, whatever its environment says."""
    return recipe.resources.threads or os.cpu_count() or 1


def describe(recipe: Recipe) -> Mapping[str, Any]:
    """The work of one update as the report shows it, read from the recipe that was run."""
    config, task = rl_stage(recipe), words_task(recipe)
    return {
        "prompts": config.prompts_per_update,
        "group": config.group_size,
        "prompt_tokens": task.parameters.prompt_words,
        "completion_tokens": config.sampling.max_new_tokens,
        "dtype": recipe.model.dtype,
    }
