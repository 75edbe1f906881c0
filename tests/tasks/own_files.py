"""Files of problems for tests: rows written where a test wants them, and chains of subtractions for the contract."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlreason.tasks import Task, build_task

_FOLDER = tempfile.TemporaryDirectory()  # removed when the process ends


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def files_task(levels: Mapping[str, Any], **parameters: Any) -> Task:
    """A task named "own"."""
    return build_task("own", "files", {"levels": {name: str(path) for name, path in levels.items()}, **parameters})


def chain_files() -> dict[str, str]:
    """Level -> file, of problems whose every step needs the one before."""
    rng = random.Random(0)
    levels = {}
    for level, count in (("train", 300), ("iid", 120)):
        rows = []
        for _ in range(count):
            start, one, two = rng.randrange(2000, 9000), rng.randrange(20, 900), rng.randrange(20, 900)
            rest = start - one - two
            rows.append(
                {
                    "question": f"Start with {start}. Take away {one}, then {two}. What is left?",
                    "answer": rest,
                    "way": f"{start} - {one} = {start - one} . {start - one} - {two} = {rest} .",
                }
            )
        levels[level] = str(write_lines(Path(_FOLDER.name) / f"{level}.jsonl", rows))
    return levels
