"""Appending to and reading the column tables of a run: Parquet parts that are checked on the way in and out.

A part is written whole or not at all, and writing the same part number again replaces it, so a resumed stage that
repeats an update leaves no duplicate rows. Which columns a table has is in `records.schema`; what they mean to a
reader is the report's business.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlreason.errors import RecordsError, one_of
from rlreason.records.run_folder import RunFolder, replacing
from rlreason.records.schema import ADDED, SCHEMA_VERSION, TABLES

_TABLE_KEY = b"rlreason.table"
_VERSION_KEY = b"rlreason.schema_version"
_PART = re.compile(r"part-(\d{6,})\.parquet")


def write_part(
    folder: RunFolder, table: str, stage: str, part: int, rows: pd.DataFrame | Mapping[str, Sequence[Any]]
) -> Path:
    """Write one part of a table, replacing a part of the same number.

    Args:
        table: a name of `records.schema.TABLES`.
        stage: the stage's identity; also the folder under the table's.
        part: counts from 0 or 1 within the stage, for example the update.
        rows: columns by name, in any order: all of the table's, of which those of `schema.ADDED` may be left out (they
            are null then), and no other. In a nullable column None (for numbers also NaN) is null; in any other float
            column NaN stays NaN.
    Returns:
        The file written.
    Raises:
        RecordsError: unknown table; a column is missing, unknown, of another type or holds a null it may not.
    """
    path = _folder(folder, table, stage) / f"part-{part:06d}.parquet"
    metadata = {_TABLE_KEY: table.encode(), _VERSION_KEY: str(SCHEMA_VERSION).encode()}
    columns = _conform(rows, list(rows), TABLES[table], table, path).replace_schema_metadata(metadata)
    with replacing(path) as temporary:
        pq.write_table(columns, temporary, compression="zstd")
    return path


def drop_parts_from(folder: RunFolder, table: str, stage: str, part: int) -> None:
    """Delete the stage's parts numbered `part` and above: what a resumed stage is about to do again."""
    # the last first, so that being killed half-way leaves no hole
    for number, path in reversed(_parts(_folder(folder, table, stage))):
        if number >= part:
            path.unlink()


def read_part(folder: RunFolder, table: str, stage: str, part: int, columns: Sequence[str] | None = None) -> pa.Table:
    """One part of a stage's table, as Arrow columns: for who follows a run while it is written.

    Raises:
        RecordsError: as `read_table`; also where there is no such part, as after a resumed stage dropped it.
    """
    return _read_part(_folder(folder, table, stage) / f"part-{part:06d}.parquet", table, _wanted(table, columns))


def part_numbers(folder: RunFolder, table: str, stage: str) -> list[int]:
    """Numbers of the stage's parts, in order: what a resumed stage need not do again."""
    return [number for number, _ in _parts(_folder(folder, table, stage))]


