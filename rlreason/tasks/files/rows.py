"""The problems of one level, kept outside of memory: an Arrow table in a temporary file without a name, mapped.

What is in memory is a number a row and cell. The file is gone with the process, however it ends.
"""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlreason.tasks.files.formats import shown
from rlreason.tasks.files.records import Record

if TYPE_CHECKING:
    import pyarrow as pa

CellKey = tuple[str, str]
"""(family, cell) of a record."""
_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Row:
    """A problem's texts, as in `Record`, and its id among all of the level's files."""

    id: str
    question: str
    answer: str
    target: str


class LevelRows:
    """The rows of a level's files, one file after another."""

    def __init__(self, files: Sequence[tuple[Path, Iterable[Record]]]) -> None:
        """
        Args:
            files: each with its records.
        Raises:
            TaskError: what reading the records raises.
        """
        self._cells: dict[CellKey, array[int]] = {}
        self._files: list[tuple[int, Path]] = []
        self._count = 0
        self._batches = self._written(files)

    @property
    def cells(self) -> Mapping[CellKey, array[int]]:
        """Cell -> the positions of its rows, in order; cells in the order in which they appear."""
        return self._cells

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> Row:
        """The row at a position, from 0."""
        number, place = divmod(position, _BATCH)
        batch = self._batches[number]
        return Row(*(batch.column(name)[place].as_py() for name in Row.__slots__))

    def column(self, name: str) -> Iterator[list[str]]:
        """One of the texts of all rows, piece by piece."""
        for batch in self._batches:
            yield batch.column(name).to_pylist()

    def most_frequent_answer(self, positions: Sequence[int]) -> int:
        """How many of these rows have the answer that most of them have."""
        import pyarrow as pa
        import pyarrow.compute as pc

        answers = pa.chunked_array([batch.column("answer") for batch in self._batches]).take(pa.array(positions))
        return int(pc.max(answers.value_counts().field("counts")).as_py())

    def place(self, position: int) -> str:
        """File and row of a position, for a person."""
        path = next(path for first, path in reversed(self._files) if first <= position)
        number, place = divmod(position, _BATCH)
        return f"{shown(path)} row {self._batches[number].column('row')[place]}"

    def _written(self, files: Sequence[tuple[Path, Iterable[Record]]]) -> list[pa.RecordBatch]:
        """All records written, and mapped again."""
        import pyarrow as pa

        schema = pa.schema([("row", pa.int64()), *((name, pa.string()) for name in Row.__slots__)])
        with tempfile.TemporaryFile() as file:
            with pa.ipc.new_file(file, schema) as writer:
                waiting: list[dict[str, Any]] = []
                for record in self._numbered(files):
                    waiting.append(record)
                    if len(waiting) == _BATCH:
                        writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema))
                        waiting = []
                if waiting:
                    writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema))
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        opened = pa.ipc.open_file(pa.py_buffer(mapped))
        return [opened.get_batch(number) for number in range(opened.num_record_batches)]

    def _numbered(self, files: Sequence[tuple[Path, Iterable[Record]]]) -> Iterator[dict[str, Any]]:
        for number, (path, records) in enumerate(files, start=1):
            self._files.append((self._count, path))
            for record in records:
                self._cells.setdefault((record.family, record.cell), array("q")).append(self._count)
                self._count += 1
                yield {
                    "row": record.row,
                    "id": f"{number}-{record.id}" if len(files) > 1 else record.id,
                    "question": record.question,
                    "answer": record.answer,
                    "target": record.target,
                }
