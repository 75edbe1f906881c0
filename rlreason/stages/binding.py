"""Binding a recipe to what is installed: tasks built, cells and levels looked up, model and rewards found.

Everything that can be wrong with a recipe and be known without an engine is found here, for `plan` and `run` alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlreason.errors import ModelError, RecipeError, TaskError, one_of
from rlreason.recipe import LoadedRecipe, Plan, Recipe, build_plan, fingerprint_model, fingerprint_rewards
from rlreason.recipe.fingerprints import fingerprint_folder
from rlreason.recipe.known_models import named_shape
from rlreason.recipe.partners import match_of
from rlreason.recipe.schema import Evaluation
from rlreason.recipe.scorers import PrmFolder
from rlreason.recipe.sizes import MAX_TOKENS, Estimate, ModelShape, estimate_memory, read_shape, shape_of
from rlreason.recipe.stages import Mixture, OnPolicy
from rlreason.recipe.validation import mixtures, resolve_model_folder, resolve_model_path
from rlreason.rewards.listing import check_file
from rlreason.stages.schedule import Schedule
from rlreason.stages.several_turns import check_several_turns
from rlreason.stages.task_files import build_with_files, fingerprint_task_files
from rlreason.tasks.contract import Task


@dataclass(frozen=True, slots=True)
class BoundRecipe:
    """A recipe that can be run.

    Attributes:
        tasks: the recipe's name of a task -> the task.
        model_path: Hugging Face directory to start from; None: a new model, or one that is absent.
        scorer_folders: Hugging Face directories of the step scorers that are read from one, by name.
        max_tokens: longest prompt and completion together that the engines must take.
        absent_model: sizes of a model that is not here, see `bind`. Stages have other ids then than with the model.
    """

    loaded: LoadedRecipe
    tasks: Mapping[str, Task]
    model_path: Path | None
    scorer_folders: Mapping[str, Path]
    plan: Plan
    max_tokens: int
    absent_model: ModelShape | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.loaded.recipe


def bind(loaded: LoadedRecipe, *, may_lack_model: bool = False) -> BoundRecipe:
    """Check a recipe against what is installed.

    Args:
        may_lack_model: the model's directory need not be there where it is called after a known model
            (models/qwen2.5-0.5b): enough to plan, not to run.
    Raises:
        TaskError, ModelError, RewardError: an unknown type, parameter, cell or level; a split without problems; a
            model directory or reward file that is not there.
    """
    recipe = loaded.recipe
    tasks = {
        name: build_with_files(name, task.type, task.parameters, loaded.folders) for name, task in recipe.tasks.items()
    }
    for path, entry in mixtures(recipe):
        check_entry(tasks, entry, path)
    check_several_turns(tasks, recipe)
    for name, stage in recipe.stages.items():
        if isinstance(stage, OnPolicy):
            check_schedule(tasks, stage, f"stages.{name}.curriculum")
    check_evaluation(tasks, recipe)
    for part in recipe.rewards.parts:
        check_file(part.spec, loaded.folders)
    absent = _absent_model(loaded) if may_lack_model else None
    model_path = resolve_model_path(loaded) if absent is None else None
    scorer_folders = {
        name: resolve_model_folder(scorer.path, f"scorers.{name}.path", loaded.folders)
        for name, scorer in recipe.scorers.items()
        if isinstance(scorer, PrmFolder)
    }
    if absent is None:
        check_countable(recipe, model_path)
    task_files = fingerprint_task_files(recipe, loaded.folders)
    plan = build_plan(
        recipe,
        model_fingerprint=fingerprint_model(model_path, recipe, task_files) if absent is None else "absent",
        reward_fingerprints=fingerprint_rewards(recipe, loaded.folders),
        scorer_fingerprints={name: fingerprint_folder(folder) for name, folder in scorer_folders.items()},
        task_fingerprints=task_files,
    )
    longest = max_tokens(recipe, model_path) if absent is None else longest_sequence(recipe, absent.positions)
    return BoundRecipe(loaded, tasks, model_path, scorer_folders, plan, longest, absent)


def _absent_model(loaded: LoadedRecipe) -> ModelShape | None:
    """The shape of the recipe's model where it is known by name alone."""
    path = loaded.recipe.model.path
    if path is None:
        return None
    try:
        resolve_model_path(loaded)
    except ModelError:
        return named_shape(path)
    return None


def estimate_engines(
    bound: BoundRecipe, on_gpu: bool, *, gpus: int | None = None, shape: ModelShape | None = None
) -> Estimate | None:
    """Memory the recipe's engines need; None where the model's type is not one whose sizes are known.

    Args:
        gpus: how many there are, see `estimate_memory`.
        shape: of another model in place of the recipe's.
    """
    shape = shape or _shape(bound)
    return estimate_memory(bound.recipe, shape, on_gpu=on_gpu, gpus=gpus) if shape else None


def _shape(bound: BoundRecipe) -> ModelShape | None:
    if bound.absent_model is not None:
        return bound.absent_model
    scratch = bound.recipe.model.scratch
    if scratch is not None:
        words = {word for task in bound.tasks.values() for word in task.words()}
        # a word stands in the vocabulary with and without a leading space, beside the 256 bytes
        return shape_of(scratch, 2 * len(words) + 258)
    assert bound.model_path is not None
    return read_shape(bound.model_path)


