"""What similarity alone achieves on the problems of the evaluation: one interpolator, fitted, asked and recorded.

A control beside the arms, run once: it sees problems, never a checkpoint, so it is the same for all arms and seeds.
Its answers are records like those of an evaluation, one greedy row a problem. The interpolators themselves are in
`tasks.interpolation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.schema import Evaluation
from rlreason.records.tables import write_part
from rlreason.stages.context import Context
from rlreason.stages.evaluate import GREEDY, Asked, asked, write_problems
from rlreason.stages.rollouts import scored_columns
from rlreason.tasks.interpolation import interpolate, is_right
from rlreason.tasks.sampling import sample
from rlreason.types import Completion, Problem, Rollout, Score


def run_interpolate(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Fit the stage's interpolator on training problems of the cells that are asked, and record what it answers."""
    config = stage.config
    assert isinstance(config, Evaluation) and config.interpolation is not None
    (method,) = config.interpolation.methods
    task = context.task(config.task)
    items = asked(context, config)
    context.progress.stage_started(stage, len(items), "problems", 0)
    write_problems(context, stage, items)
    rollouts: list[Rollout] = []
    in_order: list[Asked] = []
    fitted = 0
    for patterns, own in by_cells(config, items).items():
        cells = [cell.name for cell in task.match_cells(patterns)]
        trained = sample(task, "train", cells, config.interpolation.train_problems)
        problems = [item.problem for item in own]
        answers = interpolate(trained, problems, [method], stage.seed)[method]
        rollouts += [_answered(*pair, stage.seed) for pair in zip(problems, answers, strict=True)]
        in_order += own
        fitted += len(trained)
        right = [bool(rollout.score.correct) for rollout in rollouts]
        context.progress.stage_advanced(stage, len(rollouts), {"correct": float(np.mean(right))})
    write_part(
        context.folder,
        "evaluations",
        stage.id,
        0,
        {
            **scored_columns(stage.id, rollouts),
            "level": [item.level for item in in_order],
            "probe": [item.probe for item in in_order],
            "greedy": [True] * len(rollouts),
        },
    )
    return {"problems": float(len(items)), "train_problems": float(fitted)}


def by_cells(config: Evaluation, items: Sequence[Asked]) -> dict[tuple[str, ...], list[Asked]]:
    """Patterns of cells -> what is asked of them: each has an interpolator fitted on the training problems there."""
    patterns = {True: {name: probe.cells for name, probe in config.probes.items()}, False: {}}
    found: dict[tuple[str, ...], list[Asked]] = {}
    for item in items:
        found.setdefault(patterns[item.probe].get(item.level, config.cells), []).append(item)
    return found


def _answered(problem: Problem, answer: str, seed: int) -> Rollout:
    """An answer in the form of a completion, without tokens."""
    tokens, logprobs = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    completion = Completion(tokens, tokens, logprobs, answer, "stop", policy_version=0, seed=seed)
    return Rollout(problem, GREEDY, completion, Score(None, correct=is_right(problem, answer), answer=answer))
