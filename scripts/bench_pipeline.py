"""Sampling ahead against taking turns: `python scripts/bench_pipeline.py`, or with --set as in `rlreason run`.

The stages of `recipes/asynchronous.yaml` are run from the base model, arm by arm and seed by seed on the same warm
engines, so that what else the machine does falls on all alike. Seconds an update are those from the end of the first
update to that of the last, everything included. Where both sides share their cores, no more can be won than what either
leaves idle. With --elsewhere SECONDS the engines of this process stand for engines on other devices: a draw and an
update take that much longer, asleep, and what is left is the pipeline's own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rlreason.engines.protocols import PolicyBatch, SampleBatch, SamplingSettings
from rlreason.engines.torch_generator import TorchGenerator
from rlreason.engines.torch_learner import TorchLearner
from rlreason.progress import TerminalProgress
from rlreason.recipe import load_recipe
from rlreason.recipe.stages import Rl
from rlreason.records import RunFolder, read_table
from rlreason.records.documents import read_plan
from rlreason.report.pipeline import busy_shares
from rlreason.stages.runner import run_recipe

ARMS = {"by_turns": "rl", "one_step_off": "rl_one_step_off", "newest": "rl_newest"}


def overrides(updates: int, repeats: int) -> list[str]:
    """What the benchmark changes of the recipe: no fine-tuning before, nearly no evaluation after."""
    arms = {f"arms.{arm}": f"{{after: null, stages: [{stage}]}}" for arm, stage in ARMS.items()}
    asked = {"evaluation.problems": 2, "evaluation.samples": 1, "evaluation.k": "[1]", "evaluation.probes": "{}"}
    seeds = {"seeds": list(range(repeats)), "arms.sft_atomic": "null", "stages.atomic": "null"}
    lengths = {f"stages.{stage}.updates": updates for stage in ARMS.values()}
    return [f"{key}={value}" for key, value in {**arms, **asked, **seeds, **lengths}.items()]


IN_PROCESS = ("resources.generator=torch", "resources.learner=torch", "resources.accelerator=cpu")


def elsewhere(seconds: float, max_new_tokens: int) -> None:
    """Have the engines of this process sleep: a whole completion's length of sampling, and an update, so long."""
    generate, update = TorchGenerator.generate, TorchLearner.update

    def sampled(self: TorchGenerator, prompts: Any, seeds: Any, settings: SamplingSettings) -> SampleBatch:
        time.sleep(seconds * settings.max_new_tokens / max_new_tokens)
        return generate(self, prompts, seeds, settings)

    def learned(self: TorchLearner, batch: PolicyBatch, number: int, on_policy: bool) -> Mapping[str, float]:
        time.sleep(seconds)
        return update(self, batch, number, on_policy)

    TorchGenerator.generate = sampled  # type: ignore[method-assign]
    TorchLearner.update = learned  # type: ignore[method-assign,assignment]


def figures(folder: RunFolder) -> list[dict[str, Any]]:
    """A row an arm and seed: seconds an update, what either side did of that time, staleness."""
    ends: dict[str, list[float]] = {}
    for line in folder.metrics_path.read_text().splitlines():
        told = json.loads(line)
        ends.setdefault(told["stage"], []).append(told["at"])
    metrics = read_table(folder, "updates").pivot(index=["stage", "update"], columns="metric", values="value")
    rows = []
    for identity, stage in read_plan(folder).stages.items():
        if stage.type != "rl":
            continue
        timeline = read_table(folder, "timeline", [identity])
        own = metrics.loc[identity]
        rows.append(
            {
                "arm": stage.arms[0],
                "seed": stage.seed,
                "seconds": (ends[identity][-1] - ends[identity][0]) / (len(ends[identity]) - 1),
                "busy": busy_shares(timeline) if len(timeline) else {},
                "staleness": float(own["staleness_mean"].mean()) if len(timeline) else 0.0,
                "reward": float(own["reward_mean"].iloc[-3:].mean()),
            }
        )
    return rows


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows, and the ratio of each arm's seconds to those by turns."""
    for row in rows:
        busy = ", ".join(f"{actor} {share:.0%}" for actor, share in row["busy"].items())
        print(f"{row['arm']:>13} seed {row['seed']}: {row['seconds']:.3f} s an update  {busy}")
    for arm in list(ARMS)[1:]:
        print(f"by turns / {arm}: {speed_up(rows, arm):.2f}")


def speed_up(rows: Sequence[Mapping[str, Any]], arm: str) -> float:
    """Seconds by turns over those of an arm, over all seeds."""
    total = {name: sum(row["seconds"] for row in rows if row["arm"] == name) for name in ("by_turns", arm)}
    return total["by_turns"] / total[arm]


def main() -> None:
    """Run, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=8, help="of each stage (8); at least 2")
    parser.add_argument("--repeats", type=int, default=2, help="seeds (2)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in `rlreason run`")
    parser.add_argument("--elsewhere", type=float, metavar="SECONDS", help="engines of this process, so long asleep")
    parser.add_argument("--json", action="store_true", help="print JSON")
    said = parser.parse_args()
    if said.updates < 2:
        sys.exit(f"--updates {said.updates}: time is measured between updates; give at least 2")
    kind = IN_PROCESS if said.elsewhere is not None else ()
    loaded = load_recipe("asynchronous", [*overrides(said.updates, said.repeats), *kind, *said.set])
    if said.elsewhere is not None:
        stage = loaded.recipe.stages["rl"]
        assert isinstance(stage, Rl)
        elsewhere(said.elsewhere, stage.sampling.max_new_tokens)
    with tempfile.TemporaryDirectory() as place:
        with TerminalProgress(Console(stderr=True)) as progress:
            outcome = run_recipe(loaded, Path(place) / "run", allow_change=False, progress=progress)
        rows = figures(outcome.folder)
    if said.json:
        print(json.dumps(rows))
    else:
        show(rows)


if __name__ == "__main__":
    main()
