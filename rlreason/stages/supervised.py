"""Pretraining and supervised fine-tuning: problems and texts to packed rows, rows to the learner.

The training of step scorers (`prm`) and on own samples (`rft`) ends here too, with rows of their own. Which tokens are
trained is decided here (`pretrain`: all; `sft`: what follows the prompt, without what an environment says, and plain
texts whole); how a row is trained belongs to the learner.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from rlreason.algorithms.packing import pack_rows
from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.checkpoints import PARTIAL, finish, whole_state
from rlreason.engines.codec import TextCodec
from rlreason.engines.protocols import Report, SupervisedJob, SupervisedRows
from rlreason.errors import UserError
from rlreason.recipe.own_samples import Dpo, Rft
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.scorers import Prm
from rlreason.recipe.stages import Mixture, Pretrain, Sft
from rlreason.stages.allowance import within_rows
from rlreason.stages.context import MODEL, Context
from rlreason.stages.updates import UpdateLog
from rlreason.tasks.contract import Task
from rlreason.types import Problem

IGNORED = -100
BLOCK = 512
"""Sequences made, tokenised and packed at a time."""


Example = tuple[str, tuple[str, ...]]
"""A prompt, and what follows it: the target; or, of several turns, the first of the policy, what the environment says
to it, the second, and so on up to the policy's last."""


def examples(
    entries: Sequence[tuple[Mixture, Sequence[str]]], context: Context, random: np.random.Generator
) -> Iterator[Example]:
    """Examples without end, the entries mixed by weight and an entry's cells in equal shares.

    Problem i of a cell is used once, in order, so no example repeats until a task itself repeats, or an entry's
    `problems` are all used and begin again. A plain text has an empty prompt.
    """
    weights = np.array([entry.weight for entry, _ in entries])
    cumulative = np.cumsum(weights / weights.sum())
    used: dict[tuple[int, str], int] = {}
    while True:
        for draw in random.random((BLOCK, 2)):
            which = min(int(np.searchsorted(cumulative, draw[0], side="right")), len(entries) - 1)
            entry, cells = entries[which]
            task = context.task(entry.task)
            cell = cells[int(draw[1] * len(cells))] if cells else ""
            index = used.get((which, cell), 0)
            used[which, cell] = (index + 1) % entry.problems if entry.problems else index + 1
            if entry.texts:
                yield "", (task.text(index),)
            else:
                problem = task.problem(entry.level, cell, index)
                source = problem if entry.targets == "gold" else task.problem(entry.level, cell, index + 1)
                yield problem.prompt, gold_episode(task, source) if source.turns else (source.target,)


def gold_episode(task: Task, problem: Problem) -> tuple[str, ...]:
    """The policy's turns in the gold episode and, between them, what the environment says."""
    environment = task.environment(problem)
    said: list[str] = []
    for turn in problem.turns:
        if said:
            said.append(environment.observe())
        environment.act(turn)
        said.append(turn)
    return tuple(said)


