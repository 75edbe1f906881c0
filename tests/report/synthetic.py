"""A finished run with known counts, written the way stages write: two arms that share a first stage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlreason.records import RunFolder, read_json, write_json, write_part

HOSTILE = '</script><img src=x onerror="document.title=1"> a & b'


@dataclass(frozen=True)
class Counts:
    """What an arm did on a level. The first problems are the right ones.

    greedy_right: of the problems, those the greedy completion answers.
    steps_wrong: of those, how many (the first ones) have steps that are not right.
    sampled_right: of each problem's samples, how many are right, a list over problems.
    unscored: greedy completions, from the last problem backwards, without a verdict.
    """

    greedy_right: int
    sampled_right: list[int]
    steps_wrong: int = 0
    unscored: int = 0


def completion(stage: str, level: str, probe: bool, problem: int, sample: int, verdict: tuple) -> dict[str, Any]:
    correct, derivation_correct = verdict
    text = "Ann 's boss is Bob . So, the answer is: Bob"
    steps = [{"start": 0, "end": 20, "verdict": "right" if derivation_correct else "wrong",
              "kind": "" if derivation_correct else "context_hop", "score": 1.0}]  # fmt: skip
    return {
        "stage": stage, "problem": f"{level}/{problem}", "cell": "complementary/2", "sample": sample,
        "text": text + (HOSTILE if problem == 0 else ""), "tokens": 12, "finish_reason": "stop", "logprob": -1.0,
        "policy_version": 1, "correct": correct, "derivation_correct": derivation_correct, "answer": "Bob",
        "first_error": None if derivation_correct else 0,
        "first_error_kind": "" if derivation_correct else "context_hop", "steps": json.dumps(steps),
        "failure": "" if correct is not None else "PluginTimeout: took over 5 s", "level": level, "probe": probe,
        "greedy": sample < 0,
    }  # fmt: skip


def as_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def write_evaluation(
    folder: RunFolder, stage: str, levels: dict[str, Counts], probes: dict[str, Counts] | None = None
) -> None:
    """The records and done.json of one evaluation."""
    rows, problems = [], []
    for probe, asked in ((False, levels), (True, probes or {})):
        for level, counts in asked.items():
            count = len(counts.sampled_right)
            for problem in range(count):
                asked_problem = {
                    "stage": stage, "problem": f"{level}/{problem}", "task": "people", "cell": "complementary/2",
                    "difficulty": 2, "level": "iid" if probe else level, "prompt": f"Who is it? <b>{problem}</b>",
                    "answer": "Bob", "target": "Ann 's boss is Bob .", "detail": "{}", "chance": 0.125,
                }  # fmt: skip
                problems.append(asked_problem)
                right: bool | None = problem < counts.greedy_right
                if problem >= count - counts.unscored:
                    right = None
                steps_right = None if right is None else right and problem >= counts.steps_wrong
                rows.append(completion(stage, level, probe, problem, -1, (right, steps_right)))
                for sample in range(SAMPLES):
                    verdict = sample < counts.sampled_right[problem]
                    rows.append(completion(stage, level, probe, problem, sample, (verdict, verdict)))
    write_part(folder, "evaluations", stage, 0, as_columns(rows))
    write_part(folder, "problems", stage, 0, as_columns(problems))
    folder.mark_done(stage, {"seconds": 3.0, "completed": "2025-01-01T00:00:20+00:00"})


SAMPLES = 4


def write_updates(folder: RunFolder, stage: str, metrics: dict[str, list[float]]) -> None:
    rows = [
        {"stage": stage, "update": update, "metric": metric, "value": value}
        for metric, values in metrics.items()
        for update, value in enumerate(values, start=1)
    ]
    write_part(folder, "updates", stage, 1, as_columns(rows))


def write_plan(folder: RunFolder, seeds: tuple[int, ...] = (0,)) -> None:
    """Arms sft (atomic) and sft_rl (atomic, rl) on levels iid and zero_shot and the probe contextual."""
    stages: dict[str, Any] = {}
    arms: dict[str, Any] = {"sft": {"title": "SFT only", "seeds": {}}, "sft_rl": {"title": "", "seeds": {}}}
    for seed in seeds:
        sft, rl = f"sft-{seed}", f"rl-{seed}"
        both, one = ["sft", "sft_rl"], ["sft_rl"]
        stages[sft] = {"name": "atomic", "type": "sft", "seed": seed, "parent": None,
                       "config": {"updates": 20}, "arms": both}  # fmt: skip
        stages[rl] = {"name": "rl", "type": "rl", "seed": seed, "parent": sft, "config": {"updates": 20}, "arms": one}
        for parent, arm, chain in ((sft, "sft", [sft]), (rl, "sft_rl", [sft, rl])):
            evaluation = f"evaluate-{parent}"
            stages[evaluation] = {"name": "evaluate", "type": "evaluate", "seed": seed, "parent": parent,
                                  "config": {}, "arms": [arm]}  # fmt: skip
            arms[arm]["seeds"][str(seed)] = {"stages": chain, "evaluation": evaluation}
    evaluation_config = {"levels": ["iid", "zero_shot"], "probes": ["contextual"], "k": [1, 2, 4], "samples": SAMPLES}
    write_json(folder.plan_path, {"arms": arms, "stages": stages, "evaluation": evaluation_config})
    write_json(
        folder.manifest_path,
        {
            "recipe": "tiny", "description": "a made-up run", "rlreason": "0.1.0", "versions": {"ray": "2.60.0"},
            "git_commit": "0123abc", "git_dirty": False, "hardware": {"cores": 2}, "seeds": list(seeds),
            "started": "2025-01-01T00:00:00+00:00", "finished": "2025-01-01T00:01:40+00:00",
            "command": "rlreason run tiny",
        },
    )  # fmt: skip


def add_arm(folder: RunFolder, arm: str, base: str | None, stage: str) -> None:
    """An arm that trains one more stage than its base, under the same seeds; its identities end in the seed."""
    plan = read_json(folder.plan_path)
    plan["arms"][arm] = {"title": "", "seeds": {}}
    for seed in plan["arms"]["sft"]["seeds"]:
        before = plan["arms"][base]["seeds"][seed]["stages"] if base else []
        identity, evaluation = f"{stage}-{seed}", f"evaluate-{stage}-{seed}"
        plan["stages"][identity] = {"name": stage, "type": "rl" if base else "sft", "seed": int(seed),
                                    "parent": before[-1] if before else None, "arms": [arm]}  # fmt: skip
        plan["stages"][evaluation] = {"name": "evaluate", "type": "evaluate", "seed": int(seed), "parent": identity}
        plan["arms"][arm]["seeds"][seed] = {"stages": [*before, identity], "evaluation": evaluation}
    write_json(folder.plan_path, plan)


def write_training(folder: RunFolder, seed: int = 0) -> None:
    """20 updates of each stage. Loss falls from 2.0 by 0.1 an update; reward is 0.0 ten times, then 1.0 ten times."""
    write_updates(folder, f"sft-{seed}", {"loss": [2.0 - 0.1 * update for update in range(20)]})
    folder.mark_done(f"sft-{seed}", {"seconds": 10.0, "completed": "2025-01-01T00:00:10+00:00", "tokens": 1000})
    seconds = {"seconds_generate": [3.0] * 20, "seconds_learn": [1.0] * 20, "seconds_other": [0.0] * 20}
    reward = {"reward_mean": [0.0] * 10 + [1.0] * 10, "correct_mean": [0.5] * 20, "entropy": [float("nan")] * 20}
    write_updates(folder, f"rl-{seed}", reward | seconds)
    folder.mark_done(f"rl-{seed}", {"seconds": 80.0, "completed": "2025-01-01T00:01:30+00:00"})


WEAK = {"iid": Counts(5, [4] * 5 + [0] * 5, steps_wrong=2, unscored=1), "zero_shot": Counts(1, [1, 0, 0, 0] + [0] * 6)}
STRONG = {"iid": Counts(10, [4] * 10), "zero_shot": Counts(9, [2] * 10)}
ATOMIC = {"contextual": Counts(4, [4] * 4)}


def finished_run(path: Path) -> RunFolder:
    """The whole of it: 10 problems a level, 4 samples each, 4 problems of the probe."""
    folder = RunFolder(path)
    write_plan(folder)
    write_training(folder)
    write_evaluation(folder, "evaluate-sft-0", WEAK, ATOMIC)
    write_evaluation(folder, "evaluate-rl-0", STRONG, ATOMIC)
    return folder
