"""Tasks by type: the shipped ones and those that installed packages add under the entry point group "rlreason.tasks".

Turns a recipe's `tasks.NAME` into a `Task`, and a task into the plain values from which a worker process makes the same
one. A type's module is imported only when that type is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from rlreason.errors import TaskError, one_of
from rlreason.tasks.contract import Task

ENTRY_POINTS = "rlreason.tasks"
_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_SHIPPED = {
    "complementary": "rlreason.tasks.complementary:Complementary",
    "files": "rlreason.tasks.files:Files",
    "functions": "rlreason.tasks.functions:Functions",
    "lookup": "rlreason.tasks.lookup:Lookup",
    "reasoning_gym": "rlreason.tasks.gym:ReasoningGym",
    "rules": "rlreason.tasks.rules:Rules",
    "tail": "rlreason.tasks.tail:Tail",
    "verifiers": "rlreason.tasks.verifiers:Verifiers",
    "wason": "rlreason.tasks.wason:Wason",
}


def build_task(name: str, type: str, parameters: Mapping[str, Any]) -> Task:
    """The task of that type.

    Args:
        name: what the recipe calls it.
        type: one of `task_types()`.
        parameters: what the recipe says beside the type; checked by the task's `Parameters`.
    Raises:
        TaskError: the type or a parameter is unknown, a value is not allowed, or the split is impossible.
    """
    cls = task_class(name, type)
    try:
        checked = cls.Parameters.model_validate(dict(parameters))
    except ValidationError as error:
        raise TaskError(_explain(name, cls.Parameters, error)) from None
    return cls(name, checked)


def task_class(name: str, type: str) -> type[Task]:
    """The class of a type.

    Raises:
        TaskError: the type is unknown; `name` is the task that asks for it.
    """
    specs = _specs()
    if type not in specs:
        raise TaskError(one_of("task type", type, specs, f"tasks.{name}.type"))
    return _load(type, specs[type])


def task_types() -> dict[str, type[Task]]:
    """Every type there is, shipped ones first; loads them all.

    Raises:
        TaskError: an installed package's entry point cannot be loaded or names no task.
    """
    return {name: _load(name, spec) for name, spec in _specs().items()}


def task_spec(task: Task) -> dict[str, Any]:
    """Plain values from which `build_task(**spec)` makes the same task in another process."""
    parameters = task.parameters.model_dump(mode="json")
    return {"name": task.name, "type": task.type, "parameters": parameters}


def _specs() -> dict[str, str]:
    """Type -> "module:attribute". An installed package cannot replace what ships."""
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return _SHIPPED | {name: spec for name, spec in installed.items() if name not in _SHIPPED}


def _load(name: str, spec: str) -> type[Task]:
    module, _, attribute = spec.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # a stranger's module may raise anything while it is imported
        raise TaskError(
            f"task type {name!r}: its entry point {spec!r} cannot be loaded: {error!r}; mend or uninstall that package"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise TaskError(f"task type {name!r}: {spec!r} is {found!r}, not a subclass of rlreason.tasks.Task")
    return found


def _explain(name: str, model: type[BaseModel], error: ValidationError) -> str:
    """Every complaint on a line: key, value, what is allowed; of a number out of range what it means, too."""
    lines: list[str] = []
    found = error.errors(include_url=False)
    for problem in found:
        if problem["type"] == "too_short" and any(_lies_in(problem["loc"], other["loc"]) for other in found):
            continue  # the list is short of what was refused in it
        keys = [str(part) for part in problem["loc"] if part != "[key]"]
        where = ".".join(["tasks", name, *keys])
        if problem["type"] == "extra_forbidden":
            lines.append(one_of("parameter", keys[-1], model.model_fields, where))
        elif problem["type"] == "missing":
            lines.append(f"{where} is missing: {_meaning(model, keys[0]) or 'it has no default'}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            value = "" if isinstance(problem["input"], Mapping) else f" {problem['input']!r}"
            meaning = _meaning(model, keys[0]) if problem["type"] in _OUT_OF_RANGE else ""
            lines.append(f"{where}{value}: {message}" + (f" ({keys[0]}: {meaning})" if meaning else ""))
    return "\n".join(lines)


def _lies_in(outer: tuple[int | str, ...], inner: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _meaning(model: type[BaseModel], field: str) -> str:
    """What a parameter means, in one line."""
    return " ".join((model.model_fields[field].description or "").split()) if field in model.model_fields else ""
