"""A small recipe in a folder of its own, runs of it that are broken, and a row that says what became of each."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from rlreason.errors import RunFailed, UserError
from rlreason.recipe import load_recipe
from rlreason.recipe.plan import PlannedStage
from rlreason.records import RunFolder, read_incidents, read_table
from rlreason.stages.runner import run_recipe

RECIPE: dict[str, Any] = yaml.safe_load("""
name: faults
model: {scratch: {layers: 1, width: 64, heads: 2, max_positions: 192}}
tasks: {people: {type: complementary, people: 16, parametric_relations: 4, contextual_relations: 4, hops: {1: 1, 2: 1}}}
rewards: {parts: [{spec: "variety.py:score", deadline_s: 2}], workers: 1, memory_gib: 1}
stages:
  atomic:
    {type: sft, data: [{cells: ["parametric/*"]}], updates: 2, batch_rows: 4, row_tokens: 96,
     optimizer: &adamw {learning_rate: 2.0e-3}}
  rl:
    type: rl
    data: [{cells: ["complementary/*"]}]
    updates: 5
    prompts_per_update: 4
    group_size: 4
    sampling: {max_new_tokens: 16}
    checkpoint_every: 2
    optimizer: *adamw
arms: {sft: [atomic], sft_rl: {after: sft, stages: [rl]}}
evaluation:
  {levels: [iid], cells: ["complementary/*"], problems: 4, samples: 2, k: [1, 2], sampling: {max_new_tokens: 8}}
resources: {generator: torch, learner: torch, threads: 1, accelerator: cpu, micro_batch_tokens: 512}
""")
REWARD = """
import pathlib, time
ORDER = pathlib.Path(__file__).with_name("order")

def score(problem, completion, derivation):
    what = ORDER.read_text() if ORDER.exists() else ""
    ORDER.unlink(missing_ok=True)
    if what == "hang":
        time.sleep(600)
    if what == "raise":
        raise ValueError("no")
    if what == "memory":
        bytearray(2**32)
    return {"reward": len(set(completion)) / 10, "correct": derivation.answer_correct}
"""


@dataclass
class Row:
    """What became of a fault. `exit`: as the command line would end; `same`: None where there is no such comparison."""

    name: str
    injected: str
    known_after_s: float | None
    happened: str
    lost: str
    exit: int
    left: list[str] = field(default_factory=list)
    same: bool | None = None


class Injector:
    """A `Progress` that injects where a stage stands. `at`: (stage type, units done) -> what to do, once each."""

    def __init__(self, at: Mapping[tuple[str, int], Callable[[], None]] | None = None) -> None:
        self._at = dict(at or {})
        self.injected_at = time.time()

    def run_started(self, stages: Sequence[PlannedStage], done: Sequence[str]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """What a terminal would show."""
        print(f"    {text[:200]}", file=sys.stderr, flush=True)

    def stage_started(self, stage: PlannedStage, total: int, unit: str, done: int) -> None:
        """Nothing."""

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        """Inject, where it is time to."""
        if inject := self._at.pop((stage.type, done), None):
            self.injected_at = time.time()
            inject()

    def stage_finished(self, stage: PlannedStage, seconds: float) -> None:
        """Nothing."""


class Place:
    """A folder with a recipe, its reward, and the run of it that was left alone."""

    def __init__(self, folder: Path, values: Mapping[str, Any]) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "variety.py").write_text(REWARD)
        self.recipe = folder / "faults.yaml"
        self.recipe.write_text(yaml.safe_dump(dict(values), sort_keys=False))
        self.whole = folder / "whole"

    def order(self, what: str) -> Callable[[], None]:
        """Have the next call of the reward misbehave."""

        def write() -> None:
            (self.folder / "order").write_text(what)

        return write

    def run(self, run: Path, progress: Injector | None = None, *overrides: str) -> tuple[int, str]:
        """(exit code, what the command line would say) of a run in this process."""
        try:
            loaded = load_recipe(self.recipe, overrides)
            run_recipe(loaded, run, allow_change=False, progress=progress or Injector())
        except UserError as error:
            return 2, f"{type(error).__name__}: {error}"
        except RunFailed as error:
            return 1, f"{type(error).__name__} ({error.blame}): {error}"
        return 0, "the run went on to its end"

    def same(self, run: Path) -> bool:
        """Whether a run's records are those of the one that was left alone."""
        for table in ("rollouts", "evaluations"):
            one, other = (read_table(RunFolder(folder), table) for folder in (self.whole, run))
            if one.empty or not one.equals(other):
                return False
        return True

    def broken(self, name: str, injected: str, progress: Injector, *overrides: str, resume: bool = True) -> Row:
        """Run with a fault; where it ended the run, resume that, and compare the records."""
        run = self.folder / name
        code, said = self.run(run, progress, *overrides)
        ended = time.time()
        first = read_incidents(RunFolder(run)) if run.exists() else ()
        known = (first[0].time.timestamp() if first else ended) - progress.injected_at
        left = left_over(psutil.Process().children(recursive=True))
        lost = first[0].lost if first else "nothing"
        if code and resume:
            again, _ = self.run(run)
            said += f" [run again: {'goes on to its end' if again == 0 else f'exit {again}'}]"
        told = f"{first[0].cause}: {first[0].done}" if first and code == 0 else said
        same = self.same(run) if code == 0 or resume else None
        return Row(name, injected, round(known, 1), told, lost, code, left, same)


def left_over(started: Sequence[psutil.Process]) -> list[str]:
    """Names of those that are alive a while later."""
    _, alive = psutil.wait_procs(started, timeout=15)
    names = []
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                names.append(process.name())
    return names
