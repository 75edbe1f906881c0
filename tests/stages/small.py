"""A recipe whose whole run takes seconds in this process, and a progress that can stop it anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rlreason.recipe import load_recipe
from rlreason.recipe.plan import PlannedStage
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from rlreason.stages.runner import RunOutcome, run_recipe

RECIPE = """
name: small
model:
  scratch: {layers: 1, width: 64, heads: 2, max_positions: 192}
tasks:
  people:
    {type: complementary, people: 16, parametric_relations: 4, contextual_relations: 4, hops: {1: 1, 2: 1}}
rewards:
  parts:
    - {spec: "variety.py:score"}
stages:
  atomic:
    type: sft
    data:
      - {cells: ["parametric/*"]}
      - {texts: true}
    updates: 5
    batch_rows: 4
    row_tokens: 96
    checkpoint_every: 2
    optimizer: {learning_rate: 2.0e-3}
  rl:
    type: rl
    data:
      - {cells: ["complementary/*"]}
    updates: 5
    prompts_per_update: 3
    group_size: 4
    sampling: {temperature: 1.0, max_new_tokens: 8}
    checkpoint_every: 2
    optimizer: {learning_rate: 2.0e-3, warmup_updates: 2, schedule: linear}
arms:
  sft: [atomic]
  sft_rl: {after: sft, stages: [rl]}
evaluation:
  levels: [iid]
  cells: ["complementary/*"]
  problems: 6
  samples: 2
  k: [1, 2]
  sampling: {max_new_tokens: 8}
resources: {generator: torch, learner: torch, threads: 1, accelerator: cpu, micro_batch_tokens: 512}
"""
VARIETY = '''
def score(problem, completion, derivation):
    """Pays for different characters, so that an untrained model has something to learn."""
    return {"reward": len(set(completion)) / 10, "correct": derivation.answer_correct}
'''
TIMES = ("seconds", "completions_per_second", "_tokens_per_second")
"""How names of metrics that measure the machine begin or end."""


@dataclass
class Recorder:
    """A progress that writes down what it is told, and stops the run where asked to.

    Attributes:
        stop: (stage type, units done) at which it raises KeyboardInterrupt, as Ctrl-C would.
    """

    stop: tuple[str, int] | None = None
    started: list[tuple[str, int]] = field(default_factory=list)
    advanced: list[tuple[str, int]] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def run_started(self, stages: Sequence[PlannedStage], done: Sequence[str]) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stage_started(self, stage: PlannedStage, total: int, unit: str, done: int) -> None:
        self.started.append((stage.type, done))

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        self.advanced.append((stage.type, done))
        if self.stop == (stage.type, done):
            raise KeyboardInterrupt

    def stage_finished(self, stage: PlannedStage, seconds: float) -> None:
        self.finished.append(stage.type)


def write_recipe(folder: Path, text: str = RECIPE, **files: str) -> Path:
    """The recipe with its reward beside it; `files` are more files, or others: variety="def score..."."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"variety": VARIETY, **files}.items():
        (folder / f"{name}.py").write_text(content)
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def run(recipe: Path, folder: Path, *overrides: str, progress: Recorder | None = None, **settings: bool) -> RunOutcome:
    """Run it in this process; `settings` are those of `run_recipe`."""
    loaded = load_recipe(recipe, overrides)
    settings = {"allow_change": False, **settings}
    return run_recipe(loaded, folder, progress=progress or Recorder(), **settings)


def results(folder: Path) -> dict[str, pd.DataFrame]:
    """Every table of a run, without the metrics that measure the machine."""
    tables: dict[str, Any] = {
        name: read_table(RunFolder(folder), name) for name in ("rollouts", "evaluations", "problems")
    }
    updates = read_table(RunFolder(folder), "updates")
    machine = updates["metric"].map(lambda name: name.startswith(TIMES) or name.endswith(TIMES))
    order = ["stage", "update", "metric"]
    tables["updates"] = updates[~machine].sort_values(order, ignore_index=True)
    return tables


def assert_same_results(one: Path, other: Path) -> None:
    """Every row and every column of the records is the same, down to the last bit."""
    for (name, expected), found in zip(results(one).items(), results(other).values(), strict=True):
        assert len(expected) > 0, name
        pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=name)
