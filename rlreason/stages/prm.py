"""A learned process reward model, from derivations to a judged classifier of steps.

    problems -> derivations of the parent -> steps, labelled -> classifier, trained -> judged on held-out derivations

The label of a step is the verdict of the task's check, or whether the right answer can still be reached after it. How
a classifier trains is the learner's affair, how it is used that of `steps`, and what the figures mean the report's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlreason.algorithms.seeding import derive_seed
from rlreason.curriculum.scheduler import ProblemScheduler
from rlreason.engines.protocols import SamplingSettings, ScorerModel, SupervisedRows
from rlreason.errors import RunFailed
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.scorers import MonteCarloLabels, Prm
from rlreason.records.run_folder import replacing
from rlreason.records.schema import STEPS
from rlreason.records.tables import write_part
from rlreason.stages.context import Context
from rlreason.stages.ledger import keep_spending
from rlreason.stages.rollouts import complete, sampling_settings, score
from rlreason.stages.schedule import sources_of
from rlreason.stages.steps import step_batch, step_tokens, symbolic_scores
from rlreason.stages.supervised import IGNORED, fill_rows, shuffled, train_rows
from rlreason.tasks.sampling import sample
from rlreason.types import Problem, Rollout

ROWS = "rows.npz"
BLOCK_PROBLEMS = 256
"""Problems whose derivations are asked for together."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A derivation with a label a step.

    Attributes:
        ends: [S] int, tokens of the completion up to each step's end.
        right: [S] bool.
    """

    rollout: Rollout
    ends: np.ndarray
    right: np.ndarray


def derive(context: Context, stage: PlannedStage, problems: Sequence[Problem], purpose: str) -> list[Rollout]:
    """Derivations of the problems by what the generator serves, checked; those without a step are left out."""
    config = _config(stage)
    found: list[Rollout] = []
    for at in range(0, len(problems), BLOCK_PROBLEMS):
        block = problems[at : at + BLOCK_PROBLEMS]
        seeds = [
            [derive_seed(stage.seed, stage.id, purpose, problem.id, number) for number in range(config.samples)]
            for problem in block
        ]
        groups = score(context, block, complete(context, block, seeds, sampling_settings(config.sampling)))
        found += [rollout for group in groups for rollout in group.rollouts if rollout.score.steps]
    return found


def label(context: Context, stage: PlannedStage, rollouts: Sequence[Rollout]) -> list[Labelled]:
    """The label of every step, by the recipe's rule."""
    labels = _config(stage).labels
    spans = [step_tokens(context.codec, rollout, symbolic_scores(rollout)) for rollout in rollouts]
    if isinstance(labels, MonteCarloLabels):
        right = _reachable(context, stage, rollouts, [ends for _, ends in spans], labels.rollouts)
    else:
        right = [np.array([step.verdict == "right" for step in rollout.score.steps]) for rollout in rollouts]
    return [Labelled(*each) for each in zip(rollouts, (ends for _, ends in spans), right, strict=True)]