def tokenise(
    pairs: Sequence[Example], codec: TextCodec, train_prompt: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Tokens [T] and labels [T] of each example, the end token appended to what the policy writes and trained.

    Every text is encoded apart, as it will be when the policy samples, so no token straddles a border. What an
    environment says is not trained, but like the prompt with `train_prompt`.
    """
    prompts = codec.encode([prompt for prompt, _ in pairs])
    followed = iter(codec.encode([text for _, texts in pairs for text in texts]))
    end = np.array([codec.end], dtype=np.int32)
    tokens, labels = [], []
    for prompt, (_, texts) in zip(prompts, pairs, strict=True):
        pieces, trained = [prompt], [train_prompt]
        for place, text in enumerate(next(followed) for _ in texts):
            own = place % 2 == 0
            pieces.append(np.concatenate([text, end]) if own else text)
            trained.append(own or train_prompt)
        sequence = np.concatenate(pieces)
        label = np.where(np.repeat(trained, [len(piece) for piece in pieces]), sequence, np.int32(IGNORED))
        label[0] = IGNORED  # the first token of a sequence has nothing to be predicted from
        tokens.append(sequence)
        labels.append(label)
    return tokens, labels


def build_rows(pairs: Iterator[Example], codec: TextCodec, rows: int, width: int, train_prompt: bool) -> SupervisedRows:
    """Fill `rows` packed rows of `width` tokens from an endless stream of examples.

    Raises:
        UserError: an example is longer than a row.
    """
    blocks = (tokenise([next(pairs) for _ in range(BLOCK)], codec, train_prompt) for _ in itertools.count())
    return fill_rows(blocks, rows, width)


def fill_rows(
    blocks: Iterator[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]], rows: int, width: int
) -> SupervisedRows:
    """Pack `rows` rows of `width` tokens.

    Args:
        blocks: without end; the tokens [T] and the labels [T] of some sequences, which are packed among each other.
    Raises:
        UserError: a sequence is longer than a row.
    """
    packed = SupervisedRows(
        tokens=np.zeros((rows, width), dtype=np.int32),
        labels=np.full((rows, width), IGNORED, dtype=np.int32),
        positions=np.zeros((rows, width), dtype=np.int32),
    )
    filled = 0
    while filled < rows:
        tokens, labels = next(blocks)
        longest = max(len(sequence) for sequence in tokens)
        if longest > width:
            raise UserError(f"an example has {longest} tokens, more than row_tokens {width}; raise row_tokens")
        for row in pack_rows([len(sequence) for sequence in tokens], width)[: rows - filled]:
            at = 0
            for index in row:
                span = slice(at, at + len(tokens[index]))
                packed.tokens[filled, span] = tokens[index]
                packed.labels[filled, span] = labels[index]
                packed.positions[filled, span] = np.arange(len(tokens[index]))
                at = span.stop
            # padding: its own "sequence", so that nothing attends to it and it attends to nothing trained
            packed.positions[filled, at:] = np.arange(width - at)
            filled += 1
    return packed


def shuffled(
    tokens: Sequence[np.ndarray], labels: Sequence[np.ndarray], random: np.random.Generator
) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """The sequences in blocks for `fill_rows`, over and over, shuffled again in every pass over them."""
    while True:
        order = random.permutation(len(tokens))
        for at in range(0, len(order), BLOCK):
            picked = order[at : at + BLOCK]
            yield [tokens[index] for index in picked], [labels[index] for index in picked]


def prepare(context: Context, stage: PlannedStage) -> SupervisedRows:
    """The packed rows of a stage, the same for the same recipe and seed."""
    config = stage.config
    assert isinstance(config, Pretrain | Sft)
    entries = [
        (entry, [] if entry.texts else [cell.name for cell in context.task(entry.task).match_cells(entry.cells)])
        for entry in config.data
    ]
    random = np.random.default_rng(derive_seed(stage.seed, stage.id, "examples"))
    return build_rows(
        examples(entries, context, random),
        context.codec,
        config.updates * config.batch_rows,
        config.row_tokens,
        train_prompt=isinstance(config, Pretrain),
    )


def run_supervised(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Run a `pretrain` or `sft` stage from the checkpoint `parent`; returns its closing figures."""
    config = stage.config
    assert isinstance(config, Pretrain | Sft)
    if stage.match is None:
        context.progress.stage_started(stage, config.updates, "updates", 0)
        return train_rows(context, stage, parent, prepare(context, stage))
    # the rows tell how many updates the budget allows
    stage, rows = within_rows(context, stage, prepare(context, stage))
    context.progress.stage_started(stage, len(rows.tokens) // config.batch_rows, "updates", 0)
    return train_rows(context, stage, parent, rows)


def train_rows(context: Context, stage: PlannedStage, parent: Path, rows: SupervisedRows) -> Mapping[str, float]:
    """Train packed rows and leave the stage's checkpoint; returns closing figures."""
    output = context.folder.stage(stage.id) / f"{MODEL}{PARTIAL}"
    figures = fit(context, stage, parent, rows, output, context.state(stage.id))
    finish(output)
    shutil.rmtree(context.state(stage.id), ignore_errors=True)
    return figures


def fit(
    context: Context,
    stage: PlannedStage,
    parent: Path,
    rows: SupervisedRows,
    output: Path,
    state: Path,
    before: int = 0,
    closing: Mapping[str, float] | None = None,
) -> Mapping[str, float]:
    """Train packed rows from the checkpoint `parent`, and write down how it goes; returns closing figures.

    Args:
        output: the trained Hugging Face directory, to be renamed.
        state: folder of resumable states.
        before: updates of the stage that came before, where it trains several times over; they are numbered on.
        closing: metrics that belong to the last update.
    """
    config = stage.config
    assert isinstance(config, Pretrain | Sft | Rft | Prm)
    shutil.rmtree(output, ignore_errors=True)
    trained = (rows.labels != IGNORED).reshape(config.updates, -1).sum(axis=1)
    held = rows.sequences()[0].sum() / rows.tokens.size
    job = SupervisedJob(
        checkpoint=parent.resolve(),
        output=output.resolve(),
        state=state.resolve(),
        updates=config.updates,
        batch_rows=config.batch_rows,
        optimizer=config.optimizer,
        checkpoint_every=config.checkpoint_every,
        keep_last=config.keep_last,
        about={"stage": stage.id},
        seed=derive_seed(stage.seed, stage.id, "learner") % 2**31,
        objective="step_labels" if isinstance(config, Prm) else "next_token",
        number_loss=config.number_loss if isinstance(config, Sft) else 0.0,
        lora=config.lora if isinstance(config, Sft) else None,
    )
    whole_state(job.state, stage.id, context.progress.note)  # the learner goes on from the newest
    report = reporter(context, stage, trained, before, closing)
    figures = context.engines.learner.supervised(job, rows, report)
    return {**figures, "trained_tokens": float(trained.sum()), "row_use": float(held)}


def reporter(
    context: Context,
    stage: PlannedStage,
    trained: np.ndarray,
    before: int = 0,
    closing: Mapping[str, float] | None = None,
) -> Report:
    """What a learner reports its updates to: they are timed where the learner did not, written down and shown.

    Args:
        trained: [U] tokens that each of the learner's updates trains.
        before, closing: as `fit` takes them.
    """
    config = stage.config
    assert isinstance(config, Pretrain | Sft | Rft | Dpo | Prm)
    log = UpdateLog(context.folder, stage.id, config.checkpoint_every, before)
    clock = time.monotonic()

    def report(update: int, metrics: Mapping[str, float]) -> None:
        nonlocal clock
        seconds, clock = time.monotonic() - clock, time.monotonic()
        last = update == len(trained)
        figures = {"seconds": seconds, **metrics, "trained_tokens": float(trained[update - 1])}
        log.add(before + update, {**figures, **(closing or {})} if last else figures)
        if last:
            log.flush(before + update)
        context.progress.stage_advanced(stage, before + update, figures)

    return report
