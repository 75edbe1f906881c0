"""What a tool must do to be told of a run, and what it is told first. The tools are in files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the tools know of the run.

    Attributes:
        folder: the run's, whole path.
        project: the recipe's name: runs of the same recipe stand together in a tool.
        name: the run's folder's name.
        key: eight hex digits that are this run's alone, the same after a resume; ids in a tool are made of it.
        recipe: the resolved recipe, as plain values.
    """

    folder: Path
    project: str
    name: str
    key: str
    recipe: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoggedStage:
    """A stage as the tools know it: its identity, a readable name that is its alone, and its section of the plan."""

    id: str
    name: str
    config: Mapping[str, Any]


class Tool(Protocol):
    """One logger of one run. Stages come one after the other; a stage may come again after a resume."""

    rewrites: bool
    """Whether updates that are told again replace those told before. If not, they are not told again."""

    def begin(self, stage: LoggedStage, update: int) -> None:
        """The updates of this stage from `update` on are told next; what the tool has of them is to be replaced."""

    def log(self, update: int, at: float, metrics: Mapping[str, float]) -> None:
        """An update of the stage begun last. `at`: seconds since the epoch; the metrics are finite."""

    def headline(self, figures: Mapping[str, float], text: str) -> None:
        """The report's headline: "ARM/LEVEL" -> share of greedy answers right; and the verdicts, in words."""

    def close(self) -> None:
        """Everything told is written down."""
