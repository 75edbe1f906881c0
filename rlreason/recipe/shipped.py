"""Where what ships lies (recipes with models, reward plug-ins, cluster templates): in an installed package, or beside
it in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rlreason.recipe.yaml_text import read_yaml

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped_folder(kind: Literal["recipes", "rewards", "cluster"]) -> Path:
    """The folder of what ships of that kind. Models lie among the recipes, under models/."""
    installed = _PACKAGE / "_shipped" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def shipped_recipes() -> list[tuple[str, str]]:
    """(name to load it by, one-line description) of every recipe that ships, sorted by name.

    Raises:
        RecipeError: a shipped file does not parse.
    """
    files = sorted(shipped_folder("recipes").glob("*.yaml"))
    return [(file.stem, str(read_yaml(file).get("description", ""))) for file in files]
