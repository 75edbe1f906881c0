"""Our side of the benchmark: the shipped RL stage, `stages.rl.run_rl`, on the shipped engines, one update a turn.

Run as a process of its own, `python -m rlreason.bench.ours FOLDER`, by `rlreason.bench.rl`. Two things differ from a
run: completions go on past the end token, so that their length is what the workload says, and no model is made here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlreason.bench.channel import Channel, Over
from rlreason.bench.figures import UpdateFigures
from rlreason.bench.words import BUILDER
from rlreason.bench.workload import MODEL, RECIPE, STAGE, rl_stage, threads_of, words_task
from rlreason.engines.codec import TextCodec
from rlreason.engines.protocols import Engines, Generator, SampleBatch, SamplingSettings
from rlreason.recipe import PlannedStage, load_recipe
from rlreason.records.run_folder import RunFolder
from rlreason.rewards.pool import ScoringPool
from rlreason.stages.context import Context
from rlreason.stages.rl import run_rl
from rlreason.stages.runner import start_engines
from rlreason.tasks.registry import task_spec

PHASES = ("generate", "score", "learn", "sync")


@dataclass(frozen=True, slots=True)
class FullLength:
    """A generator whose completions end at the budget alone."""

    generator: Generator

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """See `protocols.Generator.generate`."""
        return self.generator.generate(prompts, seeds, replace(settings, ignore_end=True))

    def load_checkpoint(self, checkpoint: Path, policy_version: int) -> None:
        """See `protocols.Generator.load_checkpoint`."""
        self.generator.load_checkpoint(checkpoint, policy_version)

    def load_weights(self, weights: Any, policy_version: int) -> None:
        """See `protocols.Generator.load_weights`."""
        self.generator.load_weights(weights, policy_version)

    def close(self) -> None:
        """See `protocols.Generator.close`."""
        self.generator.close()


def update_figures(metrics: Mapping[str, float], seconds: float, minibatches: int) -> UpdateFigures:
    """What an update's metrics say of its work.

    Args:
        metrics: of `run_update`; what the learner counts is a mean over the minibatches.
        seconds: of the whole update, its records and log lines included.
    """
    return UpdateFigures(
        seconds=seconds,
        phases={name: metrics[f"seconds_{name}"] for name in PHASES},
        completions=round(metrics["completions_per_second"] * metrics["seconds"]),
        generated_tokens=round(metrics["completion_tokens"] * minibatches),
        trained_tokens=round(metrics["trained_tokens"] * minibatches),
        forward_passes=round(metrics["forward_passes"] * minibatches),
        padded_share=metrics["padded_share"],
        computed_tokens=round(metrics["computed_tokens"] * minibatches),
    )


class Turns:
    """A `stages.context.Progress` that reports every update to the parent and holds the stage until its next turn."""

    def __init__(self, channel: Channel, minibatches: int) -> None:
        self._channel, self._minibatches = channel, minibatches
        self._begun = time.perf_counter()

    def run_started(self, stages: Sequence[PlannedStage], done: Sequence[str]) -> None:
        """Of no interest here."""

    def note(self, text: str) -> None:
        """Of no interest here."""

    def stage_started(self, stage: PlannedStage, total: int, unit: str, done: int) -> None:
        """The first update, which warms up, is timed from here."""
        self._begun = time.perf_counter()

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        """Report, and wait."""
        seconds = time.perf_counter() - self._begun
        self._begun = self._channel.report(update_figures(metrics, seconds, self._minibatches))

    def stage_finished(self, stage: PlannedStage, seconds: float) -> None:
        """Of no interest here."""


def main(folder: Path) -> None:
    """Start pool and engines as a run does, then make updates until the parent wants no more."""
    channel = Channel()
    loaded = load_recipe(folder / RECIPE)
    recipe, config, task = loaded.recipe, rl_stage(loaded.recipe), words_task(loaded.recipe)
    torch.set_num_threads(threads_of(recipe))  # of the engines in this process; actors set theirs
    run, model = RunFolder(folder / "run"), folder.parent / MODEL
    logs = run.logs
    logs.mkdir(parents=True)
    max_tokens = task.parameters.prompt_words + config.sampling.max_new_tokens
    with ExitStack() as stack:
        pool = stack.enter_context(
            ScoringPool(recipe.rewards, {task.name: task_spec(task)}, task_builder=BUILDER, log=logs / "rewards.log")
        )
        pool.warm_up()
        engines: Engines = start_engines(recipe, model, max_tokens, logs).wait()
        stack.callback(engines.close)
        context = Context(
            recipe,
            run,
            {task.name: task},
            TextCodec(model),
            Engines(FullLength(engines.generator), engines.learner, engines.description),
            pool,
            Turns(channel, config.minibatches),
            bases={recipe.seeds[0]: model},
            scorer_folders={},
        )
        stage = PlannedStage(
            id=STAGE, name=STAGE, type="rl", seed=recipe.seeds[0], parent=None, config=config, arms=("bench",)
        )
        try:
            run_rl(context, stage, model)
        except Over:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
