"""The driver's own cost of an update, against the number of generators: `python scripts/bench_driver.py`.

`rlreason.stages.rl.run_update` runs as it is: problems picked, prompts encoded, a call a generator over Ray,
completions decoded, groups put together, advantages, the learner's batch, records written. What is not the driver's
answers at once: logical generators, many in an actor process, have their completions ready; rewards and the learner are
empty. What remains is the driver, and the actor processes' share of the same cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
import ray

from rlreason.engines.codec import TextCodec
from rlreason.engines.protocols import Engines, Learner, PolicyBatch, SampleBatch, SamplingSettings
from rlreason.orchestration.cluster import connect
from rlreason.orchestration.crew import Crew, Member
from rlreason.orchestration.fleet import RayGenerator, SharedWeights
from rlreason.recipe import load_recipe
from rlreason.recipe.stages import Rl
from rlreason.records.run_folder import RunFolder
from rlreason.rewards.pool import ScoringPool
from rlreason.stages.binding import BoundRecipe, bind
from rlreason.stages.context import Context, Progress
from rlreason.stages.rl import run_update
from rlreason.stages.schedule import Schedule
from rlreason.stages.sources import TurnByTurn
from rlreason.stages.updates import UpdateLog
from rlreason.types import Problem, Score

COMPLETIONS = 8
"""Of each generator an update: one prompt's group."""
UPDATE_S = 30.0
"""The update that the cost is held against."""
MOST_SHARE = 0.10
LINEAR = 1.1
"""Largest exponent of the growth, over the upper half of the sizes, that is taken for linear on a noisy machine."""
PHASES = ("generate", "score", "learn", "sync", "other")


class ReadyGenerators:
    """An actor process that stands for many generators, whose completions are there before they are asked for."""

    def __init__(self, tokens: int) -> None:
        random = np.random.default_rng(0)
        self._tokens, self._length, self._version = random.integers(0, 256, 4096 + tokens, np.int32), tokens, 0

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """Tokens that depend on the seed."""
        starts = [seed % 4096 for seed in seeds]
        total = len(prompts) * self._length
        return SampleBatch(
            tokens=np.concatenate([self._tokens[start : start + self._length] for start in starts]),
            logprobs=np.full(total, -0.5, dtype=np.float32),
            lengths=np.full(len(prompts), self._length, dtype=np.int32),
            stopped=np.ones(len(prompts), dtype=bool),
            policy_version=self._version,
        )

    def load_weights(self, weights: Any, policy_version: int) -> tuple[int, int]:
        """Only the version; a fingerprint of nothing."""
        self._version = policy_version
        return policy_version, 0

    def pulse(self) -> int:
        """It is never long at work."""
        return 0


class EmptyLearner:
    """Learns nothing, at once."""

    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> Mapping[str, float]:
        """As many tokens as there are."""
        return {"mismatch_mean": 0.0, "trained_tokens": float(len(batch.tokens)), "skipped": 0.0}

    def weights(self) -> Any:
        """Something to send."""
        return SharedWeights(ray.put(b""), 0)


class EmptyPool:
    """Rewards that are there at once; every other is paid, so that advantages are not 0."""

    def score(self, asked: Sequence[tuple[Problem, str]], turns: Sequence[Any]) -> list[Score]:
        """A score each."""
        return [
            Score(reward=float(index % 2), correct=index % 2 == 1, derivation_correct=index % 2 == 1)
            for index in range(len(asked))
        ]


