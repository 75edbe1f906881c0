"""What a checkpoint can do: every level and probe, one greedy and S sampled completions a problem, each recorded.

Statistics are the report's; here is only the asking. Blocks of problems are recorded as they finish, so a killed
evaluation goes on at its next block.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.protocols import SamplingSettings
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.schema import Evaluation
from rlreason.records.tables import part_numbers, write_part
from rlreason.stages.context import Context
from rlreason.stages.ledger import keep_spending
from rlreason.stages.rollouts import complete, sampling_settings, score, scored_columns
from rlreason.tasks.contract import Task
from rlreason.tasks.sampling import sample
from rlreason.types import Problem, Rollout

BLOCK_COMPLETIONS = 2048
"""Completions asked for together: enough to keep an engine's batch full, little enough to lose."""
GREEDY = -1


@dataclass(frozen=True, slots=True)
class Asked:
    """A problem and the level, or probe, it is asked for."""

    problem: Problem
    level: str
    probe: bool


def asked(context: Context, config: Evaluation) -> list[Asked]:
    """Every problem of the evaluation, level by level, then the probes."""
    task = context.task(config.task)
    cells = [cell.name for cell in task.match_cells(config.cells)]
    found = [
        Asked(problem, level, probe=False)
        for level in config.levels
        for problem in sample(task, level, cells, config.problems)
    ]
    for name, probe in config.probes.items():
        cells = [cell.name for cell in task.match_cells(probe.cells)]
        found += [Asked(problem, name, probe=True) for problem in sample(task, probe.level, cells, probe.problems)]
    return found


def blocks(items: Sequence[Asked], completions_each: int) -> Iterator[tuple[int, Sequence[Asked]]]:
    """(number from 0, the block's problems)."""
    size = max(1, BLOCK_COMPLETIONS // completions_each)
    for number, at in enumerate(range(0, len(items), size)):
        yield number, items[at : at + size]


def run_block(context: Context, stage: PlannedStage, config: Evaluation, items: Sequence[Asked]) -> list[Rollout]:
    """Greedy and sampled completions of a block, scored."""
    problems = [item.problem for item in items]
    drawn = sampling_settings(config.sampling)
    greedy = SamplingSettings(0.0, 1.0, config.sampling.max_new_tokens)
    seeds = [
        [derive_seed(stage.seed, stage.id, problem.id, number) for number in range(config.samples)]
        for problem in problems
    ]
    first = complete(context, problems, [[0]] * len(problems), greedy)
    sampled = complete(context, problems, seeds, drawn)
    groups = [
        *score(context, problems, first, first_sample=GREEDY),
        *score(context, problems, sampled),
    ]
    return [rollout for group in groups for rollout in group.rollouts]


def write_problems(context: Context, stage: PlannedStage, items: Sequence[Asked]) -> None:
    """The problems table of the evaluation."""
    task = context.task(stage.config.task)  # type: ignore[union-attr]
    difficulty = {cell.name: cell.difficulty for cell in task.cells}
    unique = {item.problem.id: item for item in items}.values()
    write_part(
        context.folder,
        "problems",
        stage.id,
        0,
        {
            "stage": [stage.id] * len(unique),
            "problem": [item.problem.id for item in unique],
            "task": [item.problem.task for item in unique],
            "cell": [item.problem.cell for item in unique],
            "difficulty": [difficulty[item.problem.cell] for item in unique],
            "level": [item.level for item in unique],
            "prompt": [item.problem.prompt for item in unique],
            "answer": [item.problem.answer for item in unique],
            "target": [item.problem.target for item in unique],
            "detail": [json.dumps(_detail(task, item.problem)) for item in unique],
            "chance": [task.chance(item.problem.level, item.problem.cell) for item in unique],
        },
    )


def _detail(task: Task, problem: Problem) -> dict[str, Any]:
    """The problem's own, and how many steps its gold derivation has: by it reports place errors and see shortcuts."""
    return {**problem.detail, "gold_steps": len(task.check(problem, problem.target).steps)}


def write_trained_paths(context: Context, stage: PlannedStage, items: Sequence[Asked]) -> None:
    """The trained_paths table of the evaluation."""
    task = context.task(stage.config.task)  # type: ignore[union-attr]
    cells = dict.fromkeys(item.problem.cell for item in items)
    rows = [(cell, path) for cell in cells for path in sorted(task.trained_paths(cell) or ())]
    write_part(
        context.folder,
        "trained_paths",
        stage.id,
        0,
        {
            "stage": [stage.id] * len(rows),
            "task": [task.name] * len(rows),
            "cell": [cell for cell, _ in rows],
            "path": [list(path) for _, path in rows],
        },
    )


def run_evaluate(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Evaluate the checkpoint `parent`; returns closing figures."""
    config = stage.config
    assert isinstance(config, Evaluation)
    items = asked(context, config)
    recorded = set(part_numbers(context.folder, "evaluations", stage.id))
    todo = list(blocks(items, config.samples + 1))
    done = sum(len(block) for number, block in todo if number in recorded)
    context.progress.stage_started(stage, len(items), "problems", done)
    write_problems(context, stage, items)
    write_trained_paths(context, stage, items)
    context.engines.generator.load_checkpoint(parent.resolve(), policy_version=0)
    right: list[bool] = []
    for number, block in todo:
        if number in recorded:
            continue
        rollouts = run_block(context, stage, config, block)
        of = {item.problem.id: item for item in block}
        keep_spending(context, stage, f"block {number}")
        write_part(
            context.folder,
            "evaluations",
            stage.id,
            number,
            {
                **scored_columns(stage.id, rollouts),
                "level": [of[rollout.problem.id].level for rollout in rollouts],
                "probe": [of[rollout.problem.id].probe for rollout in rollouts],
                "greedy": [rollout.sample == GREEDY for rollout in rollouts],
            },
        )
        done += len(block)
        right += [bool(rollout.score.correct) for rollout in rollouts if rollout.sample == GREEDY]
        context.progress.stage_advanced(stage, done, {"correct": float(np.mean(right))})
    return {"problems": float(len(items)), "completions": float(len(items) * (config.samples + 1))}
