"""Tasks: families of problems with levels, cells, gold derivations and a checker of steps.

`contract` says what a task is, `registry` builds one by type. Rewards, training and engines are elsewhere.
"""

from rlreason.tasks.contract import Cell, Task
from rlreason.tasks.registry import build_task, task_spec, task_types

__all__ = ["Cell", "Task", "build_task", "task_spec", "task_types"]
