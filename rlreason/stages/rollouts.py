"""From problems to scored groups: prompts, seeds, completions, scores, and their row form in the records.

Problems of several turns are played in `episodes`; from there on they are completions like the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from rlreason.engines.protocols import SamplingSettings
from rlreason.recipe.stages import Sampling
from rlreason.stages.context import Context
from rlreason.stages.episodes import play
from rlreason.types import Completion, Group, Problem, Rollout, Score


def sampling_settings(sampling: Sampling) -> SamplingSettings:
    """The recipe's sampling as the engines take it."""
    return SamplingSettings(sampling.temperature, sampling.top_p, sampling.max_new_tokens)


def complete(
    context: Context, problems: Sequence[Problem], seeds: Sequence[Sequence[int]], settings: SamplingSettings
) -> list[list[Completion]]:
    """Completions of each problem, one a seed.

    Args:
        problems: [P].
        seeds: [P][G], a seed a sample.
    """
    several = [context.tasks[problem.task].max_turns > 1 for problem in problems]
    found: dict[int, list[Completion]] = {}
    for sample, chosen in (
        # every request has its own seed, so it changes nothing that the two kinds go apart
        (_answer_once, [index for index, turns in enumerate(several) if not turns]),
        (play, [index for index, turns in enumerate(several) if turns]),
    ):
        if chosen:
            own = sample(context, [problems[index] for index in chosen], [seeds[index] for index in chosen], settings)
            found.update(zip(chosen, own, strict=True))
    return [found[index] for index in range(len(problems))]


def _answer_once(
    context: Context, problems: Sequence[Problem], seeds: Sequence[Sequence[int]], settings: SamplingSettings
) -> list[list[Completion]]:
    """`complete` for tasks of one turn."""
    prompts = context.codec.encode([problem.prompt for problem in problems])
    repeated = [prompt for prompt, own in zip(prompts, seeds, strict=True) for _ in own]
    flat_seeds = [seed for own in seeds for seed in own]
    batch = context.engines.generator.generate(repeated, flat_seeds, settings)
    samples = batch.split()
    texts = context.codec.decode([tokens for tokens, _ in samples])
    flat = [
        Completion(
            prompt_tokens=prompt,
            tokens=tokens,
            generator_logprobs=logprobs,
            text=text,
            finish_reason="stop" if stopped else "length",
            policy_version=batch.policy_version if versions is None else int(versions.min()),
            seed=seed,
            policy_versions=versions,
        )
        for prompt, (tokens, logprobs), versions, text, stopped, seed in zip(
            repeated, samples, batch.split_versions(), texts, batch.stopped.tolist(), flat_seeds, strict=True
        )
    ]
    ends = np.cumsum([len(own) for own in seeds]).tolist()
    return [flat[end - len(own) : end] for end, own in zip(ends, seeds, strict=True)]


def score(
    context: Context, problems: Sequence[Problem], completions: Sequence[Sequence[Completion]], first_sample: int = 0
) -> list[Group]:
    """Score every completion in the worker processes, and put the groups together. An episode whose environment failed
    is not scored."""
    asked = [
        (problem, completion)
        for problem, own in zip(problems, completions, strict=True)
        for completion in own
        if not completion.failure
    ]
    found = iter(
        context.pool.score(
            [(problem, completion.text) for problem, completion in asked], [completion.turns for _, completion in asked]
        )
    )
    scores = (
        Score(reward=None, failure=completion.failure) if completion.failure else next(found)
        for own in completions
        for completion in own
    )
    return [
        Group(
            problem,
            tuple(
                Rollout(problem, first_sample + sample, completion, next(scores))
                for sample, completion in enumerate(own)
            ),
        )
        for problem, own in zip(problems, completions, strict=True)
    ]


def _turns_json(completion: Completion) -> str | None:
    return json.dumps(completion.turns) if completion.turns else None


def _steps_json(score: Score) -> str:
    return json.dumps([asdict(step) for step in score.steps])


def _step_scores_json(score: Score) -> str:
    return json.dumps(
        {who: [[step.start, step.end, step.score] for step in steps] for who, steps in score.step_scores.items()}
    )


def scored_columns(stage: str, rollouts: Sequence[Rollout]) -> dict[str, list[Any]]:
    """The columns that evaluations and rollouts share (`records.schema`)."""
    return {
        "stage": [stage] * len(rollouts),
        "problem": [rollout.problem.id for rollout in rollouts],
        "cell": [rollout.problem.cell for rollout in rollouts],
        "sample": [rollout.sample for rollout in rollouts],
        "text": [rollout.completion.text for rollout in rollouts],
        "turns": [_turns_json(rollout.completion) for rollout in rollouts],
        "tokens": [rollout.completion.sampled_tokens for rollout in rollouts],
        "finish_reason": [rollout.completion.finish_reason for rollout in rollouts],
        "logprob": [float(rollout.completion.generator_logprobs.sum(dtype=np.float64)) for rollout in rollouts],
        "policy_version": [rollout.completion.policy_version for rollout in rollouts],
        "correct": [rollout.score.correct for rollout in rollouts],
        "derivation_correct": [rollout.score.derivation_correct for rollout in rollouts],
        "answer": [rollout.score.answer for rollout in rollouts],
        "first_error": [rollout.score.first_error for rollout in rollouts],
        "first_error_kind": [rollout.score.first_error_kind for rollout in rollouts],
        "steps": [_steps_json(rollout.score) for rollout in rollouts],
        "failure": [rollout.score.failure for rollout in rollouts],
    }


def rollout_columns(
    stage: str, update: int, groups: Sequence[Group], advantages: np.ndarray, mismatch: float
) -> Mapping[str, list[Any]]:
    """One row a rollout of an RL update; `advantages` is [P, G]."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    return {
        **scored_columns(stage, rollouts),
        "update": [update] * len(rollouts),
        "task": [rollout.problem.task for rollout in rollouts],
        "prompt": [rollout.problem.prompt for rollout in rollouts],
        "gold": [rollout.problem.answer for rollout in rollouts],
        "reward": [rollout.score.reward for rollout in rollouts],
        "advantage": advantages.reshape(-1).tolist(),
        "parts": [json.dumps(dict(rollout.score.parts)) for rollout in rollouts],
        "step_scores": [_step_scores_json(rollout.score) for rollout in rollouts],
        "prompt_tokens": [rollout.completion.prompt_tokens for rollout in rollouts],
        "completion_tokens": [rollout.completion.tokens for rollout in rollouts],
        "generator_logprobs": [rollout.completion.generator_logprobs for rollout in rollouts],
        "learner_mismatch": [mismatch] * len(rollouts),
        "seed": [rollout.completion.seed for rollout in rollouts],
        "policy_versions": [rollout.completion.policy_versions for rollout in rollouts],
    }
