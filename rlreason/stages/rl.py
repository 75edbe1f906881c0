"""Reinforcement learning: on-policy, group-relative, synchronous. One update reads as one line of calls, top to bottom.

    pick problems -> generate -> score -> advantages -> credit -> learn -> sync -> record

What any of these does is elsewhere; here is their order, their timing, and what a killed stage resumes from.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlreason.algorithms.advantages import rewards_differ
from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.checkpoints import PARTIAL, finish, newest_state, promote
from rlreason.engines.protocols import PolicySettings
from rlreason.errors import CheckpointError, RunFailed, ScoringFailed
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.stages import OnPolicyStage
from rlreason.records.run_folder import read_json, write_json
from rlreason.records.tables import drop_parts_from, write_part
from rlreason.stages.advantages import Assigned, assign
from rlreason.stages.allowance import allowance_of, within_samples
from rlreason.stages.audit import outcome_metrics, step_metrics
from rlreason.stages.batches import padded, policy_batch
from rlreason.stages.context import MODEL, Context
from rlreason.stages.ledger import spent_by_updates
from rlreason.stages.rollouts import complete, rollout_columns, sampling_settings, score
from rlreason.stages.schedule import Schedule
from rlreason.stages.steps import score_steps, scorer_model
from rlreason.stages.updates import UpdateLog
from rlreason.types import Group, Problem

LEARNER = "learner"
LOOP = "loop.json"


class Clock:
    """Seconds by phase of one update; what no phase claims is "other"."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens within."""
        start = time.perf_counter()
        yield
        self._phases[name] = self._phases.get(name, 0.0) + time.perf_counter() - start

    def metrics(self) -> dict[str, float]:
        """seconds, seconds_PHASE for each, and seconds_other."""
        total = time.perf_counter() - self._start
        named = {f"seconds_{name}": seconds for name, seconds in self._phases.items()}
        return {"seconds": total, **named, "seconds_other": total - sum(named.values())}


def rewards_of(groups: Sequence[Group]) -> tuple[np.ndarray, np.ndarray]:
    """(rewards [P, G] float with NaN where unscored, scored [P, G] bool).

    Raises:
        ScoringFailed: not one rollout could be scored; names the most frequent cause.
    """
    rewards = np.array(
        [
            [np.nan if rollout.score.reward is None else rollout.score.reward for rollout in group.rollouts]
            for group in groups
        ]
    )
    scored = ~np.isnan(rewards)
    if not scored.any():
        causes = [rollout.score.failure for group in groups for rollout in group.rollouts]
        common = max(set(causes), key=causes.count)
        raise ScoringFailed(
            f"none of {rewards.size} rollouts could be scored; {causes.count(common)} times: {common}. "
            "No step was made; mend the reward and run again (the run resumes)"
        )
    return rewards, scored


@dataclass(frozen=True, slots=True)
class Drawn:
    """The scored groups of an update.

    Attributes:
        groups: P of them, all that were sampled.
        rewards: [P, G] float, NaN where unscored.
        scored: [P, G] bool.
        trained: [K] int, the groups that the update learns from.
    """

    groups: list[Group]
    rewards: np.ndarray
    scored: np.ndarray
    trained: np.ndarray


def draw_groups(
    context: Context, stage: PlannedStage, config: OnPolicyStage, update: int, schedule: Schedule, clock: Clock
) -> Drawn:
    """Problems picked, sampled and scored; with dynamic sampling until enough groups have something to teach."""
    groups: list[Group] = []
    rounds = config.dynamic_sampling.max_rounds if config.dynamic_sampling else 1
    for _ in range(rounds):
        problems = schedule.next(config.prompts_per_update)
        seeds = sample_seeds(stage, update, problems, config.group_size)
        with clock.phase("generate"):
            completions = complete(context, problems, seeds, sampling_settings(config.sampling))
        with clock.phase("score"):
            groups += score_steps(context, stage, score(context, problems, completions))
        rewards, scored = rewards_of(groups)
        differ = rewards_differ(rewards, scored)
        if differ.sum() >= config.prompts_per_update:
            break
    # those with something to teach first, each kind in the order drawn
    order = np.argsort(~differ, kind="stable") if config.dynamic_sampling else np.arange(len(groups))
    return Drawn(groups, rewards, scored, np.sort(order[: config.prompts_per_update]))


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
        )
        step = (update - 1) * config.minibatches + number + 1
        collected.append(context.engines.learner.update(batch, step, on_policy=number == 0))
    names = dict.fromkeys(name for metrics in collected for name in metrics)
    return {name: float(np.mean([metrics[name] for metrics in collected if name in metrics])) for name in names}


