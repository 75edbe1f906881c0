"""Following a file of JSON objects, one a line, while it grows: a run's metrics.jsonl and incidents.jsonl.

A line that its writer has not ended yet is left for the next time; what is no JSON object is counted and passed over,
since a killed writer may leave half a line behind.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class JsonLines:
    """Reads a file from where it was left. `offset`: bytes read before, of lines that ended."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.unreadable = 0
        """Lines passed over."""
        self._file: tuple[int, int] | None = None

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """(the objects of the lines that ended since, whether the file is another than before, or was cut).

        Where it is, they are those from its beginning. A file that is not there has no lines.
        """
        try:
            with self.path.open("rb") as stream:
                status = os.fstat(stream.fileno())
                file = (status.st_dev, status.st_ino)
                anew = status.st_size < self.offset or self._file not in (None, file)
                self._file = file
                if anew:
                    self.offset = self.unreadable = 0
                stream.seek(self.offset)
                fresh = stream.read()
        except FileNotFoundError:
            anew, fresh = self.offset > 0, b""
            self.offset = self.unreadable = 0
        ended = fresh[: fresh.rfind(b"\n") + 1]
        self.offset += len(ended)
        return [row for line in ended.splitlines() if (row := self._parse(line)) is not None], anew

    def _parse(self, line: bytes) -> dict[str, Any] | None:
        try:
            row = json.loads(line)
        except ValueError:  # UnicodeDecodeError is one
            row = None
        if isinstance(row, dict):
            return row
        self.unreadable += bool(line.strip())
        return None