def measure(bound: BoundRecipe, processes: Sequence[Any], workers: int, updates: int) -> dict[str, Any]:
    """Median seconds of an update with so many generators, and of its phases; the first update is not counted."""
    stage = next(stage for stage in bound.plan.stages if isinstance(stage.config, Rl))
    config = cast(Rl, stage.config).model_copy(update={"prompts_per_update": workers, "group_size": COMPLETIONS})
    assert bound.model_path is not None, "quickstart starts from a model"
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place))
        actors = [processes[worker % len(processes)] for worker in range(workers)]
        members = [Member(f"generator-{worker}", actor, lambda: None) for worker, actor in enumerate(actors)]
        limits = bound.recipe.resources
        generator = RayGenerator(Crew(members, limits, folder.logs, lambda incident: None), limits)
        context = Context(
            recipe=bound.recipe,
            folder=folder,
            tasks=bound.tasks,
            codec=TextCodec(bound.model_path),
            engines=Engines(generator, cast(Learner, EmptyLearner()), {}),
            pool=cast(ScoringPool, EmptyPool()),
            progress=cast(Progress, None),
            bases={},
            scorer_folders={},
        )
        generator.load_weights(SharedWeights(ray.put(b""), 0), policy_version=0)
        source = TurnByTurn(context, stage, config, Schedule(bound.tasks, config, np.random.default_rng(0)))
        log = UpdateLog(folder, stage.id, 1)
        rows = []
        for update in range(1, updates + 2):
            start = perf_counter()
            metrics = run_update(context, stage, config, update, source)
            log.add(update, metrics)
            rows.append([perf_counter() - start, *(metrics[f"seconds_{phase}"] for phase in PHASES)])
    whole, *phases = np.median(rows[1:], axis=0).tolist()
    return {
        "generators": workers,
        "completions": workers * COMPLETIONS,
        "seconds": whole,
        "phases": dict(zip(PHASES, phases, strict=True)),
    }


def verdict(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the seconds grow, and what they are of an update."""
    workers, seconds = (np.array([row[key] for row in rows], dtype=float) for key in ("generators", "seconds"))
    upper = slice(len(rows) // 2, None)
    slope, fixed = np.polyfit(workers, seconds, 1)
    exponent = float(np.polyfit(np.log(workers[upper]), np.log(seconds[upper]), 1)[0])
    share = float(seconds[-1] / UPDATE_S)
    return {
        "seconds_fixed": float(fixed),
        "seconds_a_generator": float(slope),
        "seconds_a_completion": float(slope / COMPLETIONS),
        "exponent": exponent,
        "share_of_30_s": share,
        "linear": exponent <= LINEAR,
        "under_10_percent": share < MOST_SHARE,
    }


def main() -> int:
    """Measure 1, 2, 4 ... generators, print a table and a fit; 1 where the cost grows too fast or is too large."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--most", type=int, default=1024, help="generators; 1, 2, 4 ... up to that (default 1024)")
    parser.add_argument("--updates", type=int, default=5, help="measured updates of each (default 5)")
    parser.add_argument("--tokens", type=int, default=64, help="of every completion (default 64)")
    parser.add_argument("--processes", type=int, default=2, help="actor processes that stand for them (default 2)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args()
    if min(asked.most, asked.updates, asked.tokens, asked.processes) < 1 or asked.most < 8:
        parser.error("--most is at least 8, for there to be a growth; the others are at least 1")
    bound = bind(load_recipe("quickstart"))
    connect(bound.recipe.resources)
    try:
        actor = ray.remote(num_cpus=0)(ReadyGenerators)
        processes = [actor.remote(asked.tokens) for _ in range(asked.processes)]
        sizes = [2**power for power in range(asked.most.bit_length())]
        rows = [measure(bound, processes, workers, asked.updates) for workers in sizes]
    finally:
        ray.shutdown()
    found = verdict(rows)
    if asked.json:
        print(json.dumps({"tokens": asked.tokens, "rows": rows, **found}, indent=2))
    else:
        print("generators  completions  seconds  " + "  ".join(f"{phase:>8}" for phase in PHASES))
        for row in rows:
            phases = "  ".join(f"{row['phases'][phase]:8.4f}" for phase in PHASES)
            print(f"{row['generators']:10}  {row['completions']:11}  {row['seconds']:7.3f}  {phases}")
        print(
            f"\n{found['seconds_fixed']:.4f} s and {1000 * found['seconds_a_completion']:.3f} ms a completion; grows "
            f"as generators to the power {found['exponent']:.2f}; {found['share_of_30_s']:.1%} of an update of 30 s"
        )
    return 0 if found["linear"] and found["under_10_percent"] else 1


if __name__ == "__main__":
    sys.exit(main())
