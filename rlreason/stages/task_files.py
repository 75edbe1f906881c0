"""Tasks built from a recipe's words, with the files that these name found on this machine.

A path stands in a recipe as its writer typed it; a task gets it absolute, so that a worker process in another folder
opens the same file; and a stage's identity gets the file's content in its place, so that it is the same stage wherever
the file lies, and another one where the file was edited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlreason.recipe.fingerprints import fingerprint_files
from rlreason.recipe.schema import Recipe
from rlreason.recipe.validation import resolve_task_path
from rlreason.tasks.contract import Task
from rlreason.tasks.registry import build_task, task_class


def build_with_files(name: str, type: str, parameters: Mapping[str, Any], folders: Sequence[Path]) -> Task:
    """`tasks.build_task`, with the parameters that name files made absolute.

    Args:
        folders: where relative paths are looked for first.
    Raises:
        TaskError: a file is not there, or what `build_task` raises.
    """

    def found(path: str, where: str) -> str:
        return str(resolve_task_path(path, where, folders))

    return build_task(name, type, {**parameters, **_paths(name, type, parameters, found)})


def fingerprint_task_files(recipe: Recipe, folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Task -> its parameters that name files, with the content's SHA-256 (hex) in the place of each path. Tasks without
    files are left out.

    Args:
        folders: `LoadedRecipe.folders`.
    Raises:
        TaskError: a file is not there.
    """

    def content(path: str, where: str) -> str:
        return fingerprint_files(resolve_task_path(path, where, folders))

    found = {name: _paths(name, task.type, task.parameters, content) for name, task in recipe.tasks.items()}
    return {name: paths for name, paths in found.items() if paths}


def task_files(recipe: Recipe) -> dict[str, str]:
    """Place in the recipe, such as "tasks.mine.data" -> the path that stands there, of every file that a task names."""
    found: dict[str, str] = {}

    def note(path: str, where: str) -> str:
        return found.setdefault(where, path)

    for name, task in recipe.tasks.items():
        _paths(name, task.type, task.parameters, note)
    return found


def _paths(name: str, type: str, parameters: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    """The parameters that name files, each path in them changed."""
    keys = [key for key in task_class(name, type).paths if key in parameters]
    return {key: _changed(parameters[key], f"tasks.{name}.{key}", change) for key in keys}


def _changed(value: Any, where: str, change: Callable[[str, str], str]) -> Any:
    if isinstance(value, str):
        return change(value, where)
    if isinstance(value, Mapping):
        return {key: _changed(each, f"{where}.{key}", change) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(each, f"{where}[{index}]", change) for index, each in enumerate(value)]
    return value  # not a path: the task says so