def _reachable(
    context: Context, stage: PlannedStage, rollouts: Sequence[Rollout], ends: Sequence[np.ndarray], count: int
) -> list[np.ndarray]:
    """For each step, whether any of `count` completions that go on after it ends in the right answer."""
    settings = sampling_settings(_config(stage).sampling)
    right = [np.zeros(len(own), dtype=bool) for own in ends]
    places = [(index, step) for index, own in enumerate(ends) for step in range(len(own))]
    block = max(1, BLOCK_PROBLEMS * _config(stage).samples // count)
    for at in range(0, len(places), block):
        asked = places[at : at + block]
        prefixes = [(rollouts[index], int(ends[index][step]), step) for index, step in asked]
        scores = context.pool.score(_go_on(context, stage, prefixes, count, settings))
        for number, (index, step) in enumerate(asked):
            right[index][step] = any(each.correct for each in scores[number * count : (number + 1) * count])
    return right


def _go_on(
    context: Context,
    stage: PlannedStage,
    prefixes: Sequence[tuple[Rollout, int, int]],
    count: int,
    settings: SamplingSettings,
) -> list[tuple[Problem, str]]:
    """(problem, whole text) of `count` completions that go on after each prefix (rollout, tokens kept, step)."""
    prompts, kept, seeds = [], [], []
    for rollout, end, step in prefixes:
        done = rollout.completion
        for number in range(count):
            prompts.append(np.concatenate([done.prompt_tokens, done.tokens[:end]]))
            kept.append((rollout.problem, done.tokens[:end]))
            seeds.append(derive_seed(stage.seed, stage.id, "go on", rollout.problem.id, rollout.sample, step, number))
    samples = context.engines.generator.generate(prompts, seeds, settings).split()
    texts = context.codec.decode(
        [np.concatenate([start, more]) for (_, start), (more, _) in zip(kept, samples, strict=True)]
    )
    return [(problem, text) for (problem, _), text in zip(kept, texts, strict=True)]


def build_step_rows(context: Context, stage: PlannedStage, derivations: Sequence[Labelled]) -> SupervisedRows:
    """Packed rows of the derivations, shuffled again in every pass over them."""
    config = _config(stage)
    random = np.random.default_rng(derive_seed(stage.seed, stage.id, "rows"))
    tokens, labels = [], []
    for each in derivations:
        done = each.rollout.completion
        tokens.append(np.concatenate([done.prompt_tokens, done.tokens]))
        label = np.full(len(tokens[-1]), IGNORED, dtype=np.int32)
        label[len(done.prompt_tokens) + each.ends - 1] = each.right
        labels.append(label)
    return fill_rows(shuffled(tokens, labels, random), config.updates * config.batch_rows, config.row_tokens)


def training_rows(context: Context, stage: PlannedStage, parent: Path) -> SupervisedRows:
    """The rows of the stage: made once and kept with its state, so that a resumed stage trains the same.

    Raises:
        RunFailed: the derivations have no steps, or all their steps have one label.
    """
    config = _config(stage)
    kept = context.folder.stage(stage.id) / ROWS
    if kept.exists():
        with np.load(kept) as arrays:
            return SupervisedRows(**arrays)
    random = np.random.default_rng(derive_seed(stage.seed, stage.id, "problems"))
    problems = ProblemScheduler(context.tasks, sources_of(context.tasks, config.data), random).next(config.problems)
    context.engines.generator.load_checkpoint(parent.resolve(), policy_version=0)
    derivations = label(context, stage, derive(context, stage, problems, "derivations"))
    steps = np.concatenate([each.right for each in derivations]) if derivations else np.zeros(0, dtype=bool)
    if not steps.any() or steps.all():
        raise RunFailed(
            f"scorer {stage.name!r}: of {len(steps)} steps in {config.problems * config.samples} derivations "
            f"{int(steps.sum())} are right, so there is nothing to tell apart; have another arm write the derivations "
            "(`after`), or raise `problems` or sampling.temperature"
        )
    rows = build_step_rows(context, stage, derivations)
    keep_spending(context, stage, "derivations")
    with replacing(kept) as temporary, temporary.open("wb") as stream:
        np.savez(stream, tokens=rows.tokens, labels=rows.labels, positions=rows.positions)
    return rows


def judge(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Score held-out derivations of every evaluation level, and record each step beside the task's verdict."""
    config, evaluation = _config(stage), context.recipe.evaluation
    task = context.task(evaluation.task)
    cells = [cell.name for cell in task.match_cells(evaluation.cells)]
    assert context.engines.scorer is not None, "started where the recipe has scorers"
    context.engines.generator.load_checkpoint(parent.resolve(), policy_version=0)
    context.engines.scorer.load(ScorerModel("learned", (context.checkpoint(stage.id).resolve(),)))
    found: list[tuple[object, ...]] = []
    for level in evaluation.levels:
        problems = sample(task, level, cells, config.held_out_problems)
        rollouts = derive(context, stage, problems, "held out")
        scores = iter(context.engines.scorer.score(step_batch(context.codec, rollouts)).tolist() if rollouts else [])
        found += [
            (stage.id, level, rollout.problem.id, rollout.sample, number, step.verdict, step.kind, next(scores))
            for rollout in rollouts
            for number, step in enumerate(rollout.score.steps)
        ]
    columns = dict(zip(STEPS.names, zip(*found, strict=True), strict=True)) if found else dict.fromkeys(STEPS.names, ())
    keep_spending(context, stage, "held out")
    write_part(context.folder, "steps", stage.id, 0, columns)
    agreed = [
        (verdict == "right") == (paid >= 0.5)
        for verdict, paid in zip(columns["verdict"], columns["score"], strict=True)
    ]
    return {"held_out_steps": float(len(found)), "step_accuracy": float(np.mean(agreed)) if agreed else float("nan")}


def run_prm(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Train and judge a step scorer on derivations of the checkpoint `parent`; returns closing figures."""
    config = _config(stage)
    context.progress.stage_started(stage, config.updates, "updates", 0)
    figures: Mapping[str, float] = {}
    if not context.checkpoint(stage.id).exists():
        rows = training_rows(context, stage, parent)
        figures = {"right_steps": float((rows.labels == 1).sum() / (rows.labels != IGNORED).sum())}
        figures = {**figures, **train_rows(context, stage, parent, rows)}
        (context.folder.stage(stage.id) / ROWS).unlink()
    return {**figures, **judge(context, stage, parent)}


def _config(stage: PlannedStage) -> Prm:
    assert isinstance(stage.config, Prm)
    return stage.config