def read_table(
    folder: RunFolder, table: str, stages: Iterable[str] | None = None, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read a table, or some stages and columns of it, in the order of stages and parts.

    Args:
        stages: identities, each once; None: all that have records, by name.
        columns: None: all, in the table's order.
    Returns:
        One row a record. Nullable booleans and integers come as pandas' "boolean" and "Int32". No parts: no rows, but
        the right columns.
    Raises:
        RecordsError: unknown table or column; a file that is truncated, of another table or schema version, or whose
            columns do not match. Names file and column.
    """
    root = _folder(folder, table)
    wanted = _wanted(table, columns)
    if stages is None:
        stages = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    parts = [part for stage in stages for part in scan_table(folder, table, stage, columns)]
    whole = pa.concat_tables(parts) if parts else wanted.empty_table()
    nullable = {field.name: _PANDAS_NULLABLE[field.type] for field in wanted if field.type in _PANDAS_NULLABLE}
    frame: pd.DataFrame = whole.to_pandas()
    return frame.astype({name: dtype for name, dtype in nullable.items() if wanted.field(name).nullable})


def scan_table(
    folder: RunFolder,
    table: str,
    stage: str,
    columns: Sequence[str] | None = None,
    only: tuple[str, Collection[str]] | None = None,
) -> Iterator[pa.Table]:
    """Read a stage's part of a table one file at a time, for what would not fit in memory whole.

    Args:
        columns: None: all, in the table's order.
        only: (one of the columns, values): the rows that hold one of them. Row groups that by their statistics hold
            none are not read.
    Yields:
        The rows of each part, in order, as Arrow columns.
    Raises:
        RecordsError: as `read_table`, when it comes to the file.
    """
    parts = _parts(_folder(folder, table, stage))
    wanted = _wanted(table, columns)
    for _, path in parts:
        rows = _read_part(path, table, wanted, only)
        yield rows if only is None else rows.filter(pc.is_in(rows[only[0]], pa.array(sorted(only[1]), pa.string())))


_PANDAS_NULLABLE = {pa.bool_(): "boolean", pa.int32(): "Int32"}


def _wanted(table: str, columns: Sequence[str] | None) -> pa.Schema:
    schema = TABLES[table]
    for column in columns or ():
        if column not in schema.names:
            raise RecordsError(one_of(f"column of table {table!r}", column, schema.names))
    return schema if columns is None else pa.schema([schema.field(column) for column in columns])


def _folder(folder: RunFolder, *parts: str) -> Path:
    if parts[0] not in TABLES:
        raise RecordsError(one_of("table", parts[0], TABLES))
    return folder.records.joinpath(*parts)


def _parts(folder: Path) -> list[tuple[int, Path]]:
    """Part numbers and files, in order. Temporary files of a killed writer start with a dot and are not parts."""
    parts = []
    for path in folder.glob("part-*.parquet"):
        match = _PART.fullmatch(path.name)
        if match is None:
            raise RecordsError(f"{path} is not named like a part (part-000012.parquet); move it away")
        parts.append((int(match[1]), path))
    return sorted(parts)


def _read_part(path: Path, table: str, wanted: pa.Schema, only: tuple[str, Collection[str]] | None = None) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow
            _check_metadata(found.metadata or {}, table, path)
            present = [name for name in wanted.names if name in found.names]
            groups = [group for group in range(file.num_row_groups) if only is None or _may_hold(file, group, *only)]
            rows = file.read_row_groups(groups, columns=present)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RecordsError(
            f"{path} is not a whole Parquet file ({reason}); it was truncated or damaged: restore it, or delete it and "
            "its stage's done.json and resume the run"
        ) from error
    # a subset of columns may be read, but the file must hold exactly the table's
    names = found.names if len(wanted) == len(TABLES[table]) else present
    return _conform({name: rows[name] for name in present}, names, wanted, table, path, rows.num_rows)


def _may_hold(file: pq.ParquetFile, group: int, column: str, values: Collection[str]) -> bool:
    """Whether a row group's statistics leave room for one of the values."""
    described = file.metadata.row_group(group)
    for number in range(described.num_columns):
        chunk = described.column(number)
        if chunk.path_in_schema == column and chunk.statistics is not None and chunk.statistics.has_min_max:
            return any(chunk.statistics.min <= value <= chunk.statistics.max for value in values)
    return True


def _check_metadata(metadata: Mapping[bytes, bytes], table: str, path: Path) -> None:
    named = metadata.get(_TABLE_KEY, b"").decode(errors="replace")
    if named != table:
        raise RecordsError(f"{path} holds {f'the table {named!r}' if named else 'no rlreason table'}, not {table!r}")
    version = metadata.get(_VERSION_KEY, b"").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise RecordsError(
            f"{path} has records schema version {version or 'none'}; this rlreason reads version {SCHEMA_VERSION}: "
            "read it with the rlreason that wrote it (manifest.json names it)"
        )


def _conform(
    columns: pd.DataFrame | Mapping[str, Any],
    names: Iterable[str],
    schema: pa.Schema,
    table: str,
    path: Path,
    rows: int | None = None,
) -> pa.Table:
    """The columns as exactly `schema`, or the RecordsError that says which one is not.

    Args:
        names: all columns that are there.
        rows: how many there are; None: as many as the first column has.
    """
    names = list(names)
    for name in schema.names:
        if name not in names and name not in ADDED:
            raise RecordsError(f"{path}: column {name!r} of table {table!r} is missing; it needs {schema.field(name)}")
    for name in names:
        if name not in schema.names:
            raise RecordsError(f"{path}: {one_of(f'column of table {table!r}', name, schema.names)}")
    arrays = {field.name: _column(columns[field.name], field, path) for field in schema if field.name in names}
    if rows is None:
        rows = len(arrays[schema.names[0]])
    for name, array in arrays.items():
        if len(array) != rows:
            raise RecordsError(f"{path}: column {name!r} has {len(array)} rows, {schema.names[0]!r} has {rows}")
    whole = [arrays[field.name] if field.name in arrays else pa.nulls(rows, field.type) for field in schema]
    return pa.Table.from_arrays(whole, schema=schema)


def _column(values: Any, field: pa.Field, path: Path) -> pa.Array | pa.ChunkedArray:
    try:
        array = values if isinstance(values, pa.ChunkedArray) else pa.array(values, from_pandas=field.nullable)
        found = array.type
        array = array.cast(field.type) if _same_kind(found, field) else None
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise RecordsError(f"{path}: column {field.name!r} does not hold {field.type}: {error}") from error
    if array is None:
        raise RecordsError(f"{path}: column {field.name!r} holds {found}, not {field.type}")
    if array.null_count and not field.nullable:
        raise RecordsError(f"{path}: column {field.name!r} has {array.null_count} nulls and may have none")
    return array


def _same_kind(found: pa.DataType, field: pa.Field) -> bool:
    """Whether values of the type found are this field's, up to width. pandas holds nullable integers as floats."""
    kinds: tuple[Any, ...] = (pa.types.is_null,)
    if pa.types.is_list(field.type):
        return pa.types.is_null(found) or (
            (pa.types.is_list(found) or pa.types.is_large_list(found))
            and _same_kind(found.value_type, pa.field(field.name, field.type.value_type, nullable=False))
        )
    if pa.types.is_string(field.type):
        kinds += (pa.types.is_string, pa.types.is_large_string)
    elif pa.types.is_boolean(field.type):
        kinds += (pa.types.is_boolean,)
    else:
        kinds += (pa.types.is_integer,)
        if pa.types.is_floating(field.type) or field.nullable:
            kinds += (pa.types.is_floating,)
    return any(kind(found) for kind in kinds)
