"""A user's own problems: rows of files, split into levels by the recipe and into cells by a column.

Problem i of a cell is row i of the cell's, in the order of the files; a stage that draws more than there are goes round
and meets them again (`tasks.sampling.sample`, and so every evaluation, asks no question twice). The files are read when
a problem or a cell is first asked for: a process that only checks completions never opens them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from rlreason.errors import TaskError, one_of
from rlreason.tasks.contract import Cell, Task
from rlreason.tasks.files.checker import check
from rlreason.tasks.files.parameters import FilesParameters
from rlreason.tasks.files.records import read_records
from rlreason.types import DerivationCheck, Problem

if TYPE_CHECKING:
    from rlreason.tasks.files.rows import CellKey, LevelRows

TRAIN = "train"
"""Levels whose names begin so are for training; the others are held out."""
ALL = "all"
"""The one cell of files without a column of cells."""
MOST_WORDS = 20_000
_NUMBER = re.compile(r"\d{1,6}")
_WORD = re.compile(r"[^\W\d_]+|[^\w\s]")


class Files(Task):
    """Your own problems: JSON Lines, CSV, Parquet or a dataset folder; GSM8K- and MATH-shaped ones too."""

    type = "files"
    Parameters = FilesParameters
    paths = ("levels",)

    parameters: FilesParameters

    @property
    def levels(self) -> tuple[str, ...]:
        """As the recipe has them, those for training first."""
        return tuple(sorted(self.parameters.levels, key=lambda level: not level.startswith(TRAIN)))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Family by family, the easiest first."""
        return tuple(cell for cell, _ in self._cells.values())

    def problem(self, level: str, cell: str, index: int) -> Problem:
        """See `Task.problem`. `detail` holds the row's id. From the second time round, the problem's id says which time
        it is, so that two draws of a row are told apart."""
        positions = self._positions(level, cell)
        round, place = divmod(index, len(positions))
        row = self._rows[level][positions[place]]
        again = f"/again-{round}" if round else ""
        return Problem(
            id=f"{level}/{cell.replace('/', '-')}/{row.id}{again}",
            task=self.name,
            cell=cell,
            level=level,
            prompt=self.parameters.prompt.format(question=row.question),
            answer=row.answer,
            target=row.target,
            detail={"id": row.id},
        )

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """See `Task.check`. With grade math, only in a process that can be killed (`files.answers`)."""
        return check(problem, text, self.parameters.grade, steps=self.parameters.steps == "arithmetic")

    def words(self) -> Sequence[str]:
        """Words and marks of prompts and targets, at most 20,000, the most frequent first. Numbers are left out: a
        tokenizer spells them, and so meets every digit."""
        return self._words

    def chance(self, level: str, cell: str) -> float:
        """Share of the cell's rows that have its most frequent answer: somebody who knows them all, and not the
        question, says that one."""
        positions = self._positions(level, cell)
        return self._rows[level].most_frequent_answer(positions) / len(positions)

    def _positions(self, level: str, cell: str) -> Sequence[int]:
        """Positions of a cell's rows at a level.

        Raises:
            TaskError: there is no such level or cell, or the level has no row of that cell.
        """
        if level not in self.levels:
            raise TaskError(one_of(f"level of task {self.name!r}", level, self.levels))
        if cell not in self._cells:
            raise TaskError(one_of(f"cell of task {self.name!r}", cell, self._cells))
        there, (_, asked) = self._rows[level].cells, self._cells[cell]
        if asked not in there:
            counts = ", ".join(f"{name} {len(there[key])}" for name, (_, key) in self._cells.items() if key in there)
            raise TaskError(
                f"task {self.name!r}: level {level!r} has no rows in cell {cell!r} (its rows: {counts}); ask for other "
                "cells there, or add rows"
            )
        return there[asked]

    @cached_property
    def _words(self) -> list[str]:
        said = Counter[str](_WORD.findall(self.parameters.prompt.format(question="")))
        for rows in self._rows.values():
            for texts in (*rows.column("question"), *rows.column("target")):
                for text in texts:
                    said.update(_WORD.findall(text))
        return [word for word, _ in said.most_common(MOST_WORDS)]

    @cached_property
    def _cells(self) -> dict[str, tuple[Cell, CellKey]]:
        """Name -> the cell, and what its rows say of family and cell; in the order of `cells`."""
        keys = list(dict.fromkeys(key for rows in self._rows.values() for key in rows.cells))
        families = list(dict.fromkeys(family for family, _ in keys))
        values = list(dict.fromkeys(value for _, value in keys))
        said = {value: _NUMBER.search(value) for value in values}
        if any(said.values()):
            difficulty = {value: int(number.group()) if number else 0 for value, number in said.items()}
        else:
            difficulty = {value: place for place, value in enumerate(values, start=1)}
        cells = {}
        for family, value in sorted(keys, key=lambda key: (families.index(key[0]), difficulty[key[1]])):
            named = family or self.name
            cell = Cell(f"{named}/{value or ALL}", named, difficulty[value])
            cells[cell.name] = cell, (family, value)
        return cells

    @cached_property
    def _rows(self) -> dict[str, LevelRows]:
        """Level -> its rows, in the order of `levels`.

        Raises:
            TaskError: a file cannot be used, or levels overlap.
        """
        from rlreason.tasks.files.rows import LevelRows  # Arrow takes a moment to import, which `rlreason tasks` saves

        rows = {}
        for level in self.levels:
            said = self.parameters.levels[level]
            files = [Path(file) for file in ([said] if isinstance(said, str) else said)]
            rows[level] = LevelRows([(file, read_records(file, level, self.parameters)) for file in files])
        if self.parameters.overlap == "refuse":
            for trained, held_out in product(self.levels, repeat=2):
                if trained.startswith(TRAIN) and not held_out.startswith(TRAIN):
                    self._refuse_overlap(rows, trained, held_out)
        return rows

    def _refuse_overlap(self, rows: dict[str, LevelRows], trained: str, held_out: str) -> None:
        from rlreason.tasks.files.overlap import find_overlaps, shared_words

        run = self.parameters.overlap_words
        first, second = rows[trained], rows[held_out]
        found = find_overlaps(first.column("question"), second.column("question"), run)
        if not found.pairs:
            return
        shown = "; ".join(
            f"{first.place(one)} and {second.place(two)} "
            f"({shared_words(first[one].question, second[two].question)[:100]!r})"
            for one, two in found.pairs
        )
        run_says = f", or {run} words in a row" if run else ""
        raise TaskError(
            f"tasks.{self.name}.levels: {found.first} of the {len(first)} questions of {trained!r} and {found.second} "
            f"of the {len(second)} of {held_out!r} are the same{run_says}: {shown}. Take them out of one of the two, "
            "say overlap_words: 0 to compare whole questions alone, or overlap: allow if that is meant"
        )
