"""A finished run whose derivations go wrong in known ways: arms sft and sft_rl of `synthetic.write_plan`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rlreason.records import RunFolder, write_part
from tests.report.synthetic import as_columns


@dataclass(frozen=True)
class Told:
    """One greedy completion: what the steps say, a word each (r: right, w: wrong), and what the check made of them."""

    problem: str
    correct: bool | None
    steps: str = ""
    kind: str = ""
    first_error: int | None = None
    names: tuple[str, ...] = ()
    checked: bool = True

    @property
    def derived(self) -> bool | None:
        if self.correct is None or not self.checked:
            return None
        return self.correct and "w" not in self.steps and not self.kind


def completion(stage: str, level: str, told: Told, probe: bool, sample: int) -> dict[str, Any]:
    text, spans = "", []
    names = told.names or ("likes",) * len(told.steps)
    for verdict, name in zip(told.steps, names, strict=True):
        start = len(text)
        text += f"Ann {name} Bob. "
        spans.append({"start": start, "end": len(text) - 1, "verdict": {"r": "right", "w": "wrong"}[verdict],
                      "kind": "" if verdict == "r" else told.kind, "score": 0.0})  # fmt: skip
    return {
        "stage": stage, "problem": told.problem, "cell": "people/2", "sample": sample, "text": text, "tokens": 3,
        "finish_reason": "stop", "logprob": -1.0, "policy_version": 0, "correct": told.correct,
        "derivation_correct": told.derived, "answer": None, "first_error": told.first_error,
        "first_error_kind": told.kind, "steps": json.dumps(spans), "failure": "", "level": level, "probe": probe,
        "greedy": sample < 0,
    }  # fmt: skip


def write_told(
    folder: RunFolder,
    stage: str,
    told: dict[str, list[Told]],
    details: dict[str, dict[str, Any]] | None = None,
    *,
    probes: tuple[str, ...] = (),
    sampled: tuple[Told, ...] = (),
    trained: tuple[tuple[str, ...], ...] = (),
) -> None:
    """The records of one evaluation.

    Args:
        told: level or probe -> its greedy completions.
        details: problem -> its detail; others have {}.
        sampled: completions sampled on the first level.
        trained: paths of the trained_paths table; none: the table is not written, as by older evaluations.
    """
    rows, problems = [], {}
    for level, completions in told.items():
        rows += [completion(stage, level, each, level in probes, -1) for each in completions]
        for each in completions:
            detail = (details or {}).get(each.problem, {})
            problems[each.problem] = {
                "stage": stage, "problem": each.problem, "task": "people", "cell": "people/2",
                "difficulty": len(detail.get("path", "ab")), "level": level, "prompt": "Who?", "answer": "Bob",
                "target": "", "detail": json.dumps(detail), "chance": 0.1,
            }  # fmt: skip
    rows += [completion(stage, next(iter(told)), each, False, sample) for sample, each in enumerate(sampled)]
    write_part(folder, "evaluations", stage, 0, as_columns(rows))
    write_part(folder, "problems", stage, 0, as_columns(list(problems.values())))
    if trained:
        paths = [{"stage": stage, "task": "people", "cell": "people/2", "path": list(path)} for path in trained]
        write_part(folder, "trained_paths", stage, 0, as_columns(paths))
    folder.mark_done(stage, {"seconds": 1.0, "completed": "2025-01-01T00:00:20+00:00"})