def pick(tasks: Mapping[str, Task], name: str | None) -> Task:
    """The task of that name; None where there is one task."""
    return tasks[name] if name is not None else next(iter(tasks.values()))


def check_entry(tasks: Mapping[str, Task], entry: Mixture, where: str) -> None:
    """A mixture entry names cells, a level and texts that its task has, with at least one problem in each cell."""
    task = pick(tasks, entry.task)
    if entry.texts:
        task.text(0)
        return
    check_level(task, entry.level, f"{where}.level")
    for cell in task.match_cells(entry.cells, f"{where}.cells"):
        task.problem(entry.level, cell.name, 0)


def check_schedule(tasks: Mapping[str, Task], stage: OnPolicy, where: str) -> None:
    """The stage's curriculum, and its gate, can be made.

    Raises:
        RecipeError: they cannot; says where the recipe asks for it.
    """
    try:
        Schedule(tasks, stage, np.random.default_rng(0))
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def check_countable(recipe: Recipe, model_path: Path | None) -> None:
    """Operations are compared only where they can be counted.

    Raises:
        ModelError: a stage is matched by them, and the model is of a type whose sizes are not known.
    """
    for name, stage in recipe.stages.items():
        match = match_of(stage)
        if match is not None and match.by == "flops" and model_path is not None and read_shape(model_path) is None:
            raise ModelError(
                f"stages.{name}.match.by: 'flops' of {match.stage!r} and {name!r} cannot be counted, since the sizes "
                f"of a model of the type of {model_path} are not known; match by samples or tokens"
            )


def check_level(task: Task, level: str, where: str) -> None:
    """The task has that level.

    Raises:
        TaskError: it does not; names those it has.
    """
    if level not in task.levels:
        raise TaskError(one_of(f"level of task {task.name!r}", level, task.levels, where))


def check_evaluation(tasks: Mapping[str, Task], recipe: Recipe) -> None:
    """Every level and probe has problems in every cell it asks, for every arm, and for the interpolators."""
    evaluation = recipe.evaluation
    task = pick(tasks, evaluation.task)
    asked = check_asked(task, evaluation)
    for name, arm in recipe.arms.items():
        if arm.task is not None and check_asked(tasks[arm.task], evaluation) != asked:
            raise TaskError(
                f"arms.{name}.task {arm.task!r} has other cells than task {task.name!r} has for evaluation.cells, so "
                "that arms would be compared on problems that are not the same; name another form of that task"
            )
    if evaluation.interpolation is not None:
        check_interpolation(task, evaluation)


def check_asked(task: Task, evaluation: Evaluation) -> set[tuple[str, str]]:
    """The (level, cell) pairs that the evaluation asks of a task; each has problems, and none is asked twice."""
    cells = task.match_cells(evaluation.cells, "evaluation.cells")
    for index, level in enumerate(evaluation.levels):
        check_level(task, level, f"evaluation.levels[{index}]")
        for cell in cells:
            task.problem(level, cell.name, 0)
    asked = {(level, cell.name) for level in evaluation.levels for cell in cells}
    for name, probe in evaluation.probes.items():
        check_level(task, probe.level, f"evaluation.probes.{name}.level")
        for cell in task.match_cells(probe.cells, f"evaluation.probes.{name}.cells"):
            task.problem(probe.level, cell.name, 0)
            if (probe.level, cell.name) in asked:
                raise TaskError(
                    f"evaluation.probes.{name}: cell {cell.name!r} at level {probe.level!r} is asked by the levels or "
                    "another probe already; leave it out of one of them"
                )
            asked.add((probe.level, cell.name))
    return asked


def check_interpolation(task: Task, evaluation: Evaluation) -> None:
    """Interpolators have training problems to be fitted on, and answers to predict.

    Raises:
        TaskError: they have not; says why.
    """
    if task.max_turns > 1:
        raise TaskError(
            f"evaluation.interpolation: task {task.name!r} has several turns, which no interpolator can play; drop it"
        )
    check_level(task, "train", "evaluation.interpolation")
    for patterns in (evaluation.cells, *(probe.cells for probe in evaluation.probes.values())):
        for cell in task.match_cells(patterns):
            task.problem("train", cell.name, 0)


def max_tokens(recipe: Recipe, model_path: Path | None) -> int:
    """Longest prompt and completion together: what the recipe says, else the model's positions up to `MAX_TOKENS`.

    Raises:
        ModelError: the recipe asks for more than the model's positions.
    """
    if model_path is None:
        assert recipe.model.scratch is not None
        positions = recipe.model.scratch.max_positions
    else:
        positions = int(json.loads((model_path / "config.json").read_text()).get("max_position_embeddings", MAX_TOKENS))
    return longest_sequence(recipe, positions)


def longest_sequence(recipe: Recipe, positions: int) -> int:
    """See `max_tokens`, of a model with so many positions."""
    wanted = recipe.resources.max_tokens
    if wanted is not None and wanted > positions:
        raise ModelError(f"resources.max_tokens {wanted} is more than the model's {positions} positions; lower it")
    return wanted or min(positions, MAX_TOKENS)
