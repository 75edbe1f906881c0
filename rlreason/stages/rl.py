"""Reinforcement learning: on-policy, group-relative, synchronous. One update reads as one line of calls, top to bottom.

    pick problems -> generate -> score -> advantages -> credit -> learn -> sync -> record

What any of these does is elsewhere; here is their order, their timing, and what a killed stage resumes from.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rlreason.algorithms.advantages import group_relative_advantages
from rlreason.algorithms.losses import token_weights
from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.checkpoints import PARTIAL, finish, newest_state, promote
from rlreason.engines.protocols import PolicyBatch, PolicySettings
from rlreason.errors import CheckpointError, ScoringFailed
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.stages import Rl
from rlreason.records.run_folder import read_json, write_json
from rlreason.records.tables import drop_parts_from, write_part
from rlreason.stages.audit import outcome_metrics, step_metrics
from rlreason.stages.context import MODEL, Context
from rlreason.stages.rollouts import complete, rollout_columns, sampling_settings, score
from rlreason.stages.schedule import Schedule
from rlreason.stages.steps import score_steps, scorer_model, token_credit
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


def policy_batch(groups: Sequence[Group], credit: np.ndarray, scored: np.ndarray, config: Rl) -> PolicyBatch:
    """The rollouts of an optimizer update as one flat batch. Unscored rollouts carry weight 0.

    Args:
        credit: [P, G, T], the advantage of each token, padded behind a completion's last.
        scored: [P, G].
    """
    completions = [rollout.completion for group in groups for rollout in group.rollouts]
    lengths = np.array([len(completion.tokens) for completion in completions], dtype=np.int32)
    weights = token_weights(
        np.where(scored.reshape(-1), lengths, 0), config.loss.denominator, config.sampling.max_new_tokens
    )
    return PolicyBatch(
        tokens=np.concatenate([part for item in completions for part in (item.prompt_tokens, item.tokens)]),
        prompt_lengths=np.array([len(completion.prompt_tokens) for completion in completions], dtype=np.int32),
        lengths=lengths,
        generator_logprobs=np.concatenate([completion.generator_logprobs for completion in completions]),
        advantages=credit[np.arange(credit.shape[-1]) < lengths.reshape(*scored.shape, 1)].astype(np.float32),
        weights=np.repeat(weights, lengths).astype(np.float32),
    )


def learn(
    context: Context, groups: Sequence[Group], credit: np.ndarray, scored: np.ndarray, update: int, config: Rl
) -> dict[str, float]:
    """The optimizer updates of one batch of rollouts; metrics are averaged over them. `credit`: [P, G, T]."""
    cuts = np.array_split(np.arange(len(groups)), config.minibatches)
    collected = []
    for number, cut in enumerate(cuts):
        batch = policy_batch([groups[index] for index in cut], credit[cut], scored[cut], config)
        step = (update - 1) * config.minibatches + number + 1
        collected.append(context.engines.learner.update(batch, step, on_policy=number == 0))
    return {name: float(np.mean([metrics[name] for metrics in collected])) for name in collected[0]}


def run_update(context: Context, stage: PlannedStage, config: Rl, update: int, schedule: Schedule) -> dict[str, float]:
    """One RL step; returns its metrics."""
    clock = Clock()
    problems = schedule.next(config.prompts_per_update)
    seeds = sample_seeds(stage, update, problems, config.group_size)
    with clock.phase("generate"):
        completions = complete(context, problems, seeds, sampling_settings(config.sampling))
    with clock.phase("score"):
        groups = score_steps(context, stage, score(context, problems, completions))
    rewards, scored = rewards_of(groups)
    advantages = group_relative_advantages(rewards, scored, config.advantage.scale)
    credit = token_credit(context.codec, groups, advantages, scored, config)
    with clock.phase("learn"):
        learned = learn(context, groups, credit, scored, update, config)
    with clock.phase("sync"):
        context.engines.generator.load_weights(context.engines.learner.weights(), policy_version=update)
    columns = rollout_columns(stage.id, update, groups, advantages, learned["mismatch_mean"])
    write_part(context.folder, "rollouts", stage.id, update, columns)
    shown = schedule.observe(groups, rewards, advantages, scored)
    where = {"stage": [stage.id] * len(shown["arm"]), "update": [update] * len(shown["arm"])}
    write_part(context.folder, "curriculum", stage.id, update, {**where, **shown})
    timing = clock.metrics()
    return {
        **outcome_metrics(groups, rewards, credit),
        **step_metrics(groups, config.step_scorer),
        **learned,
        **timing,
        "completions_per_second": rewards.size / timing["seconds"],
        "generated_tokens_per_second": learned["completion_tokens"] * config.minibatches / timing["seconds_generate"],
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


def run_rl(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Run an `rl` stage from the checkpoint `parent`; returns its closing figures."""
    config = stage.config
    assert isinstance(config, Rl)
    random = np.random.default_rng(derive_seed(stage.seed, stage.id, "curriculum"))
    schedule = Schedule(context.tasks, config, random)
    done, learner_state = restore_state(context, stage, schedule)
    context.progress.stage_started(stage, config.updates, "updates", done)
    for table in ("rollouts", "curriculum"):
        drop_parts_from(context.folder, table, stage.id, done + 1)
    log = UpdateLog(context.folder, stage.id, config.checkpoint_every)
    settings = PolicySettings(
        optimizer=config.optimizer,
        loss=config.loss,
        updates=config.updates * config.minibatches,
        temperature=config.sampling.temperature,
        mismatch_tolerance=config.mismatch_tolerance,
        seed=derive_seed(stage.seed, stage.id, "learner") % 2**31,
    )
    learner, generator = context.engines.learner, context.engines.generator
    if stage.scorer is not None:
        assert context.engines.scorer is not None, "started where the recipe has scorers"
        context.engines.scorer.load(scorer_model(context, stage.scorer, stage.seed))
    learner.begin(parent.resolve(), settings, learner_state)
    try:
        generator.load_weights(learner.weights(), policy_version=done)
        for update in range(done + 1, config.updates + 1):
            metrics = run_update(context, stage, config, update, schedule)
            log.add(update, metrics)
            context.progress.stage_advanced(stage, update, metrics)
            if update % config.checkpoint_every == 0 and update < config.updates:
                save_state(context, stage, update, schedule)
        log.flush(config.updates)
        output = (context.folder.stage(stage.id) / f"{MODEL}{PARTIAL}").resolve()
        shutil.rmtree(output, ignore_errors=True)
        learner.save_model(output)
    finally:
        learner.end()
    finish(output)
    shutil.rmtree(context.state(stage.id), ignore_errors=True)
    return {"updates_run": float(config.updates - done)}
