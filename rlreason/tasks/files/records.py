"""From a row's values to a problem's texts: what each layout makes of the columns, and what a row must hold.

Every refusal names file, row and column, what stands there, and what may.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rlreason.errors import TaskError
from rlreason.tasks.files.answers import LONGEST, find_answer, number_in, same_text
from rlreason.tasks.files.formats import read_rows, shown
from rlreason.tasks.files.parameters import FilesParameters

_NOT_IN_NAMES = re.compile(r"[^\w.+-]+")
_CLOSING = {"plain": "So, the answer is: {}", "gsm8k": "#### {}", "math": r"So, the answer is: \boxed{{{}}}"}


@dataclass(frozen=True, slots=True)
class Record:
    """A row as a problem needs it.

    Attributes:
        row: the number by which a person finds it in its file.
        id: unique among the file's rows.
        target: derivation and answer, in a form from which the answer can be read.
        family, cell: values of those columns as names are written ("Level 5" is "level_5"); "" where the recipe names
            none.
    """

    row: int
    id: str
    question: str
    answer: str
    target: str
    family: str
    cell: str


def read_records(path: Path, split: str, parameters: FilesParameters) -> Iterator[Record]:
    """The records of a file, in its order.

    Raises:
        TaskError: the file or one of its rows cannot be used.
    """
    named = parameters.columns.named
    read_columns = list(dict.fromkeys(named.values()))
    texts = _Texts(shown(path))
    ids: dict[str, int] = {}
    row = None
    for row, values in read_rows(path, read_columns, split):
        held = dict(zip(read_columns, values, strict=True))
        given = {key: texts.text(row, column, held[column]) for key, column in named.items()}
        yield _record(row, given, parameters, texts)
        if "id" in named:
            before = ids.setdefault(given["id"], row)
            if before != row:
                raise texts.refusal(
                    row, named["id"], f"{given['id']!r} is the id of row {before} too; give each its own"
                )
    if row is None:
        raise TaskError(f"{shown(path)} has no rows; give a file with at least one, or drop the level {split!r}")


def _record(row: int, given: Mapping[str, str], parameters: FilesParameters, texts: _Texts) -> Record:
    derivation, answer = given.get("derivation", ""), given.get("answer", "")
    column = str(parameters.columns.answer or parameters.columns.derivation)
    if parameters.layout == "gsm8k":
        before, mark, answer = answer.rpartition("####")
        if not mark:
            raise texts.refusal(row, column, 'holds no "#### answer" at its end; is the layout plain?')
        derivation = derivation or before
    if parameters.columns.answer is None:
        answer = find_answer(derivation) or ""
        if not answer:
            raise texts.refusal(row, column, r"holds no answer in \boxed{...}; name columns.answer")
    derivation, answer = derivation.strip(), answer.strip()
    if not answer:
        raise texts.refusal(row, column, "the answer is empty")
    if parameters.grade == "number" and number_in(answer) is None:
        raise texts.refusal(row, column, f"answer {answer[:80]!r} holds no single number; say grade: exact or math")
    target = _target(derivation, answer, parameters.layout)
    if target is None:
        limit = f"an answer is one line of at most {LONGEST} characters and no sentence that says what the answer is"
        raise texts.refusal(row, column, f"answer {answer[:80]!r} could not be found again in a completion: {limit}")
    return Record(
        row=row,
        id=given.get("id", str(row)),
        question=given["question"],
        answer=answer,
        target=target,
        family=_name(given.get("family", "")),
        cell=_name(given.get("cell", "")),
    )


def _name(value: str) -> str:
    return _NOT_IN_NAMES.sub("_", value.casefold()).strip("_") or ("_" if value else "")


def _target(derivation: str, answer: str, layout: str) -> str | None:
    """What supervised training teaches, with its leading space: the derivation, closed by the answer where it does not
    close with it already. None where the answer cannot be read from it."""
    closed = f"{derivation}\n{_CLOSING[layout].format(answer)}" if derivation else _CLOSING[layout].format(answer)
    for text in (derivation, closed):
        said = find_answer(text)
        if said is not None and same_text(answer, said):
            return f" {text}"
    return None


class _Texts:
    """The values of one file as texts; each column of one kind throughout."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._kinds: dict[str, tuple[str, int]] = {}

    def refusal(self, row: int, column: str, why: str) -> TaskError:
        return TaskError(f"{self._file} row {row}, column {column!r}: {why}")

    def text(self, row: int, column: str, value: Any) -> str:
        """
        Raises:
            TaskError: the value is empty, no text or number, or of another kind than the column's first.
        """
        match value:
            case str():
                kind, text = "text", value.strip()
            case bool():
                kind, text = "true or false", str(value).lower()
            case int() | Decimal():
                kind, text = "a number", str(value)
            case float():
                whole = math.isfinite(value) and value.is_integer() and abs(value) < 2**53
                kind, text = "a number", str(int(value)) if whole else "" if math.isnan(value) else repr(value)
            case None:
                kind, text = "", ""
            case _:
                kind = f"a {type(value).__name__}"
                raise self.refusal(row, column, f"{kind} cannot be read; give text or a number")
        if not text:
            raise self.refusal(row, column, "is empty; fill it in, or take the row out")
        first, where = self._kinds.setdefault(column, (kind, row))
        if kind != first:
            raise self.refusal(
                row,
                column,
                f"{kind} ({text[:40]!r}), where row {where} has {first}; write one kind in the whole column",
            )
        return text
