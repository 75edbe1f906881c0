"""Derivations to browse: of each level a few problems, and beside each other what every arm made of them.

Nothing is picked by hand. Of each level come, in the order of the records, the problems on which an arm's greedy
completion is the first of its kind (right, right with wrong steps, wrong, unscored), then others up to
`PROBLEMS_PER_LEVEL`; of each problem the greedy completion and the first sample of every arm's first finished seed.
The text is bounded, so the page is as small for ten million completions as for ten thousand. Making text safe to show
is the template engine's business; `visible` only shows what a terminal or a reader's eye would be deceived by.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import pandas as pd
import pyarrow as pa

from rlreason.errors import RecordsError
from rlreason.records import PlanRecord, RunFolder, scan_table

KINDS = ("right", "right answer, wrong steps", "wrong", "unscored")
PROBLEMS_PER_LEVEL = 12
MOST_CHARACTERS = 4000
"""Of one text; the rest is left out, and said to be."""
MOST_TEXT = 2_000_000
"""Characters of all texts together; problems that no longer fit are left out, and counted."""
SAMPLES = {"greedy": -1, "sampled": 0}
"""What is shown of each arm: the `sample` of the records."""
_COLUMNS = (
    *("stage", "problem", "level", "probe", "sample", "text", "correct", "derivation_correct", "first_error_kind"),
    *("steps", "failure"),
)
_STEP_MARKUP = 90
"""About as many characters of the page as a step takes beside its text."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a completion. `verdict` is "" for text that belongs to no step."""

    text: str
    verdict: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """One completion.

    Attributes:
        sample: "greedy" or "sampled".
        kind: one of `KINDS`.
        pieces: joined they give the completion's text, as far as it is shown.
        left_out: characters after them.
        first_error_kind: in the task's words; "" where there is none.
        failure: why there is no verdict; "" where there is one.
    """

    arm: str
    sample: str
    kind: str
    pieces: tuple[Piece, ...]
    left_out: int
    first_error_kind: str
    failure: str


@dataclass(frozen=True, slots=True)
class ShownProblem:
    """A problem, and what the arms made of it, in the recipe's order."""

    level: str
    problem: str
    prompt: str
    answer: str
    target: str
    completions: tuple[Shown, ...]

    @property
    def size(self) -> int:
        """About how many characters of the page it takes."""
        pieces = [piece for shown in self.completions for piece in shown.pieces]
        return len(self.prompt) + len(self.target) + sum(len(piece.text) + _STEP_MARKUP for piece in pieces)


@dataclass(frozen=True, slots=True)
class Derivations:
    """What can be browsed: `problems` of the `asked` that the levels have; `left_out` were chosen and did not fit."""

    problems: tuple[ShownProblem, ...]
    asked: int
    left_out: int

    def levels(self) -> list[str]:
        """Those with problems to show."""
        return list(dict.fromkeys(problem.level for problem in self.problems))

    def arms(self) -> list[str]:
        """Those with completions to show."""
        return list(dict.fromkeys(shown.arm for problem in self.problems for shown in problem.completions))

    def error_kinds(self) -> list[str]:
        """Kinds of the first errors that are shown."""
        kinds = {shown.first_error_kind for problem in self.problems for shown in problem.completions}
        return sorted(kinds - {""})


def collect_derivations(folder: RunFolder, plan: PlanRecord, counts: pd.DataFrame) -> Derivations:
    """Choose the problems by the counts, and read their texts.

    Args:
        counts: those of the finished evaluations, as `report.counts` makes them; stages that it lacks are not shown.
    Raises:
        RecordsError: a records file is malformed, or a `steps` value is not the JSON it should be.
    """
    readable = set(counts["stage"])
    evaluations = {
        name: next((run.evaluation for run in arm.seeds.values() if run.evaluation in readable), None)
        for name, arm in plan.arms.items()
    }
    stages = {evaluation: name for name, evaluation in evaluations.items() if evaluation}
    if not stages:
        return Derivations((), 0, 0)
    greedy = counts[counts["greedy"] & ~counts["probe"] & counts["stage"].isin(list(stages))]
    chosen = {level: choose_problems(greedy[greedy["level"] == level]) for level in plan.evaluation.levels}
    wanted = frozenset(chain.from_iterable(chosen.values()))
    rows, texts = _rows(folder, "evaluations", stages, _COLUMNS, wanted), _problems(folder, stages, wanted)
    rows = rows[rows["sample"].isin(list(SAMPLES.values())) & ~rows["probe"]]
    shown: list[ShownProblem] = []
    size = left_out = 0
    by_problem = dict(iter(rows.groupby(["level", "problem"], sort=False)))
    # level by level in turn, so that what does not fit is missing from all levels alike
    in_turn = zip_longest(*([(level, problem) for problem in problems] for level, problems in chosen.items()))
    for level, problem in filter(None, chain.from_iterable(in_turn)):
        made = _show(level, problem, by_problem[level, problem], texts.get(problem, {}), stages)
        size += made.size
        if size > MOST_TEXT:
            left_out += 1
        else:
            shown.append(made)
    in_order = sorted(shown, key=lambda each: plan.evaluation.levels.index(each.level))
    return Derivations(tuple(in_order), len(greedy[["level", "problem"]].drop_duplicates()), left_out)


