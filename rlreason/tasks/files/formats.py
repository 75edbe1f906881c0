"""The rows of a file: JSON Lines, CSV, Parquet, or a dataset folder that the library `datasets` saved.

Each reader gives the wanted columns of one row after another, in the file's order, and holds no more than a piece of
the file. Its rows carry the number by which a person finds them: the line of a JSON Lines file, else a count from 1.
What the values mean is for `records`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlreason.errors import TaskError, one_of

Rows = Iterator[tuple[int, tuple[Any, ...]]]
"""(number of the row, values of the wanted columns)."""

_BATCH = 1024
FORMATS = ".jsonl (or .ndjson, .json: one object a line), .csv, .parquet, or a folder that datasets' save_to_disk wrote"


def read_rows(path: Path, columns: Sequence[str], split: str) -> Rows:
    """The rows of a file or dataset folder.

    Args:
        columns: names of the wanted ones.
        split: which part of a folder that holds a DatasetDict.
    Raises:
        TaskError: there is no such file, it is of another format or damaged, or a column is missing; names file, row.
    """
    if path.is_dir():
        return _dataset(path, columns, split)
    if not path.is_file():
        raise TaskError(f"{shown(path)}: there is no such file")
    if path.suffix.lower() not in _READERS:
        raise TaskError(f"{shown(path)}: {path.suffix or 'no suffix'!r} is no format that can be read; give {FORMATS}")
    return _READERS[path.suffix.lower()](path, columns)


def shown(path: Path) -> str:
    """A path as a person here would type it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _json_lines(path: Path, columns: Sequence[str]) -> Rows:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{shown(path)} row {number}"
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                cut = "" if line.endswith(b"\n") else "; the file seems to be cut off there"
                raise TaskError(f"{where} is not JSON: {error}{cut}. Write one object a line") from None
            if not isinstance(row, dict):
                raise TaskError(f"{where} is JSON, but not an object with columns: write one object a line")
            _require(columns, row, where)
            yield number, tuple(row[name] for name in columns)


def _csv(path: Path, columns: Sequence[str]) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        number = 0
        try:
            header = next(rows, [])
            _require(columns, header, shown(path))
            places = [header.index(name) for name in columns]
            for number, row in enumerate(rows, start=1):
                if row and len(row) != len(header):
                    raise TaskError(
                        f"{shown(path)} row {number} has {len(row)} fields, and the header {len(header)}; quote fields "
                        "that hold commas, and see whether the file is cut off"
                    )
                if row:
                    yield number, tuple(row[place] for place in places)
        except (csv.Error, UnicodeDecodeError) as error:
            raise TaskError(f"{shown(path)}: cannot be read as CSV after row {number}: {error}") from None


def _parquet(path: Path, columns: Sequence[str]) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _require(columns, file.schema_arrow.names, shown(path))
            batches = file.iter_batches(_BATCH, columns=list(columns))
            yield from _numbered(batches, columns)
    except (pa.ArrowException, OSError) as error:
        raise TaskError(f"{shown(path)}: cannot be read as Parquet, it may be cut off: {_first_line(error)}") from None


def _dataset(path: Path, columns: Sequence[str], split: str) -> Rows:
    from datasets import DatasetDict, load_from_disk

    try:
        found = load_from_disk(str(path))
    except Exception as error:  # of whatever kind: the library's own reader of a damaged folder raises many
        raise TaskError(
            f"{shown(path)}: cannot be read as a dataset folder ({_first_line(error)}); give the folder that datasets' "
            "save_to_disk wrote, or the files in it"
        ) from None
    if isinstance(found, DatasetDict):
        if split not in found:
            raise TaskError(f"{shown(path)}: a level reads the split of its name; {one_of('split', split, found)}")
        found = found[split]
    _require(columns, found.column_names, shown(path))
    tables = found.select_columns(list(columns)).with_format("arrow").iter(_BATCH)
    yield from _numbered(tables, columns)


def _numbered(batches: Iterator[Any], columns: Sequence[str]) -> Rows:
    number = 0
    for batch in batches:
        for values in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
            number += 1
            yield number, values


def _require(columns: Sequence[str], there: Sequence[str] | Mapping[str, Any], where: str) -> None:
    for name in columns:
        if name not in there:
            raise TaskError(f"{one_of('column', name, there, where)}; say under `columns` what the file calls it")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


_READERS: Mapping[str, Callable[[Path, Sequence[str]], Rows]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_lines,
    ".csv": _csv,
    ".parquet": _parquet,
}
