"""Which task and which cells the words of a command line mean, for the commands that ask a task without a run."""

from __future__ import annotations

from collections.abc import Sequence

from rlreason.errors import TaskError, UserError, one_of
from rlreason.recipe import load_recipe
from rlreason.recipe.yaml_text import parse_yaml
from rlreason.stages.task_files import build_with_files
from rlreason.tasks import Task, task_types


def find_task(source: str, name: str | None, settings: Sequence[str], option: str = "--task NAME") -> Task:
    """The task meant by a task type, or by a recipe and the name of a task in it.

    Args:
        source: a task type, a shipped recipe or a recipe file; a task type goes first.
        name: which of a recipe's tasks; None where it has one.
        settings: "PARAMETER=VALUE" each, values as in a recipe.
        option: how the name is given, for the error that asks for one.
    Raises:
        UserError: one of these is not there, or a value is not allowed.
    """
    if source in task_types():
        pairs = [_split(setting) for setting in settings]
        values = {key: parse_yaml(value, f"--set {key}={value}") for key, value in pairs}
        return build_with_files(name or source, source, values, ())
    tasks = load_recipe(source).recipe.tasks
    if name is None and len(tasks) > 1:
        raise UserError(f"recipe {source!r} has the tasks {', '.join(tasks)}; name one with {option}")
    name = name or next(iter(tasks))
    if name not in tasks:
        raise UserError(one_of(f"task of recipe {source!r}", name, tasks))
    overrides = [f"tasks.{name}.{'='.join(_split(setting))}" for setting in settings]
    loaded = load_recipe(source, overrides)
    task = loaded.recipe.tasks[name]
    return build_with_files(name, task.type, task.parameters, loaded.folders)


def cells_at(task: Task, level: str, patterns: Sequence[str]) -> list[str]:
    """Names of the cells that the patterns match; without patterns, of all that have problems at this level.

    Raises:
        TaskError: unknown level, a pattern that matches nothing, or no cell with problems at this level.
    """
    if level not in task.levels:
        raise TaskError(one_of(f"level of task {task.name!r}", level, task.levels, "--level"))
    if patterns:
        return [cell.name for cell in task.match_cells(patterns, "--cell")]
    names: list[str] = []
    refusal: TaskError | None = None
    for cell in task.cells:
        try:
            task.problem(level, cell.name, 0)
        except TaskError as error:
            refusal = error
        else:
            names.append(cell.name)
    if refusal and not names:
        raise refusal
    return names


def _split(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not (key and equals):
        raise UserError(f"--set {setting!r} is not KEY=VALUE; say for example --set people=64")
    return key, value
