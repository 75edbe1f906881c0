"""A recipe's needs without a model on the disk, and a cluster file from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlreason.cluster import Cluster, ClusterNeeds, Experiment, cluster_needs, render
from rlreason.recipe.schema import Recipe
from rlreason.recipe.sizes import Estimate, ModelShape, estimate_memory

# Qwen2.5-1.5B's: 1,543,714,304 parameters
QWEN = ModelShape(151936, 1536, 28, 12, 2, 128, 8960, 32768, tied=True, qkv_bias=True)


def recipe(**resources: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "my_Recipe.v2",
            "model": {"scratch": {}},
            "tasks": {"people": {"type": "complementary"}},
            "stages": {
                "sft": {"type": "sft", "data": [{"cells": ["*"]}], "updates": 1, "optimizer": {"learning_rate": 1e-3}}
            },
            "arms": {"sft": ["sft"]},
            "evaluation": {"levels": ["iid"]},
            "resources": resources,
        }
    )


def estimate(asked: Recipe) -> Estimate:
    return estimate_memory(asked, QWEN, on_gpu=asked.resources.accelerator != "cpu")


def needs(gpus_per_node: int = 8, **resources: Any) -> ClusterNeeds:
    asked = recipe(**resources)
    return cluster_needs(asked, estimate(asked), gpus_per_node)


FILES = {
    "recipe.yaml": "name: my_Recipe.v2\n",
    "rewards/a_b.py": "x = '''\n\tquoted: \"yes\"\n'''\n",
    "rewards_a.b.py": "x",
}


WORDS = ("my recipe.yaml", "--set", "a='b; $(c)'")


def rendered(
    target: str,
    gpus_per_node: int = 8,
    resources: dict[str, Any] | None = None,
    words: Sequence[str] = WORDS,
    **given: Any,
) -> str:
    experiment = Experiment("my_Recipe.v2", words, "/home/me/it's here", FILES)
    asked = {"generators": 2, "tensor_parallel": 2, "learners": 4} if resources is None else resources
    return render(target, experiment, needs(gpus_per_node, **asked), Cluster("/mnt/runs", gpus_per_node), given)
