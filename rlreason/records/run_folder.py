"""Where things lie in a run's folder, and how a file is written there: whole or not at all.

A reader never sees half a file: everything is written beside its place and renamed there last. What the tables hold
is in `records.schema`, what plan.json and manifest.json hold in `records.documents`; checkpoints belong to the stages.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlreason.errors import RecordsError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run. Making one touches no disk."""

    path: Path

    @property
    def recipe_path(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def manifest_path(self) -> Path:
        """What ran: versions, commit, hardware, seeds, command."""
        return self.path / "manifest.json"

    @property
    def plan_path(self) -> Path:
        """The arms and the DAG of their stages."""
        return self.path / "plan.json"

    @property
    def frozen_path(self) -> Path:
        """The frozen rules that the run is held against, where there are such."""
        return self.path / "frozen.json"

    @property
    def metrics_path(self) -> Path:
        """The live stream of metrics, for watching a run; the report reads `records` instead."""
        return self.path / "metrics.jsonl"

    @property
    def incidents_path(self) -> Path:
        """What broke, a line each."""
        return self.path / "incidents.jsonl"

    @property
    def logs(self) -> Path:
        """What the engines print."""
        return self.path / "logs"

    @property
    def records(self) -> Path:
        """The Parquet tables, as TABLE/STAGE/part-*.parquet."""
        return self.path / "records"

    @property
    def report(self) -> Path:
        """The report's three forms."""
        return self.path / "report"

    @property
    def stages(self) -> Path:
        """One folder a stage: checkpoints and done.json."""
        return self.path / "stages"

    def stage(self, stage: str) -> Path:
        """The folder of the stage of this identity."""
        return self.stages / stage

    def is_done(self, stage: str) -> bool:
        """Whether the stage has finished; a finished stage is never run again."""
        return self._done_path(stage).exists()

    def mark_done(self, stage: str, figures: Mapping[str, Any]) -> None:
        """Declare the stage finished. `figures` holds at least "seconds" and "completed"; the last write of a stage."""
        write_json(self._done_path(stage), dict(figures))

    def done(self, stage: str) -> dict[str, Any]:
        """The figures that `mark_done` was given.

        Raises:
            RecordsError: the stage has not finished, or its done.json is not a JSON object.
        """
        path = self._done_path(stage)
        figures = read_json(path)
        if not isinstance(figures, dict):
            raise RecordsError(f"{path} holds a {type(figures).__name__}, not an object; delete it to rerun the stage")
        return figures

    def _done_path(self, stage: str) -> Path:
        return self.stage(stage) / "done.json"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; on success make it durable and rename it to `path`, else remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        yield temporary
        _fsync(temporary)
        os.replace(temporary, path)
        _fsync(path.parent)  # the rename itself must survive a power cut
    finally:
        temporary.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, making folders as needed."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically, keys in the order given.

    Raises:
        RecordsError: `value` is not JSON (NaN and infinities are not: use None).
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordsError(f"{path} cannot be written as JSON: {error}; use plain values, and None for NaN") from error
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RecordsError: the file is missing, cannot be read, or is not JSON; names the file, line and column.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecordsError(f"{path} does not exist; is {path.parent} a run's folder, and did the run start?") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise RecordsError(f"{path} is not JSON ({error.msg} at {place}); restore it, or run again") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecordsError(f"{path} cannot be read: {error}; restore it, or run again") from error
