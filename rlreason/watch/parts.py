"""The Parquet parts of a stage that are new since the last look: its curriculum, its newest derivations, its rows.

However many parts a stage has, a bounded number of them is ever read: the curriculum is thinned to `MOST_UPDATES`
updates, spread evenly, and derivations come from the newest part. A folder whose list of files has not changed is not
listed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rlreason.errors import RecordsError
from rlreason.records import RunFolder
from rlreason.records.tables import part_numbers, read_part
from rlreason.report.browser import Piece, cut_by_steps

MOST_UPDATES = 240
"""Columns of the heat map, at most; at least half as many where there are more updates."""
MOST_DERIVATIONS = 8
MOST_CHARACTERS = 4000
"""Of one text."""


class PartList:
    """The numbers of a table's parts in a stage."""

    def __init__(self, folder: RunFolder, table: str, stage: str) -> None:
        self.folder, self.table, self.stage = folder, table, stage
        self._listed: int | None = None
        self._numbers: list[int] = []

    @property
    def path(self) -> Path:
        """Where the parts lie."""
        return self.folder.records / self.table / self.stage

    def numbers(self) -> list[int]:
        """In order.

        Raises:
            RecordsError: a file there is not named like a part.
        """
        try:
            changed = self.path.stat().st_mtime_ns  # a part is renamed into its place, which the folder's time tells
        except FileNotFoundError:
            self._listed, self._numbers = None, []
            return []
        if changed != self._listed:
            self._numbers = part_numbers(self.folder, self.table, self.stage)
            self._listed = changed
        return self._numbers

    def written(self, number: int) -> int:
        """When a part was written; it has another time once a resumed stage has written it again."""
        try:
            return (self.path / f"part-{number:06d}.parquet").stat().st_mtime_ns
        except FileNotFoundError:
            return -1


@dataclass(frozen=True, slots=True)
class Heat:
    """A stage's curriculum.

    Attributes:
        cells: bandit arms, without what all of them have in common.
        updates: [U] those shown, in order.
        success: [C][U] share of rollouts right; None: not drawn, or none was judged.
        share: [C][U] share of the update's problems.
        locked: cells that may not be drawn in the next update.
    """

    cells: tuple[str, ...]
    updates: tuple[int, ...]
    success: tuple[tuple[float | None, ...], ...]
    share: tuple[tuple[float, ...], ...]
    locked: tuple[str, ...]


class Curriculum:
    """Follows the curriculum table of a stage."""

    def __init__(self, folder: RunFolder, stage: str) -> None:
        self._parts = PartList(folder, "curriculum", stage)
        self._rows: dict[int, tuple[int, list[dict[str, Any]]]] = {}

    def heat(self) -> Heat | None:
        """The heat map as it is now; None where nothing is recorded.

        Raises:
            RecordsError: a part cannot be read.
        """
        numbers = self._parts.numbers()
        self._read(evenly(numbers, MOST_UPDATES))
        if not self._rows:
            return None
        updates = sorted(self._rows)
        by_update = [{row["arm"]: row for row in self._rows[update][1]} for update in updates]
        arms = list(dict.fromkeys(arm for rows in by_update for arm in rows))
        drawn = [max(1, sum(row["drawn"] for row in rows.values())) for rows in by_update]
        names = dict(zip(arms, without_common(arms), strict=True))
        success = [[rows[arm]["success"] if arm in rows else None for rows in by_update] for arm in arms]
        share = [
            [rows[arm]["drawn"] / total if arm in rows else 0.0 for rows, total in zip(by_update, drawn, strict=True)]
            for arm in arms
        ]
        return Heat(
            cells=tuple(names.values()),
            updates=tuple(updates),
            success=tuple(tuple(row) for row in success),
            share=tuple(tuple(row) for row in share),
            locked=tuple(names[arm] for arm, row in by_update[-1].items() if not row["unlocked"]),
        )

    def _read(self, wanted: Sequence[int]) -> None:
        kept = {}
        for number in wanted:
            written = self._parts.written(number)
            if written < 0:
                continue  # a resumed stage has dropped it since it was listed
            known = self._rows.get(number)
            kept[number] = known if known and known[0] == written else (written, self._rows_of(number))
        self._rows = kept

    def _rows_of(self, number: int) -> list[dict[str, Any]]:
        columns = ("arm", "drawn", "success", "unlocked")
        return read_part(self._parts.folder, "curriculum", self._parts.stage, number, columns).to_pylist()


