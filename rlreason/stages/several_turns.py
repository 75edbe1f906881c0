"""What a recipe may do with a task of several turns, checked before anything starts.

Evaluation, `rl` and `distill` play episodes, `sft` and `pretrain` train gold ones. The stages that train on recorded
samples, and the training of step scorers, take a completion for one text of the policy's and are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlreason.errors import RecipeError
from rlreason.recipe import Recipe
from rlreason.recipe.own_samples import Dpo, Rft
from rlreason.recipe.scorers import Prm
from rlreason.recipe.stages import Mixture, Pretrain, Sft
from rlreason.tasks.contract import Task


def check_several_turns(tasks: Mapping[str, Task], recipe: Recipe) -> None:
    """
    Raises:
        RecipeError: a stage or a scorer cannot train on a task of several turns, or the verdict cannot score it; names
            the entry.
    """
    asked = tasks[recipe.task_name(recipe.evaluation.task)]
    count = recipe.verdict.reach_derivations
    if count and asked.max_turns > 1:
        raise RecipeError(
            f"verdict.reach_derivations {count}: task {asked.name!r} (type {asked.type}) has several turns, and "
            "the base would be asked how likely it says what the environment said; leave it at 0"
        )
    sections = {f"stages.{name}": stage for name, stage in recipe.stages.items()}
    scorers = {f"scorers.{name}": scorer for name, scorer in recipe.scorers.items() if isinstance(scorer, Prm)}
    for path, section in {**sections, **scorers}.items():
        for index, entry in enumerate(section.data):
            task = tasks[entry.task] if entry.task is not None else next(iter(tasks.values()))
            if task.max_turns == 1 or entry.texts:
                continue
            where = f"{path}.data[{index}]: task {task.name!r} (type {task.type}) has several turns, and "
            if isinstance(section, Rft | Dpo | Prm):
                raise RecipeError(
                    f"{where}{section.type} would train what its environment says as if the policy had written it; "
                    "use sft on its gold episodes or rl, or a task of one turn"
                )
            if isinstance(section, Pretrain | Sft):
                _check_gold(task, entry, where + section.type)


def _check_gold(task: Task, entry: Mixture, where: str) -> None:
    for cell in task.match_cells(entry.cells):
        if not task.problem(entry.level, cell.name, 0).turns:
            raise RecipeError(
                f"{where} needs gold episodes, of which cell {cell.name!r} has none; use rl, or a task whose problems "
                "have `turns`"
            )