def choose_problems(greedy: pd.DataFrame) -> list[str]:
    """Problems of one level, in the order of the records; `greedy`: counts of the greedy completions of all arms."""
    kinds = pd.Series(KINDS[2], index=greedy.index)
    kinds[greedy["right"] > 0] = KINDS[0]
    kinds[greedy["right_checked"] > greedy["right_derived"]] = KINDS[1]
    kinds[greedy["judged"] == 0] = KINDS[3]
    in_order = list(dict.fromkeys(greedy["problem"]))
    firsts = set(greedy.assign(kind=kinds).drop_duplicates(["stage", "kind"])["problem"])
    others = [problem for problem in in_order if problem not in firsts]
    chosen = firsts | set(others[: max(0, PROBLEMS_PER_LEVEL - len(firsts))])
    return [problem for problem in in_order if problem in chosen]


def _rows(
    folder: RunFolder, table: str, stages: Mapping[str, str], columns: Sequence[str], problems: frozenset[str]
) -> pd.DataFrame:
    parts = [part for stage in stages for part in scan_table(folder, table, stage, columns, ("problem", problems))]
    return pa.concat_tables(parts).to_pandas() if parts else pd.DataFrame(columns=list(columns))


def _problems(folder: RunFolder, stages: Mapping[str, str], wanted: frozenset[str]) -> dict[str, dict[str, str]]:
    """Problem -> its prompt, answer and target, from the first stage that can tell them."""
    found: dict[str, dict[str, str]] = {}
    for stage in stages:
        try:
            rows = _rows(folder, "problems", {stage: ""}, ("problem", "prompt", "answer", "target"), wanted)
        except RecordsError:  # named by the summary
            continue
        for row in rows.to_dict("records"):
            found.setdefault(row.pop("problem"), {str(name): value for name, value in row.items()})
    return found


def _show(
    level: str, problem: str, rows: pd.DataFrame, texts: Mapping[str, str], arms: Mapping[str, str]
) -> ShownProblem:
    """`arms`: evaluation -> arm."""
    found = {(row["stage"], row["sample"]): row for row in rows.to_dict("records")}
    completions = [
        _completion(found[stage, number], arm, name)
        for stage, arm in arms.items()
        for name, number in SAMPLES.items()
        if (stage, number) in found
    ]
    told = {name: texts.get(name, "")[:MOST_CHARACTERS] for name in ("prompt", "answer", "target")}
    return ShownProblem(level, problem, completions=tuple(completions), **told)


def _completion(row: Mapping[Any, Any], arm: str, sample: str) -> Shown:
    text = row["text"]
    pieces = cut_by_steps(text[:MOST_CHARACTERS], row["steps"], f"stage {row['stage']}, problem {row['problem']}")
    kind = row["first_error_kind"]
    return Shown(
        arm=arm,
        sample=sample,
        kind=_kind(row["correct"], row["derivation_correct"]),
        pieces=pieces,
        left_out=max(0, len(text) - MOST_CHARACTERS),
        first_error_kind=kind if isinstance(kind, str) else "",
        failure=row["failure"],
    )


def _kind(correct: bool | None, derivation_correct: bool | None) -> str:
    if correct is None or pd.isna(correct):
        return KINDS[3]
    if not correct:
        return KINDS[2]
    return KINDS[1] if derivation_correct is False else KINDS[0]


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


_CONTROL = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {0x7F: "\u2421"}
_TURNING = (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_DIRECTION = {code: f"\u27e8U+{code:04X}\u27e9" for code in _TURNING}
_VISIBLE = _CONTROL | _DIRECTION


def visible(text: str) -> str:
    """The text with control characters (ANSI escapes) and marks that turn the reading direction shown as symbols."""
    return text.translate(_VISIBLE)
