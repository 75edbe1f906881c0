"""Reading the run's metrics.jsonl as it grows, and telling every logger each update once.

How far each logger has been told is kept in the run's folder (loggers.json), so that a resumed run goes on there,
logging to the same run of the tool. Updates that a resumed stage makes again are told again to a tool that can replace
what it has (TensorBoard); to the others, whose histories can only grow, they are not.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import yaml

from rlreason.loggers.contract import LoggedStage, RunFacts, Tool
from rlreason.loggers.headline import headline_of
from rlreason.loggers.progress import ToldProgress
from rlreason.loggers.registry import build, check_installed
from rlreason.records import RunFolder, read_json, read_plan, write_json
from rlreason.records.lines import JsonLines

if TYPE_CHECKING:  # brings the engines
    from rlreason.stages.context import Progress

KEPT = "loggers.json"


class Follower:
    """One logger, and how far it has been told.

    Args:
        kept: what `state` gave at the end of the last start.
    """

    def __init__(self, name: str, folder: RunFolder, facts: RunFacts, kept: Mapping[str, Any]) -> None:
        self.name = name
        self._facts = facts
        self._folder = folder
        self._lines = JsonLines(folder.metrics_path, int(kept.get("bytes", 0)))
        self._told: dict[str, int] = dict(kept.get("told", {}))
        self._stage: str | None = None
        self._tool: Tool | None = None

    @property
    def tool(self) -> Tool:
        """The logger, built when it is first told something."""
        if self._tool is None:
            self._tool = build(self.name, self._facts)
        return self._tool

    def state(self) -> dict[str, Any]:
        """Bytes of metrics.jsonl read, and the last update told of each stage."""
        return {"bytes": self._lines.offset, "told": self._told}

    def catch_up(self) -> bool:
        """Tell what is new; whether there was something."""
        rows, _ = self._lines.read()
        for row in rows:
            self._tell(str(row["stage"]), int(row["update"]), row)
        return bool(rows)

    def _tell(self, stage: str, update: int, row: Mapping[str, Any]) -> None:
        told = self._told.get(stage, 0)
        if update <= told and not self.tool.rewrites:
            return
        if stage != self._stage or update <= told:
            self.tool.begin(self._named(stage), update)
            self._stage = stage
        metrics = {
            name: float(value)
            for name, value in row.items()
            if name not in ("stage", "update", "at") and value is not None and math.isfinite(value)
        }
        self.tool.log(update, float(row.get("at") or time.time()), metrics)
        self._told[stage] = update

    def _named(self, identity: str) -> LoggedStage:
        """A stage by its name, arm and seed; the identity's digits keep two that are called alike apart."""
        planned = read_plan(self._folder).stages[identity]
        words = [planned.name, *planned.arms[:1], f"seed{planned.seed}", identity.rpartition("-")[2]]
        return LoggedStage(identity, ".".join(words), planned.model_dump(mode="json"))

    def close(self) -> None:
        """Have everything written down, where anything was told."""
        if self._tool is not None:
            self._tool.close()


class Loggers:
    """All loggers of a run. Use it as a context manager: leaving it closes them.

    Args:
        names: the recipe's.
    """

    def __init__(self, names: Sequence[str], folder: RunFolder) -> None:
        self._names = names
        self._folder = folder
        self._followers: list[Follower] = []
        self.key = ""
        """Eight hex digits that ids in the tools are made of, once started."""
        self._said: list[str] = []

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for follower in list(self._followers):
            self._guarded(follower, follower.close)

    def watching(self, progress: Progress) -> Progress:
        """A progress that is shown as `progress` is, and told to the loggers; itself where there are none."""
        return ToldProgress(progress, self) if self._names else progress

    def start(self) -> None:
        """Take up where the last start ended; what it could not tell is told now. The run's folder is prepared."""
        path = self._folder.path / KEPT
        kept: dict[str, Any] = read_json(path) if path.exists() else {"key": secrets.token_hex(4), "loggers": {}}
        self.key = kept["key"]
        recipe = yaml.safe_load(self._folder.recipe_path.read_text(encoding="utf-8"))
        whole = self._folder.path.resolve()
        facts = RunFacts(whole, recipe["name"], whole.name, self.key, recipe)
        self._followers = [Follower(name, self._folder, facts, kept["loggers"].get(name, {})) for name in self._names]
        self.catch_up()

    def catch_up(self) -> list[str]:
        """Tell the loggers what is new; returns a sentence for each that failed and was given up."""
        fresh = [self._guarded(follower, follower.catch_up) for follower in list(self._followers)]
        if any(fresh):
            path = self._folder.path / KEPT
            before = read_json(path)["loggers"] if path.exists() else {}
            told = {follower.name: follower.state() for follower in self._followers}
            write_json(path, {"key": self.key, "loggers": before | told})
        said, self._said = self._said, []
        return said

    def headline(self, report: Mapping[str, Any]) -> list[str]:
        """Tell the loggers the headline of report.json; returns as `catch_up` does."""
        figures, text = headline_of(report)
        for follower in list(self._followers):
            self._guarded(follower, lambda follower=follower: follower.tool.headline(figures, text))
        said, self._said = self._said, []
        return said

    def _guarded(self, follower: Follower, call: Any) -> Any:
        try:
            return call()
        except Exception as error:  # whatever a tool may raise: training does not end for want of a picture
            self._followers.remove(follower)
            self._said.append(
                f"logger {follower.name} failed and is told no more: {type(error).__name__}: {error}; the records are "
                "whole, and running again tells it the rest"
            )
            return None


def open_loggers(names: Sequence[str], folder: RunFolder) -> Loggers:
    """The loggers of a run, none of them started yet.

    Raises:
        MachineError: a logger's package is not installed.
    """
    check_installed(names)
    return Loggers(names, folder)
