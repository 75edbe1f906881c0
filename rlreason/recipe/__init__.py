"""Recipes: what one may say (`schema`, `stages`), reading them (`loading`), and the Plan made of one (`plan`)."""

from rlreason.recipe.fingerprints import fingerprint_model, fingerprint_rewards
from rlreason.recipe.loading import LoadedRecipe, dump_recipe, load_recipe
from rlreason.recipe.plan import Plan, PlannedStage, build_plan
from rlreason.recipe.schema import Recipe

__all__ = [
    "LoadedRecipe",
    "Plan",
    "PlannedStage",
    "Recipe",
    "build_plan",
    "dump_recipe",
    "fingerprint_model",
    "fingerprint_rewards",
    "load_recipe",
]
