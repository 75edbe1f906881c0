"""Whose path a wrong derivation follows: the asked one, one that training asks for, or neither.

A path is the sequence of operations (relations, functions) that a derivation names. It is read off the text by the
names alone, so this needs to know no task: the names are those of all paths that are asked or trained. Which paths
training asks for is recorded by the evaluation, where a task lists them; whether an *arm* trained on them is not known
here, so an arm that did not is the one to compare with.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

ASKED, TRAINED, UNTRAINED, OTHER = "asked path", "trained path", "untrained path", "begins otherwise"
FOLLOWED = (ASKED, TRAINED, UNTRAINED, OTHER)
"""The asked path (its facts are wrong); a path that begins with the asked one's first operation, is another, and is or
is not one that training asks for; a path that begins otherwise, or none."""
_WORD = re.compile(r"\w+")

Path = tuple[str, ...]


class TrainedPaths:
    """The trained paths of an evaluation's cells, by task.

    Args:
        recorded: rows of the trained_paths table.
    """

    def __init__(self, recorded: pd.DataFrame) -> None:
        self.by_task: dict[str, frozenset[Path]] = {
            str(task): frozenset(tuple(path) for path in paths) for task, paths in recorded.groupby("task")["path"]
        }
        self._beginnings = {
            task: Counter((path[0], len(path)) for path in paths if path) for task, paths in self.by_task.items()
        }

    def chance(self, task: str, asked: Path, length: int, names: int) -> float:
        """How likely a path that begins as the asked one, has this length and is not it, is a trained one, where the
        operations after the first are drawn from `names` at random."""
        trained = self._beginnings[task][asked[0], length] - (len(asked) == length and asked in self.by_task[task])
        return trained / max(1, names ** (length - 1) - (len(asked) == length))


def followed_paths(rows: pd.DataFrame, trained: TrainedPaths) -> pd.DataFrame:
    """What every wrong derivation follows.

    Args:
        rows: with correct, judged, task, path, text and steps (JSON).
    Returns:
        followed: one of `FOLLOWED`, and "" where the completion is right or not judged, or nothing is known of its
        task's trained paths; by_chance: see `TrainedPaths.chance`, NaN where followed is not `TRAINED` or `UNTRAINED`.
    """
    found = pd.DataFrame({"followed": "", "by_chance": float("nan")}, index=rows.index)
    for task in trained.by_task:
        names = _names(rows.loc[rows["task"] == task, "path"], trained.by_task[task])
        wrong = rows[(rows["task"] == task) & rows["judged"] & ~rows["correct"] & rows["path"].map(bool)]
        told = [
            _followed(task, asked, tuple(_named(text, json.loads(steps), names)), trained, len(names))
            for asked, text, steps in zip(wrong["path"], wrong["text"], wrong["steps"], strict=True)
        ]
        found.loc[wrong.index, ["followed", "by_chance"]] = told
    return found


def _names(asked: pd.Series, trained: frozenset[Path]) -> frozenset[str]:
    return frozenset(name for paths in (set(asked), trained) for path in paths for name in path)


def _named(text: str, steps: Sequence[dict[str, int]], names: frozenset[str]) -> Iterator[str]:
    """The first operation that each step names; steps that name none are passed over."""
    for step in steps:
        words = _WORD.findall(text[step["start"] : step["end"]])
        name = next((word for word in words if word in names), None)
        if name is not None:
            yield name


def _followed(task: str, asked: Path, named: Path, trained: TrainedPaths, names: int) -> tuple[str, float]:
    if named == asked:
        return ASKED, float("nan")
    if named[:1] != asked[:1]:
        return OTHER, float("nan")
    what = TRAINED if named in trained.by_task[task] else UNTRAINED
    return what, trained.chance(task, asked, len(named), names)
