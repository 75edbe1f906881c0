"""Writes a task as a package that the `verifiers` library finds, serves, and scores: `rlreason export verifiers`.

The package is a few lines: which task with which parameters, and which problems. All it does is done by
`verifiers_taskset`, so it needs rlreason where it is used. Nothing is installed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from pprint import pformat
from string import Template

from rlreason import __version__
from rlreason.errors import TaskError, UserError
from rlreason.tasks import Task, task_spec

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_PYPROJECT = Template("""\
[project]
name = "$name"
version = "0.1.0"
description = "Problems of rlreason's task $task (type $type) as a verifiers environment."
requires-python = ">=3.11"
dependencies = ["rlreason>=$rlreason", "verifiers>=0.4"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["$module"]
""")

_MODULE = Template('''\
"""Problems of rlreason's task $task (type $type) for verifiers; written by `rlreason export verifiers`."""

import verifiers.v1 as vf

from rlreason.export.verifiers_taskset import ServedConfig, ServedEnv, ServedRows, ServedTask, Source

SOURCE = Source(
    name=$task_literal,
    type=$type_literal,
    parameters=$parameters,
    rows=$rows,
    cells=$cells,
)


class ${stem}Task(ServedTask):
    source = SOURCE


class ${stem}Taskset(ServedRows, vf.Taskset[${stem}Task, ServedConfig]):
    """Its problems as rows, its check as the rewards answer, derivation and format."""


__all__ = ["ServedEnv", "${stem}Taskset"]
''')

_README = Template("""\
# $name

Problems of rlreason's task `$task` (type `$type`) as a verifiers environment$turns.

    pip install .
    vf-eval $name -n 10 -m MODEL --client.base-url http://127.0.0.1:8000/v1 --client.api-key-var NO_KEY --no-push

| reward | weight | pays |
|---|---|---|
| `answer` | 1 | 1 where the final answer is right |
| `derivation` | 0 | share of the steps that are right |
| `format` | 0 | 1 where a final answer could be read |

`--env.taskset.task.rewards.derivation.weight 0.5` makes the steps pay. `--env.taskset.level` chooses the
split ($levels), `--env.taskset.cells` the difficulty, `--env.taskset.rows` how many problems.
""")


def write_package(
    task: Task, name: str | None, folder: Path, cells: Mapping[str, Sequence[str]], train_rows: int, test_rows: int
) -> Path:
    """Write the package.

    Args:
        name: what verifiers will call it; None: rlreason-TASK.
        folder: where it goes; made, and not there yet or empty.
        cells: level -> cells that have problems there, for every level to serve.
        train_rows, test_rows: problems that level train and each other level serve, unless a run says otherwise.
    Returns:
        The folder.
    Raises:
        UserError: the name cannot be a package's, or the folder holds something.
        TaskError: the task comes from verifiers.
    """
    if task.type == "verifiers":
        raise TaskError(
            f"task {task.name!r} is a verifiers environment already: {task.parameters.environment!r}; use that one"
        )
    name = name or f"rlreason-{task.name.replace('_', '-').lower()}"
    if not _NAME.fullmatch(name):
        raise UserError(
            f"--name {name!r} cannot be a package's; use small letters, digits and hyphens, as in my-task-2"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--output {folder} exists and is not an empty folder; name another, or remove it")
    spec, module = task_spec(task), name.replace("-", "_")
    words = {
        "name": name,
        "module": module,
        "stem": "".join(part.capitalize() for part in name.split("-")),
        "task": task.name,
        "type": task.type,
        "task_literal": repr(task.name),
        "type_literal": repr(task.type),
        "parameters": _literal(spec["parameters"]),
        "rows": _literal({level: train_rows if level == "train" else test_rows for level in cells}),
        "cells": _literal({level: list(names) for level, names in cells.items()}),
        "rlreason": __version__,
        "turns": f" of up to {task.max_turns} turns" if task.max_turns > 1 else "",
        "levels": ", ".join(cells),
    }
    (folder / module).mkdir(parents=True)
    (folder / "pyproject.toml").write_text(_PYPROJECT.substitute(words), encoding="utf-8")
    (folder / "README.md").write_text(_README.substitute(words), encoding="utf-8")
    (folder / module / "__init__.py").write_text(_MODULE.substitute(words), encoding="utf-8")
    return folder


def _literal(values: object) -> str:
    """Plain values as Python, indented to stand in a call's argument."""
    return pformat(values, width=100, sort_dicts=False).replace("\n", "\n    ")
