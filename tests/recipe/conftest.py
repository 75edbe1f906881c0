"""A small whole recipe as plain values, and a way to load variations of it from a file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlreason.recipe import LoadedRecipe, load_recipe

SMALL: dict[str, Any] = {
    "name": "small",
    "model": {"scratch": {"layers": 2, "width": 64, "heads": 2, "max_positions": 128}},
    "tasks": {"people": {"type": "complementary", "people": 8, "hops": {1: 1.0}}},
    "stages": {
        "atomic": {
            "type": "sft",
            "data": [{"cells": ["parametric/*"]}, {"texts": True}],
            "updates": 10,
            "optimizer": {"learning_rate": 1.0e-3},
        },
        "rl": {
            "type": "rl",
            "data": [{"cells": ["complementary/*"]}],
            "updates": 5,
            "prompts_per_update": 4,
            "group_size": 2,
            "optimizer": {"learning_rate": 1.0e-3},
        },
    },
    "arms": {"sft": ["atomic"], "sft_rl": {"after": "sft", "stages": ["rl"]}},
    "evaluation": {"levels": ["iid"], "problems": 4, "samples": 4, "k": [1, 4]},
}

Write = Callable[..., Path]
Load = Callable[..., LoadedRecipe]


@pytest.fixture
def small() -> dict[str, Any]:
    return copy.deepcopy(SMALL)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(values or text, name) -> the file."""

    def make(content: dict[str, Any] | str, name: str = "small.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    return make


@pytest.fixture
def load(small: dict[str, Any], write: Write) -> Load:
    """load("a.b=1", ...) -> the small recipe with these overrides."""
    path = write(small)
    return lambda *overrides: load_recipe(path, overrides)
