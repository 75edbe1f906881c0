"""What a checkpoint can do: every level and probe, one greedy and S sampled completions a problem, each recorded.

    problems -> blocks of completions -> scored and recorded, block by block, while the next block is sampled

Statistics are the report's; here is only the asking. What is on record is not asked again, so a killed evaluation goes
on at its next block, and a rule to stop early (`evaluation.stop_at`) looks at nothing but the records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rlreason.algorithms.intervals import wilson_interval
from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.protocols import SamplingSettings
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.schema import Evaluation, Resources
from rlreason.records.tables import part_numbers, read_table, write_part
from rlreason.stages.context import Context
from rlreason.stages.ledger import keep_spending
from rlreason.stages.rollouts import complete, sampling_settings, score, scored_columns
from rlreason.tasks.contract import Task
from rlreason.tasks.sampling import sample
from rlreason.types import Completion, Problem

BATCHES = 4
"""Completions asked for together, in batches that the generators decode: enough that the last ones, which leave a batch
half empty, count little; few enough to lose."""
GREEDY = -1
"""Number of the greedy completion among a problem's samples."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A problem and the level, or probe, it is asked for."""

    problem: Problem
    level: str
    probe: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Problems that are asked together, each for the samples of these numbers (or for `GREEDY` alone)."""

    items: Sequence[Asked]
    samples: range

    @property
    def problems(self) -> list[Problem]:
        """What the items ask."""
        return [item.problem for item in self.items]


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


def block_completions(resources: Resources) -> int:
    """Completions of a block."""
    return BATCHES * resources.max_concurrent * resources.generators


def blocks(items: Sequence[Asked], samples: range, completions: int) -> Iterator[Block]:
    """The items in blocks of at most so many completions. A problem's samples stay together: they share its prompt."""
    size = max(1, completions // len(samples))
    for at in range(0, len(items), size):
        yield Block(items[at : at + size], samples)


def rounds(config: Evaluation) -> list[range]:
    """Numbers of the samples that are asked before the next look: all of them, or as many as there were, each time."""
    if config.stop_at is None:
        return [range(config.samples)]
    ends = [0, config.stop_at.at_least]
    while ends[-1] < config.samples:
        ends.append(min(2 * ends[-1], config.samples))
    return [range(start, end) for start, end in pairwise(ends)]


def ask(context: Context, stage: PlannedStage, config: Evaluation, block: Block) -> list[list[Completion]]:
    """The completions of a block."""
    if block.samples.start == GREEDY:
        settings = SamplingSettings(0.0, 1.0, config.sampling.max_new_tokens)
        return complete(context, block.problems, [[0]] * len(block.items), settings)
    seeds = [
        [derive_seed(stage.seed, stage.id, problem.id, number) for number in block.samples]
        for problem in block.problems
    ]
    return complete(context, block.problems, seeds, sampling_settings(config.sampling))


def record(
    context: Context, stage: PlannedStage, part: int, block: Block, completions: Sequence[Sequence[Completion]]
) -> list[bool]:
    """Score the completions of a block and write them down as a part of the table; whether each greedy one is right."""
    groups = score(context, block.problems, completions, first_sample=block.samples.start)
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    items = [item for item in block.items for _ in block.samples]
    columns = {
        **scored_columns(stage.id, rollouts),
        "level": [item.level for item in items],
        "probe": [item.probe for item in items],
        "greedy": [rollout.sample == GREEDY for rollout in rollouts],
    }
    write_part(context.folder, "evaluations", stage.id, part, columns)
    return [bool(rollout.score.correct) for rollout in rollouts if rollout.sample == GREEDY]


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


class _Recorder:
    """Scores and records blocks in a thread, one at a time and in order, while the stage samples the next."""

    def __init__(
        self, context: Context, stage: PlannedStage, thread: ThreadPoolExecutor, items: Sequence[Asked]
    ) -> None:
        rows = read_table(context.folder, "evaluations", [stage.id], ["problem", "sample"])
        self._there = set(zip(rows["problem"], rows["sample"], strict=True))
        self._part = max(part_numbers(context.folder, "evaluations", stage.id), default=-1) + 1
        self._context, self._stage, self._thread, self._items = context, stage, thread, items
        self._right: list[bool] = []
        self._adding = 0
        self._pending: Future[list[bool]] = thread.submit(self._write_tables)
        self.completions = len(rows)
        """How many are on record."""

    @property
    def done(self) -> int:
        """Problems' worth of completions on record."""
        assert isinstance(self._stage.config, Evaluation)
        return self.completions // (self._stage.config.samples + 1)

    def _write_tables(self) -> list[bool]:
        write_problems(self._context, self._stage, self._items)
        write_trained_paths(self._context, self._stage, self._items)
        return []

    def left(self, block: Block) -> Block:
        """The block without what was on record when the stage began."""
        first = block.samples.start
        return replace(block, items=[item for item in block.items if (item.problem.id, first) not in self._there])

    def add(self, block: Block, completions: Sequence[Sequence[Completion]]) -> None:
        """Begin to record a block, once the one before is recorded."""
        self.wait()
        keep_spending(self._context, self._stage, f"block {self._part}", new_prompts=block.samples.start == GREEDY)
        self._pending = self._thread.submit(record, self._context, self._stage, self._part, block, completions)
        self._adding, self._part = len(block.items) * len(block.samples), self._part + 1

    def wait(self) -> None:
        """Until all that was added is recorded."""
        right = self._pending.result()
        if not self._adding:
            return
        self._right += right
        self.completions, self._adding = self.completions + self._adding, 0
        figures = {"correct": float(np.mean(self._right))} if self._right else {}
        self._context.progress.stage_advanced(self._stage, self.done, figures)


def half_widths(context: Context, stage: PlannedStage, levels: Sequence[str], samples: int) -> dict[str, float]:
    """Level -> half of the 95% interval over problems of its pass@1, from the first so many samples on record."""
    rows = read_table(context.folder, "evaluations", [stage.id], ["level", "problem", "sample", "correct"])
    rows = rows[(rows["sample"] >= 0) & (rows["sample"] < samples)]
    right = rows["correct"].fillna(False).astype(float)  # what could not be judged is not right, as in reports
    shares = right.groupby([rows["level"], rows["problem"]]).mean()
    found = {}
    for level in levels:
        _, low, high = wilson_interval(shares[level].to_numpy(), samples)
        found[level] = (high - low) / 2
    return found


def run_evaluate(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Evaluate the checkpoint `parent`.

    Returns:
        Closing figures: problems, completions; with `stop_at` also samples_LEVEL, taken of each problem of that level
        or probe, and half_width_LEVEL, its interval's then. Where fewer than `samples` were taken, that was enough.
    """
    config = stage.config
    assert isinstance(config, Evaluation)
    items, size = asked(context, config), block_completions(context.recipe.resources)
    going = list(dict.fromkeys(item.level for item in items))
    looks: dict[str, float] = {}
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="evaluation") as thread:
        recorder = _Recorder(context, stage, thread, items)
        context.progress.stage_started(stage, len(items), "problems", recorder.done)
        context.engines.generator.load_checkpoint(parent.resolve(), policy_version=0)
        for samples in (range(GREEDY, 0), *rounds(config)):
            for block in blocks([item for item in items if item.level in going], samples, size):
                left = recorder.left(block)
                if left.items:
                    recorder.add(left, ask(context, stage, config, left))
            if config.stop_at is not None and samples.start != GREEDY:
                recorder.wait()
                widths = half_widths(context, stage, going, samples.stop)
                for level in going:
                    looks |= {f"samples_{level}": float(samples.stop), f"half_width_{level}": widths[level]}
                going = [level for level in going if widths[level] > config.stop_at.half_width]
        recorder.wait()
    return {"problems": float(len(items)), "completions": float(recorder.completions), **looks}
