"""Freezing the rules of a recipe before its run: what will be asked, how it is judged, and their hash.

`rlreason plan --freeze` writes the file, `rlreason run` holds the run against it and notes both in the run's plan; what
changed since is told by the report. A hash proves that the rules are the ones frozen, not when they were: for that,
publish it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from rlreason.errors import RecipeError
from rlreason.recipe.compare import diff
from rlreason.recipe.fingerprints import json_digest
from rlreason.recipe.loading import LoadedRecipe
from rlreason.recipe.schema import Recipe
from rlreason.recipe.shipped import shipped_folder
from rlreason.recipe.verdict import resolved_verdict


class Frozen(BaseModel):
    """A file of frozen rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    frozen: str
    """When, ISO 8601."""
    hash: str
    """SHA-256 (hex) of `rules` as canonical JSON: sorted keys, no spaces."""
    rules: dict[str, Any]


def rules_of(recipe: Recipe) -> dict[str, Any]:
    """All that decides what is asked and how it is judged: evaluation, its task, rewards, arms, seeds and verdict.

    How the stages train is not part of it: that is what the experiment varies.
    """
    task = recipe.task_name(recipe.evaluation.task)
    # where it is left out it is no rule, so that what was frozen before there was such a setting still holds
    unsaid = {"stop_at"} if recipe.evaluation.stop_at is None else set()
    return {
        "evaluation": recipe.evaluation.model_dump(mode="json", exclude=unsaid),
        "task": recipe.tasks[task].model_dump(mode="json"),
        "rewards": recipe.rewards.model_dump(mode="json", exclude={"workers", "memory_gib"}),
        "arms": {
            name: {"after": arm.after, "stages": [f"{recipe.stages[stage].type}:{stage}" for stage in arm.stages]}
            for name, arm in recipe.arms.items()
        },
        "seeds": list(recipe.seeds),
        "verdict": resolved_verdict(recipe.verdict, recipe.evaluation),
    }


def freeze(recipe: Recipe, now: str) -> Frozen:
    """The recipe's rules as they are now; `now` in ISO 8601."""
    rules = rules_of(recipe)
    return Frozen(recipe=recipe.name, frozen=now, hash=json_digest(rules), rules=rules)


def frozen_path(loaded: LoadedRecipe) -> Path:
    """RECIPE_NAME.frozen.json beside the recipe; in the current folder for a recipe that ships."""
    ships = loaded.folder == shipped_folder("recipes").resolve()
    return (Path() if ships else loaded.folder) / f"{loaded.recipe.name}.frozen.json"


def freeze_to(path: Path, recipe: Recipe, now: str) -> Frozen:
    """Write the recipe's rules to a file. Where it holds the same rules already, it stays as it is.

    Raises:
        RecipeError: it holds other rules; names every difference. Or it cannot be written.
    """
    if path.exists():
        held = read_frozen(path)
        changes = changed_rules(held, rules_of(recipe))
        if changes:
            raise RecipeError(
                f"{path} holds other rules, frozen at {held.frozen}:\n  " + "\n  ".join(changes) + "\nDelete it to "
                "freeze these instead, or give them another file with --output"
            )
        return held
    frozen = freeze(recipe, now)
    try:
        path.write_text(json.dumps(frozen.model_dump(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path} cannot be written: {error.strerror}; give another file with --output") from None
    return frozen


def read_frozen(path: Path) -> Frozen:
    """Read a file of frozen rules.

    Raises:
        RecipeError: it is not one, or its hash is not that of its rules.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path} cannot be read as frozen rules: {error}; restore it, or freeze again") from None
    try:
        frozen = Frozen.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise RecipeError(f"{path}: {key}: {first['msg']}; write it with `rlreason plan RECIPE --freeze`") from None
    if json_digest(frozen.rules) != frozen.hash:
        raise RecipeError(
            f"{path}: hash {frozen.hash} is not that of the rules in the file: it was edited; restore it, or delete it "
            "and freeze the rules again"
        )
    return frozen


def changed_rules(frozen: Frozen, rules: Mapping[str, Any]) -> list[str]:
    """ "key.path: frozen -> now" for every rule that is another."""
    return diff(frozen.rules, rules)


def registration(recipe: Recipe, frozen: Frozen | None) -> dict[str, Any]:
    """What a run's plan says of its rules: their hash, and how they stand to the frozen ones."""
    rules = rules_of(recipe)
    held = None
    if frozen is not None:
        held = {"at": frozen.frozen, "hash": frozen.hash, "changes": changed_rules(frozen, rules)}
    return {"hash": json_digest(rules), "frozen": held}
