"""The loggers by name, and how each is built. Importing this imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from rlreason.errors import MachineError
from rlreason.loggers.contract import RunFacts, Tool

TOOLS = {
    "tensorboard": "tensorboard_tool:TensorBoard",
    "wandb": "wandb_tool:WeightsAndBiases",
    "mlflow": "mlflow_tool:MLflow",
    "trackio": "trackio_tool:Trackio",
}
"""Name in a recipe, which is the package's too -> file of this room and class."""


def check_installed(names: Sequence[str]) -> None:
    """
    Raises:
        MachineError: a logger's package is not installed; gives its name for pip.
    """
    for name in names:
        if find_spec(name) is None:
            raise MachineError(
                f"loggers: {name!r} needs the package {name}, which is not installed; `pip install {name}`, or take it "
                "out of the recipe's `loggers`"
            )


def build(name: str, facts: RunFacts) -> Tool:
    """The logger of that name for a run."""
    module, _, builder = TOOLS[name].partition(":")
    made: Callable[[RunFacts], Tool] = getattr(importlib.import_module(f"rlreason.loggers.{module}"), builder)
    return made(facts)
