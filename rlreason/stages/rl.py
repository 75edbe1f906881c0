"""Reinforcement learning: group-relative, from rollouts as they come. One update reads as one line of calls.

    take rollouts (pick problems -> generate -> score) -> advantages -> credit -> learn -> sync -> record

Rollouts come from a source: drawn by turns with the learning (`sources`), or ahead of it (`pipeline`). What any of
these does is elsewhere; here is their order, their timing, and what a killed stage resumes from.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.checkpoints import PARTIAL, finish, partial_of, state_name, whole_state, writing
from rlreason.engines.protocols import PolicySettings
from rlreason.errors import RunFailed
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.stages import OnPolicyStage
from rlreason.records.run_folder import read_json, write_json
from rlreason.records.tables import drop_parts_from, write_part
from rlreason.stages.advantages import Assigned, assign
from rlreason.stages.allowance import allowance_of, within_samples
from rlreason.stages.audit import outcome_metrics, step_metrics
from rlreason.stages.batches import padded, policy_batch
from rlreason.stages.context import MODEL, Context
from rlreason.stages.draws import Clock
from rlreason.stages.kept_models import KeptModels
from rlreason.stages.ledger import keep_spending, spent_by_updates
from rlreason.stages.pipeline import Pipeline, timeline_columns
from rlreason.stages.rollouts import rollout_columns
from rlreason.stages.schedule import Schedule
from rlreason.stages.sources import Batch, Outcome, RolloutSource, TurnByTurn
from rlreason.stages.spares import read_spares, write_spares
from rlreason.stages.steps import scorer_model
from rlreason.stages.updates import UpdateLog
from rlreason.types import Group

LOOP = "loop.json"


def learn(
    context: Context,
    groups: Sequence[Group],
    assigned: Assigned,
    scored: np.ndarray,
    update: int,
    config: OnPolicyStage,
) -> dict[str, float]:
    """The optimizer updates of one batch of rollouts; metrics are averaged over those that have them."""
    proximal = None
    if config.correction is not None and config.minibatches > 1:
        whole = policy_batch(groups, assigned.credit, scored, config)
        proximal = padded(context.engines.learner.figures(whole).logprobs, whole.lengths).reshape(assigned.credit.shape)
    collected = []
    for number, cut in enumerate(np.array_split(np.arange(len(groups)), config.minibatches)):
        batch = policy_batch(
            [groups[index] for index in cut],
            assigned.credit[cut],
            scored[cut],
            config,
            returns=None if assigned.returns is None else assigned.returns[cut],
            proximal_logprobs=None if proximal is None else proximal[cut],
            version=None if config.asynchrony is None else update - 1,
        )
        step = (update - 1) * config.minibatches + number + 1
        on_policy = number == 0 and (batch.current is None or bool(batch.current.any()))
        collected.append(context.engines.learner.update(batch, step, on_policy=on_policy))
    names = dict.fromkeys(name for metrics in collected for name in metrics)
    return {name: float(np.mean([metrics[name] for metrics in collected if name in metrics])) for name in names}


def run_update(
    context: Context, stage: PlannedStage, config: OnPolicyStage, update: int, source: RolloutSource
) -> dict[str, float]:
    """One RL step; returns its metrics."""
    clock = Clock()
    batch = source.take(update, clock)
    drawn = batch.drawn
    groups, rewards, scored, trained = drawn.groups, drawn.rewards, drawn.scored, drawn.trained
    with clock.phase("learn"):
        chosen = [groups[index] for index in trained]
        assigned = assign(context, chosen, rewards[trained], scored[trained], config)
        learned = learn(context, chosen, assigned, scored[trained], update, config)
    with clock.phase("sync"):
        source.serve(update, context.engines.learner.weights())
    advantages, informative = np.zeros(rewards.shape), np.zeros(len(groups), dtype=bool)
    advantages[trained] = assigned.advantages
    informative[trained] = np.abs(assigned.credit).max(axis=(1, 2)) > 0
    columns = rollout_columns(stage.id, update, groups, advantages, learned["mismatch_mean"])
    write_part(context.folder, "rollouts", stage.id, update, columns)
    source.observe(Outcome(update, drawn, advantages))
    timing = clock.metrics()
    if config.asynchrony is not None:
        spans = timeline_columns(stage.id, update, [*batch.spans, *clock.spans])
        write_part(context.folder, "timeline", stage.id, update, spans)
    sampled = sum(rollout.completion.sampled_tokens for group in groups for rollout in group.rollouts)
    return {
        **outcome_metrics(groups, rewards, informative),
        **step_metrics(groups, config.step_scorer),
        **learned,
        **timing,
        "sampled_groups": float(len(groups)),
        "completions_per_second": rewards.size / timing["seconds"],
        "generated_tokens_per_second": sampled / drawn.generate_s,
        "trained_tokens_per_second": learned["trained_tokens"] * config.minibatches / timing["seconds_learn"],
        **batch.figures,
    }


def save_state(
    context: Context,
    stage: PlannedStage,
    config: OnPolicyStage,
    update: int,
    spare: Mapping[int, Batch],
    loop: Mapping[str, Any],
) -> None:
    """Everything the stage resumes from, as one folder that appears whole, written while the stage goes on.

    Args:
        spare: rollouts that are sampled for later updates.
        loop: what this loop itself goes on from, as `restore_state` returns it.
    """
    folder = context.state(stage.id).resolve() / state_name(update)
    partial = partial_of(folder)
    with writing(partial):
        write_spares(partial, spare)
        write_json(partial / LOOP, loop)
    about = {"recipe": context.recipe.name, "stage": stage.id, "update": update}
    context.engines.learner.save_state(folder, about, config.keep_last)


def restore_state(context: Context, stage: PlannedStage) -> tuple[int, Mapping[str, Any], Path | None]:
    """(updates done, `loop` of `save_state`, folder) of the newest whole state; (0, {}, None) without one."""
    saved = whole_state(context.state(stage.id).resolve(), stage.id, context.progress.note)
    if saved is None:
        return 0, {}, None
    before, now = saved.about["ranks"], context.recipe.resources.learners
    if before != now:
        context.progress.note(
            f"{saved.folder.name} was saved by {before} learner rank(s), and {now} go on with it: sums are added in "
            "another order, so the updates may differ in their last digits"
        )
    return int(saved.about["update"]), read_json(saved.folder / LOOP), saved.folder


def source_of(
    context: Context,
    stage: PlannedStage,
    config: OnPolicyStage,
    schedule: Schedule,
    done: int,
    spare: Mapping[int, Batch],
) -> RolloutSource:
    """Where the updates after `done` get their rollouts from; `spare` are those that were drawn for them already."""
    weights = context.engines.learner.weights()
    if config.asynchrony is not None:
        return Pipeline(context, stage, config, config.asynchrony, schedule, done=done, weights=weights, spare=spare)
    context.engines.generator.load_weights(weights, policy_version=done)
    return TurnByTurn(context, stage, config, schedule)


def policy_settings(context: Context, stage: PlannedStage, config: OnPolicyStage, parent: Path) -> PolicySettings:
    """What the learner needs to know of the stage."""
    reference = parent if config.reference_arm is None else context.model(stage.reference, stage.seed)
    return PolicySettings(
        optimizer=config.optimizer,
        loss=config.loss,
        updates=config.updates * config.minibatches,
        temperature=config.sampling.temperature,
        top_p=config.sampling.top_p,
        kl=config.kl,
        reference=reference.resolve() if config.kl else None,
        entropy_weight=config.entropy_weight,
        correction=config.correction,
        critic=config.critic,
        lora=config.lora,
        mismatch_tolerance=config.mismatch_tolerance,
        seed=derive_seed(stage.seed, stage.id, "learner") % 2**31,
    )


def check_skipped(stage: PlannedStage, skipped: int, most: int) -> None:
    """
    Raises:
        RunFailed: more updates in a row than `most` made no step.
    """
    if skipped > most:
        raise RunFailed(
            f"stage {stage.name!r}: the loss of {skipped} updates in a row was not a number, so that none made a step; "
            f"lower the learning rate or look for extreme rewards, then run again (max_skipped {most})"
        )


def run_rl(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Run an `rl` or `distill` stage from the checkpoint `parent`; returns its closing figures."""
    assert isinstance(stage.config, OnPolicyStage)
    allowance = allowance_of(context, stage)
    config = within_samples(stage.config, allowance)
    random = np.random.default_rng(derive_seed(stage.seed, stage.id, "curriculum"))
    schedule = Schedule(context.tasks, config, random)
    done, loop, state = restore_state(context, stage)
    if state is not None:
        schedule.load_state_dict(loop["schedule"])
    skipped = loop.get("skipped", 0)  # updates in a row, up to this one, that made no step
    kept = KeptModels(context, stage, config, loop.get("rewards", ()))
    context.progress.stage_started(stage, config.updates, "updates", done)
    for table in ("rollouts", "curriculum", "timeline"):
        drop_parts_from(context.folder, table, stage.id, done + 1)
    if allowance is not None:
        allowance.take(spent_by_updates(context.folder, stage.id, through=done))
    log = UpdateLog(context.folder, stage.id, config.checkpoint_every)
    learner = context.engines.learner
    if stage.scorer is not None:
        assert context.engines.scorer is not None, "started where the recipe has scorers"
        context.engines.scorer.load(scorer_model(context, stage.scorer, stage.seed))
    spare = read_spares(state) if state is not None else {}
    learner.begin(parent.resolve(), policy_settings(context, stage, config, parent), state)
    try:
        with source_of(context, stage, config, schedule, done, spare) as source:
            for update in range(done + 1, config.updates + 1):
                metrics = run_update(context, stage, config, update, source)
                spent = context.meter.take()
                log.add(update, {**metrics, **spent.metrics()})
                skipped = skipped + 1 if metrics["skipped"] == 1 else 0  # a share of the minibatches
                check_skipped(stage, skipped, config.max_skipped)
                context.progress.stage_advanced(stage, update, metrics)
                if allowance is not None and allowance.take(spent):
                    break
                kept.add(update, metrics["reward_mean"])
                if update % config.checkpoint_every == 0 and update < config.updates:
                    spare = source.settle()  # the schedule is asked at rest
                    loop = {"schedule": schedule.state_dict(), "skipped": skipped, "rewards": kept.rewards}
                    save_state(context, stage, config, update, spare, loop)
                source.release()
        if config.asynchrony is not None:
            keep_spending(context, stage, "rollouts that no update took")
        log.flush(update)
        output = (context.folder.stage(stage.id) / f"{MODEL}{PARTIAL}").resolve()
        shutil.rmtree(output, ignore_errors=True)
        learner.save_model(output)
    finally:
        learner.end()
    finish(output)
    shutil.rmtree(context.state(stage.id), ignore_errors=True)
    return {"updates_run": float(update - done)}