def run_update(
    context: Context, stage: PlannedStage, config: OnPolicyStage, update: int, schedule: Schedule
) -> dict[str, float]:
    """One RL step; returns its metrics."""
    clock = Clock()
    drawn = draw_groups(context, stage, config, update, schedule, clock)
    groups, rewards, scored, trained = drawn.groups, drawn.rewards, drawn.scored, drawn.trained
    with clock.phase("learn"):
        chosen = [groups[index] for index in trained]
        assigned = assign(context, chosen, rewards[trained], scored[trained], config)
        learned = learn(context, chosen, assigned, scored[trained], update, config)
    with clock.phase("sync"):
        context.engines.generator.load_weights(context.engines.learner.weights(), policy_version=update)
    advantages, informative = np.zeros(rewards.shape), np.zeros(len(groups), dtype=bool)
    advantages[trained] = assigned.advantages
    informative[trained] = np.abs(assigned.credit).max(axis=(1, 2)) > 0
    columns = rollout_columns(stage.id, update, groups, advantages, learned["mismatch_mean"])
    write_part(context.folder, "rollouts", stage.id, update, columns)
    shown = schedule.observe(groups, rewards, advantages, scored)
    where = {"stage": [stage.id] * len(shown["arm"]), "update": [update] * len(shown["arm"])}
    write_part(context.folder, "curriculum", stage.id, update, {**where, **shown})
    timing = clock.metrics()
    sampled = sum(rollout.completion.sampled_tokens for group in groups for rollout in group.rollouts)
    return {
        **outcome_metrics(groups, rewards, informative),
        **step_metrics(groups, config.step_scorer),
        **learned,
        **timing,
        "sampled_groups": float(len(groups)),
        "completions_per_second": rewards.size / timing["seconds"],
        "generated_tokens_per_second": sampled / timing["seconds_generate"],
        "trained_tokens_per_second": learned["trained_tokens"] * config.minibatches / timing["seconds_learn"],
    }


def sample_seeds(stage: PlannedStage, update: int, problems: Sequence[Problem], group_size: int) -> list[list[int]]:
    """[P][G] seeds that follow from what they are for: order, workers and restarts change none of them."""
    return [
        [derive_seed(stage.seed, stage.id, update, problem.id, sample) for sample in range(group_size)]
        for problem in problems
    ]


def save_state(context: Context, stage: PlannedStage, update: int, schedule: Schedule) -> None:
    """Everything the stage resumes from, as one folder that appears whole."""
    partial = context.state(stage.id).resolve() / f"update-{update:06d}{PARTIAL}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    context.engines.learner.save_state(partial / LEARNER)
    write_json(partial / LOOP, {"stage": stage.id, "update": update, "schedule": schedule.state_dict()})
    promote(partial)


def restore_state(context: Context, stage: PlannedStage, schedule: Schedule) -> tuple[int, Path | None]:
    """(updates done, learner state) of the newest whole state; (0, None) where there is none."""
    newest = newest_state(context.state(stage.id))
    if newest is None:
        return 0, None
    state = read_json(newest / LOOP)
    if state["stage"] != stage.id:
        raise CheckpointError(f"{newest} is the state of stage {state['stage']}, not of {stage.id}; move it away")
    schedule.load_state_dict(state["schedule"])
    return int(state["update"]), newest.resolve() / LEARNER


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
    done, learner_state = restore_state(context, stage, schedule)
    context.progress.stage_started(stage, config.updates, "updates", done)
    for table in ("rollouts", "curriculum"):
        drop_parts_from(context.folder, table, stage.id, done + 1)
    if allowance is not None:
        allowance.take(spent_by_updates(context.folder, stage.id, through=done))
    log = UpdateLog(context.folder, stage.id, config.checkpoint_every)
    learner, generator = context.engines.learner, context.engines.generator
    if stage.scorer is not None:
        assert context.engines.scorer is not None, "started where the recipe has scorers"
        context.engines.scorer.load(scorer_model(context, stage.scorer, stage.seed))
    learner.begin(parent.resolve(), policy_settings(context, stage, config, parent), learner_state)
    try:
        generator.load_weights(learner.weights(), policy_version=done)
        skipped = 0
        for update in range(done + 1, config.updates + 1):
            metrics = run_update(context, stage, config, update, schedule)
            spent = context.meter.take()
            log.add(update, {**metrics, **spent.metrics()})
            skipped = skipped + 1 if metrics["skipped"] == 1 else 0  # a share of the minibatches
            check_skipped(stage, skipped, config.max_skipped)
            context.progress.stage_advanced(stage, update, metrics)
            if allowance is not None and allowance.take(spent):
                break
            if update % config.checkpoint_every == 0 and update < config.updates:
                save_state(context, stage, update, schedule)
        log.flush(update)
        output = (context.folder.stage(stage.id) / f"{MODEL}{PARTIAL}").resolve()
        shutil.rmtree(output, ignore_errors=True)
        learner.save_model(output)
    finally:
        learner.end()
    finish(output)
    shutil.rmtree(context.state(stage.id), ignore_errors=True)
    return {"updates_run": float(update - done)}