def evenly(numbers: Sequence[int], most: int) -> list[int]:
    """At most `most` + 1 of them: all, or every 2nd, 4th, 8th, ... of the list, and always the last.

    While the list grows the step doubles at times, so that what was read before is mostly used again.
    """
    step = 1
    while -(-len(numbers) // step) > most:
        step *= 2
    chosen = list(numbers[::step])
    return chosen if not numbers or chosen[-1] == numbers[-1] else [*chosen, numbers[-1]]


def without_common(arms: Sequence[str]) -> list[str]:
    """Names of bandit arms ("TASK:LEVEL:CELL") without the task and level that all of them share."""
    parts = [arm.split(":", 2) for arm in arms]
    if len({len(each) for each in parts}) != 1:
        return list(arms)
    last = len(parts[0]) - 1
    keep = [at for at in range(last) if len({each[at] for each in parts}) > 1]
    return [":".join(each[at] for at in (*keep, last)) for each in parts]


@dataclass(frozen=True, slots=True)
class Derivation:
    """A completion, newest first.

    Attributes:
        update: of the stage; None in an evaluation.
        verdict: "right", "right answer, wrong steps", "wrong" or "unscored".
        pieces: joined they give the text, as far as it is shown.
        gold: the gold answer; "" where the table does not have it.
    """

    update: int | None
    problem: str
    cell: str
    verdict: str
    reward: float | None
    prompt: str
    gold: str
    pieces: tuple[Piece, ...]
    failure: str


class NewestDerivations:
    """Follows the rollouts of a stage, or the completions of an evaluation: of a part with greedy ones these."""

    def __init__(self, folder: RunFolder, stage: str) -> None:
        self._tables = [PartList(folder, table, stage) for table in ("rollouts", "evaluations")]
        self._read: tuple[str, int, int] | None = None
        self._shown: tuple[Derivation, ...] = ()

    def shown(self) -> tuple[Derivation, ...]:
        """Some of the newest part, of a problem one.

        Raises:
            RecordsError: it cannot be read.
        """
        for parts in self._tables:
            numbers = parts.numbers()
            if not numbers:
                continue
            newest = (parts.table, numbers[-1], parts.written(numbers[-1]))
            if newest != self._read:
                self._shown = _choose(parts, numbers[-1])
                self._read = newest
            return self._shown
        return ()


def _choose(parts: PartList, number: int) -> tuple[Derivation, ...]:
    shared = ("problem", "cell", "text", "correct", "derivation_correct", "steps", "failure")
    only = ("update", "reward", "prompt", "gold") if parts.table == "rollouts" else ()
    rows = read_part(parts.folder, parts.table, parts.stage, number, (*shared, *only)).to_pylist()
    firsts = {row["problem"]: row for row in reversed(rows)}  # the greedy one where it is there
    by_verdict: dict[str, list[dict[str, Any]]] = {}
    for row in reversed(firsts.values()):
        by_verdict.setdefault(verdict_of(row["correct"], row["derivation_correct"]), []).append(row)
    chosen: list[dict[str, Any]] = []
    while by_verdict and len(chosen) < MOST_DERIVATIONS:  # of each verdict in turn, so that the rare ones are seen
        for verdict in list(by_verdict):
            chosen.append(by_verdict[verdict].pop(0))
            if not by_verdict[verdict]:
                del by_verdict[verdict]
    return tuple(_derivation(row) for row in chosen[:MOST_DERIVATIONS])


def _derivation(row: dict[str, Any]) -> Derivation:
    return Derivation(
        update=row.get("update"),
        problem=row["problem"],
        cell=row["cell"],
        verdict=verdict_of(row["correct"], row["derivation_correct"]),
        reward=row.get("reward"),
        prompt=row.get("prompt", "")[:MOST_CHARACTERS],
        gold=row.get("gold", "")[:MOST_CHARACTERS],
        pieces=cut_by_steps(row["text"][:MOST_CHARACTERS], row["steps"], f"problem {row['problem']}"),
        failure=row["failure"],
    )


def verdict_of(correct: bool | None, derivation_correct: bool | None) -> str:
    """What a completion is called."""
    if correct is None:
        return "unscored"
    if not correct:
        return "wrong"
    return "right answer, wrong steps" if derivation_correct is False else "right"


class RowCount:
    """How many rows a stage has in a table, by the footers of its parts."""

    def __init__(self, folder: RunFolder, table: str, stage: str) -> None:
        self._parts = PartList(folder, table, stage)
        self._rows: dict[int, int] = {}

    def rows(self) -> int:
        """As many as are there now.

        Raises:
            RecordsError: a part cannot be read.
        """
        numbers = self._parts.numbers()
        for number in numbers:
            if number not in self._rows:
                path = self._parts.path / f"part-{number:06d}.parquet"
                try:
                    self._rows[number] = pq.read_metadata(path).num_rows
                except (OSError, ValueError) as error:
                    raise RecordsError(f"{path} cannot be read: {error}; restore it, or run again") from error
        return sum(self._rows[number] for number in numbers)
