"""A run that is being written, made the way its stages write: plan, metrics, curriculum and rollouts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlreason.records import RunFolder, write_part
from tests.report.synthetic import HOSTILE, write_plan

ARMS = ("people:train:complementary/2", "people:train:complementary/3")
STEP = f"Ann boss Bob {HOSTILE}."
SGR = "\x1b[31m"
"""What would colour a terminal red."""


def planned_run(path: Path) -> RunFolder:
    """Stages sft-0 (of arms sft and sft_rl) and rl-0 (of sft_rl), of 20 updates each, and their evaluations."""
    folder = RunFolder(path)
    write_plan(folder)
    return folder


def begin(folder: RunFolder, stage: str) -> None:
    """As the runner does before it calls the stage."""
    folder.stage(stage).mkdir(parents=True, exist_ok=True)
    (folder.stage(stage) / "config.json").write_text("{}")


def tell(folder: RunFolder, stage: str, updates: Sequence[int], **metrics: Any) -> None:
    """Lines of metrics.jsonl, each with the same metrics."""
    with folder.metrics_path.open("a") as stream:
        for update in updates:
            stream.write(json.dumps({"stage": stage, "update": update, **metrics}) + "\n")


def draw_problems(folder: RunFolder, update: int, success: Sequence[float | None], unlocked: bool = True) -> Path:
    """A part of the curriculum of rl-0; `success`: of each of `ARMS`, None where it was not drawn."""
    rows: dict[str, list[Any]] = {
        "stage": ["rl-0", "rl-0"],
        "update": [update, update],
        "arm": list(ARMS),
        "probability": [0.75, 0.25],
        "drawn": [0 if share is None else 3 - 2 * place for place, share in enumerate(success)],
        "unscored": [0, 0],
        "payoff": [None, None],
        "success": list(success),
        "mastered": [None, None],
        "unlocked": [True, unlocked],
    }
    return write_part(folder, "curriculum", "rl-0", update, rows)


def roll_out(folder: RunFolder, update: int, verdicts: Sequence[tuple[bool | None, bool | None]]) -> None:
    """A part of the rollouts of rl-0: two rollouts a problem, both with the problem's verdict. The text is hostile."""
    text = f"{STEP} {SGR}So: Bob {HOSTILE}"
    step = {"start": 0, "end": len(STEP), "verdict": "wrong", "kind": "order", "score": 0.0}
    rows = [
        {
            "stage": "rl-0", "problem": f"train/{problem}", "cell": "complementary/2", "sample": sample, "text": text,
            "turns": None, "tokens": 4, "finish_reason": "stop", "logprob": -1.0, "policy_version": update - 1,
            "correct": correct, "derivation_correct": derived, "answer": "Bob", "first_error": 0,
            "first_error_kind": "order", "steps": json.dumps([step]),
            "failure": "" if correct is not None else "Timeout",
            "update": update, "task": "people", "prompt": f"Who is it? {HOSTILE}", "gold": "Bob",
            "reward": None if correct is None else float(correct), "advantage": 0.0, "parts": "{}",
            "step_scores": "{}",
            "prompt_tokens": [1], "completion_tokens": [2], "generator_logprobs": [-1.0], "learner_mismatch": 0.0,
            "seed": 0,
        }
        for problem, (correct, derived) in enumerate(verdicts)
        for sample in range(2)
    ]  # fmt: skip
    write_part(folder, "rollouts", "rl-0", update, {name: [row[name] for row in rows] for name in rows[0]})
