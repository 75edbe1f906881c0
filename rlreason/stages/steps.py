"""From derivations to the credit of their tokens: who scores the steps, and where in the tokens the steps lie.

The task's check ("symbolic") and parts of the rubric scored the steps while the completion was scored, in the pool;
the recipe's scorers do it here, on the engine that serves them, from the tokens that were sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rlreason.algorithms.step_credit import min_form_returns, praise_before_first_error, process_returns, token_spans
from rlreason.engines.codec import TextCodec
from rlreason.engines.protocols import ScorerModel, StepBatch
from rlreason.errors import ScoringFailed
from rlreason.recipe.objectives import FirstErrorCredit, MinFormCredit, OutcomeCredit
from rlreason.recipe.plan import PlannedScorer, PlannedStage
from rlreason.recipe.scorers import SYMBOLIC, Implicit, PrmFolder
from rlreason.recipe.stages import OnPolicyStage
from rlreason.stages.batches import sampled_mask
from rlreason.stages.context import Context
from rlreason.types import Completion, Group, Rollout, StepScore


def scorer_model(context: Context, scorer: PlannedScorer, seed: int) -> ScorerModel:
    """What the engine is to serve for a scorer of the recipe; the stages it is made of are done."""
    if isinstance(scorer.config, PrmFolder):
        return ScorerModel("learned", (context.scorer_folders[scorer.name],))
    checkpoints = tuple(context.model(stage, seed).resolve() for stage in scorer.models)
    if isinstance(scorer.config, Implicit):
        return ScorerModel("implicit", checkpoints, scorer.config.beta)
    return ScorerModel("learned", checkpoints)


def token_ends(codec: TextCodec, completion: Completion) -> np.ndarray:
    """[T] int: where in the completion's text each token ends.

    Of an episode, what the policy wrote and what the environment said are decoded apart, as they came about.
    """
    if completion.loss_mask is None:
        return codec.token_ends(completion.tokens)
    borders = np.flatnonzero(np.diff(completion.loss_mask)) + 1
    found, at = [], 0
    for piece in np.split(completion.tokens, borders):
        found.append(at + codec.token_ends(piece))
        at = int(found[-1][-1])
    return np.concatenate(found)


def step_tokens(codec: TextCodec, rollout: Rollout, steps: Sequence[StepScore]) -> tuple[np.ndarray, np.ndarray]:
    """(starts [S], ends [S]) int: the tokens of each step, counted from the completion's first, end exclusive."""
    return token_spans(
        token_ends(codec, rollout.completion),
        np.array([step.start for step in steps], dtype=np.int64),
        np.array([step.end for step in steps], dtype=np.int64),
    )


def symbolic_scores(rollout: Rollout) -> tuple[StepScore, ...]:
    """What the task's check pays each step."""
    return tuple(StepScore(step.start, step.end, step.score) for step in rollout.score.steps)


def step_batch(codec: TextCodec, rollouts: Sequence[Rollout]) -> StepBatch:
    """The steps that the task's check found in each rollout, as a step scorer takes them."""
    spans = [step_tokens(codec, rollout, symbolic_scores(rollout)) for rollout in rollouts]
    completions = [rollout.completion for rollout in rollouts]
    return StepBatch(
        tokens=np.concatenate([part for item in completions for part in (item.prompt_tokens, item.tokens)]),
        prompt_lengths=np.array([len(item.prompt_tokens) for item in completions], dtype=np.int32),
        lengths=np.array([len(item.tokens) for item in completions], dtype=np.int32),
        counts=np.array([len(starts) for starts, _ in spans], dtype=np.int32),
        starts=np.concatenate([starts for starts, _ in spans]).astype(np.int32),
        ends=np.concatenate([ends for _, ends in spans]).astype(np.int32),
    )


def score_steps(context: Context, stage: PlannedStage, groups: Sequence[Group]) -> list[Group]:
    """The groups with the step scores of the stage's scorer added under its name; as they are where it has none."""
    if stage.scorer is None:
        return list(groups)
    assert context.engines.scorer is not None, "started where the recipe has scorers"
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    scores = iter(context.engines.scorer.score(step_batch(context.codec, rollouts)).tolist())

    def scored(rollout: Rollout) -> Rollout:
        steps = tuple(StepScore(step.start, step.end, next(scores)) for step in rollout.score.steps)
        said = {**rollout.score.step_scores, stage.scorer.name: steps}  # type: ignore[union-attr]
        return replace(rollout, score=replace(rollout.score, step_scores=said))

    return [replace(group, rollouts=tuple(map(scored, group.rollouts))) for group in groups]


def step_scores_by(name: str, rollout: Rollout) -> tuple[StepScore, ...]:
    """What `name` (the task's check, a part of the rubric, a scorer) said of a rollout's steps."""
    return symbolic_scores(rollout) if name == SYMBOLIC else rollout.score.step_scores.get(name, ())


def token_credit(
    codec: TextCodec, groups: Sequence[Group], advantages: np.ndarray, scored: np.ndarray, config: OnPolicyStage
) -> np.ndarray:
    """What each token is praised or blamed for.

    Args:
        advantages, scored: [P, G], of completions.
    Returns:
        [P, G, T] float64, T the longest completion; 0 behind a completion's end, for what the policy did not sample,
        and all of an unscored one.
    Raises:
        ScoringFailed: credit is by steps, and nobody scored one.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    own = sampled_mask([rollout.completion for rollout in rollouts])
    length = own.shape[1]
    flat, counted = advantages.reshape(-1), scored.reshape(-1)
    credit = np.repeat(flat[:, None], length, axis=1)
    if not isinstance(config.credit, OutcomeCredit):
        steps = [
            step_scores_by(config.credit.steps, rollout) if use else ()
            for rollout, use in zip(rollouts, counted, strict=True)
        ]
        if not any(steps):
            raise ScoringFailed(
                f"credit {config.credit.type!r} needs step scores, and {config.credit.steps!r} gave none for any of "
                f"{len(rollouts)} rollouts; a plug-in returns them as `steps`. No step was made; mend it, or set "
                "credit.steps to symbolic, and run again (the run resumes)"
            )
        scores, starts, ends = padded_steps(codec, rollouts, steps)
        group_of = np.repeat(np.arange(len(groups)), [len(group.rollouts) for group in groups])
        if isinstance(config.credit, FirstErrorCredit):
            credit = praise_before_first_error(flat, scores, starts, length, config.credit.wrong_below)
        elif isinstance(config.credit, MinFormCredit):
            returns = min_form_returns(scores, starts, ends, config.credit.temperature, length, group_of)
            credit = credit + config.credit.weight * returns
        else:
            credit = credit + config.credit.weight * process_returns(scores, ends, group_of, length)
    return np.where(own & counted[:, None], credit, 0.0).reshape(*advantages.shape, length)


def padded_steps(
    codec: TextCodec, rollouts: Sequence[Rollout], steps: Sequence[Sequence[StepScore]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores [B, S] float64 padded with NaN, starts [B, S], ends [B, S] int, in tokens) of B rollouts' steps."""
    shape = (len(rollouts), max(map(len, steps)))
    scores, starts, ends = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, (rollout, own) in enumerate(zip(rollouts, steps, strict=True)):
        if own:
            scores[row, : len(own)] = [step.score for step in own]
            starts[row, : len(own)], ends[row, : len(own)] = step_tokens(codec, rollout, own)
    return scores, starts, ends
