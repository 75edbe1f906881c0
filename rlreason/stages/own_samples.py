"""The completions that a stage samples to learn from itself: problems drawn, sampled, scored, put on record, read back.

    problems -> completions of the stage's policy -> scores -> the table of rollouts -> what is trained

What is trained is always made from the records, so that a resumed stage trains what it would have trained. What is
kept of the samples, and made of them, is decided by `rft` and `dpo`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlreason.algorithms.seeding import derive_seed
from rlreason.curriculum.scheduler import ProblemScheduler
from rlreason.errors import RunFailed
from rlreason.recipe.own_samples import Dpo, Rft
from rlreason.recipe.plan import PlannedStage
from rlreason.records.tables import part_numbers, read_table, write_part
from rlreason.stages.allowance import allowance_of
from rlreason.stages.context import Context
from rlreason.stages.ledger import keep_spending
from rlreason.stages.rollouts import complete, rollout_columns, sampling_settings, score
from rlreason.stages.schedule import sources_of
from rlreason.types import Group, Problem

BLOCK_COMPLETIONS = 2048
"""Completions asked for together: enough to keep an engine's batch full."""
COLUMNS = {
    "problem": "problem",
    "prompt": "prompt",
    "sample": "number",
    "text": "text",
    "answer": "answer",
    "correct": "correct",
    "derivation_correct": "derived",
    "finish_reason": "finish_reason",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "tokens",
}
"""Column of the table of rollouts -> attribute of `OwnSample`."""


@dataclass(frozen=True, slots=True)
class OwnSample:
    """One completion on record.

    Attributes:
        problem: id of its problem; what the problem asks is `prompt`.
        number: counts from 0 within the problem.
        answer: the final answer read from the text, None where none could be.
        correct: None where nobody could judge.
        derived: every step is right too; None where the task does not check that.
        finish_reason: "stop" or "length".
        prompt_tokens: [P] int32.
        tokens: [T] int32, as they were sampled.
    """

    problem: str
    prompt: str
    number: int
    text: str
    answer: str | None
    correct: bool | None
    derived: bool | None
    finish_reason: str
    prompt_tokens: np.ndarray
    tokens: np.ndarray


def problem_rounds(context: Context, stage: PlannedStage) -> Iterator[list[Problem]]:
    """The problems of each round of sampling; a cell's problems are used in order, each once."""
    random = np.random.default_rng(derive_seed(stage.seed, stage.id, "problems"))
    scheduler = ProblemScheduler(context.tasks, sources_of(context.tasks, own_config(stage).data), random)
    for counts in samples_by_round(context, stage):
        yield scheduler.next(len(counts))


def samples_by_round(context: Context, stage: PlannedStage) -> list[list[int]]:
    """For each round, how many completions each of its problems gets.

    Of a control it is its partner's number of samples that is shared out: as many problems a round as it takes, the
    very last one with what is left.

    Raises:
        RunFailed: these are too few for the rounds.
    """
    config, allowance = own_config(stage), allowance_of(context, stage)
    rounds = config.rounds if isinstance(config, Rft) else 1
    if allowance is None:
        return [[config.samples] * config.prompts] * rounds
    problems, left = divmod(int(allowance.amount), config.samples)
    counts = [config.samples] * problems + ([left] if left else [])
    if len(counts) < rounds:
        raise RunFailed(
            f"stage {stage.name!r} is matched by {int(allowance.amount)} samples, which at {config.samples} a problem "
            f"are too few for {rounds} rounds; lower `samples` or `rounds`"
        )
    return [part.tolist() for part in np.array_split(counts, rounds)]


def record_round(
    context: Context, stage: PlannedStage, round_number: int, problems: Sequence[Problem], policy: Path
) -> None:
    """Sample a round (from 1) with the checkpoint `policy`; one that is on record is not sampled again."""
    if round_number in part_numbers(context.folder, "rollouts", stage.id):
        return
    context.engines.generator.load_checkpoint(policy.resolve(), policy_version=round_number - 1)
    groups = _sample(context, stage, round_number, problems)
    no_advantages = np.zeros(sum(len(group.rollouts) for group in groups))
    keep_spending(context, stage, f"round {round_number}")
    columns = rollout_columns(stage.id, round_number, groups, no_advantages, float("nan"))
    write_part(context.folder, "rollouts", stage.id, round_number, columns)


def _sample(context: Context, stage: PlannedStage, round_number: int, problems: Sequence[Problem]) -> list[Group]:
    config = own_config(stage)
    counts = samples_by_round(context, stage)[round_number - 1]
    size = max(1, BLOCK_COMPLETIONS // config.samples)
    settings = sampling_settings(config.sampling)
    groups: list[Group] = []
    for at in range(0, len(problems), size):
        block = problems[at : at + size]
        seeds = [
            [derive_seed(stage.seed, stage.id, round_number, problem.id, number) for number in range(count)]
            for problem, count in zip(block, counts[at : at + size], strict=True)
        ]
        groups += score(context, block, complete(context, block, seeds, settings))
    return groups


def read_round(context: Context, stage: PlannedStage, round_number: int) -> list[OwnSample]:
    """The samples of a round that is on record, problem by problem, in the order they were sampled."""
    table = read_table(context.folder, "rollouts", [stage.id], [*COLUMNS, "update"])
    found = table[table["update"] == round_number].rename(columns=COLUMNS).drop(columns="update")
    # a null is None here, whatever pandas calls it
    return [OwnSample(**row) for row in found.astype(object).where(found.notna(), None).to_dict("records")]


def own_config(stage: PlannedStage) -> Rft | Dpo:
    """The stage's section."""
    assert isinstance(stage.config, Rft | Dpo)
    return stage.config
