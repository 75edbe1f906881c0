"""Sample derivations to read: for each level and arm the first of each kind, cut into steps by their verdicts.

Nothing is picked: the first greedy completion of a kind, in record order, stands for it. Text stays plain here; making
it safe to show is the renderer's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rlreason.errors import RecordsError
from rlreason.records import PlanRecord, RunFolder, read_table

KINDS = ("right", "right answer, wrong steps", "wrong", "unscored")
_COLUMNS = (
    "stage",
    "problem",
    "text",
    "correct",
    "derivation_correct",
    "first_error_kind",
    "steps",
    "failure",
    "level",
    "probe",
    "greedy",
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a completion. `verdict` is "" for text that belongs to no step."""

    text: str
    verdict: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One completion to show. `kind` is one of `KINDS`; `pieces` joined give the completion's text."""

    kind: str
    problem: str
    prompt: str
    answer: str
    target: str
    pieces: tuple[Piece, ...]
    first_error_kind: str
    failure: str


def collect_examples(folder: RunFolder, plan: PlanRecord) -> dict[str, dict[str, list[Example]]]:
    """Level -> arm -> at most one example of each kind, from each arm's first finished seed.

    Raises:
        RecordsError: a records file is malformed, or a `steps` value is not the JSON it should be.
    """
    evaluations = {
        name: next((run.evaluation for run in arm.seeds.values() if folder.is_done(run.evaluation)), None)
        for name, arm in plan.arms.items()
    }
    finished = sorted({evaluation for evaluation in evaluations.values() if evaluation})
    rows = read_table(folder, "evaluations", finished, _COLUMNS)
    rows = rows[rows["greedy"] & ~rows["probe"]]
    rows = rows.assign(kind=_kinds(rows)).drop_duplicates(["stage", "level", "kind"])
    problems = read_table(folder, "problems", finished, ["stage", "problem", "prompt", "answer", "target"])
    rows = rows.merge(problems.drop_duplicates(["stage", "problem"]), on=["stage", "problem"], how="left")
    found: dict[str, dict[str, list[Example]]] = {}
    for level in plan.evaluation.levels:
        for arm, evaluation in evaluations.items():
            mine = rows[(rows["stage"] == evaluation) & (rows["level"] == level)]
            examples = [_example(row) for kind in KINDS for row in mine[mine["kind"] == kind].to_dict("records")]
            if examples:
                found.setdefault(level, {})[arm] = examples
    return found


def _kinds(rows: pd.DataFrame) -> pd.Series:
    right = rows["correct"].fillna(False).astype(bool)
    steps_wrong = ~rows["derivation_correct"].fillna(True).astype(bool)
    kinds = pd.Series(KINDS[2], index=rows.index)
    kinds[right] = KINDS[0]
    kinds[right & steps_wrong] = KINDS[1]
    kinds[rows["correct"].isna()] = KINDS[3]
    return kinds


def _example(row: Mapping[Any, Any]) -> Example:
    def text(column: str) -> str:
        return row[column] if isinstance(row[column], str) else ""  # a null, or a problem without its record

    return Example(
        kind=row["kind"],
        problem=row["problem"],
        prompt=text("prompt"),
        answer=text("answer"),
        target=text("target"),
        pieces=cut_by_steps(row["text"], row["steps"], f"stage {row['stage']}, problem {row['problem']}"),
        first_error_kind=text("first_error_kind"),
        failure=row["failure"],
    )


def cut_by_steps(text: str, steps: str, where: str) -> tuple[Piece, ...]:
    """Cut a text at the spans of its steps.

    Args:
        text: the completion.
        steps: JSON list of {"start", "end", "verdict", "kind"}, character spans, end exclusive. Spans are cut to the
            text; where two overlap, the earlier one keeps the characters.
        where: for the error.
    Returns:
        Pieces which joined give `text`.
    Raises:
        RecordsError: `steps` is not that.
    """
    try:
        spans = sorted((int(s["start"]), int(s["end"]), str(s["verdict"]), str(s["kind"])) for s in json.loads(steps))
    except (ValueError, TypeError, KeyError) as error:
        raise RecordsError(
            f"evaluations, {where}: column 'steps' is not a JSON list of steps ({error!r}); restore the records"
        ) from error
    pieces, position = [], 0
    for start, end, verdict, kind in spans:
        start, end = max(start, position), min(end, len(text))
        if start >= end:
            continue
        if start > position:
            pieces.append(Piece(text[position:start]))
        pieces.append(Piece(text[start:end], verdict, kind))
        position = end
    if position < len(text):
        pieces.append(Piece(text[position:]))
    return tuple(pieces)
