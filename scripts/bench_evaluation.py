"""Evaluations as they are against by turns: `python scripts/bench_evaluation.py`, or with --set as in `rlreason run`.

By turns is the obvious way: of as many problems as fill a block the greedy completions, then the samples, then scores,
then records, while the generators wait; then the next block. As it is, see `rlreason.stages.evaluate`. Both evaluate
the same checkpoint, under one seed after the other, alternating, on the same warm engines, so that what else the
machine does falls on both alike. Idle is the share of an evaluation in which no generator was asked for anything;
"between" the seconds from the last completion of one evaluation to the first request of the next. The last line says
how long pass@256 on 600 problems would take for 8 checkpoints at the best rate. The model is random unless --model
names one, so every completion has its full length. With --stopping nothing is sampled: the rule of `evaluation.stop_at`
is simulated, to see what it saves and what it does to pass@1 and its interval.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console

from rlreason.algorithms.intervals import wilson_interval
from rlreason.engines.meter import MeteredGenerator
from rlreason.engines.protocols import SampleBatch
from rlreason.progress import TerminalProgress
from rlreason.recipe import load_recipe
from rlreason.recipe.early_stop import StopAt
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.schema import Evaluation
from rlreason.stages import evaluate, runner
from rlreason.stages.context import Context

SCRATCH = ("model.path=null", "model.scratch={layers: 3, width: 128, heads: 4}")
IN_PROCESS = ("resources.generator=torch", "resources.learner=torch", "resources.accelerator=cpu")
GENERATED: list[tuple[float, float]] = []
"""(begun, ended) of every request to the generators."""


def overrides(problems: int, samples: int, seeds: int) -> list[str]:
    """What the benchmark changes of the recipe quickstart: one arm without a stage, one level without probes."""
    arms = {f"arms.{arm}": "null" for arm in ("sft_composite", "sft_mixture", "sft_composite_rl", "sft_atomic_rl")}
    asked = {"levels": "[iid]", "probes": "{}", "problems": problems, "samples": samples, "k": f"[1, {samples}]"}
    own = {"arms.sft_atomic": "[]", "seeds": list(range(seeds))}
    return [f"{key}={value}" for key, value in {**arms, **own}.items()] + [
        f"evaluation.{key}={value}" for key, value in asked.items()
    ]


def by_turns(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """The stage, one thing after the other."""
    config = stage.config
    assert isinstance(config, Evaluation)
    items = evaluate.asked(context, config)
    context.progress.stage_started(stage, len(items), "problems", 0)
    evaluate.write_problems(context, stage, items)
    evaluate.write_trained_paths(context, stage, items)
    context.engines.generator.load_checkpoint(parent.resolve(), policy_version=0)
    size = max(1, evaluate.block_completions(context.recipe.resources) // (config.samples + 1))
    for part, at in enumerate(range(0, len(items), size)):
        both = [
            evaluate.Block(items[at : at + size], samples)
            for samples in (range(evaluate.GREEDY, 0), range(config.samples))
        ]
        completions = [evaluate.ask(context, stage, config, block) for block in both]
        for number, (block, own) in enumerate(zip(both, completions, strict=True)):
            evaluate.record(context, stage, 2 * part + number, block, own)
        context.progress.stage_advanced(stage, min(len(items), at + size), {})
    return {"problems": float(len(items)), "completions": float(len(items) * (config.samples + 1))}


def measure(loaded: Any, folder: Path) -> list[dict[str, float]]:
    """Run every evaluation of the recipe, the even ones by turns; a row each."""
    rows: list[dict[str, float]] = []
    generate = MeteredGenerator.generate

    def timed(self: MeteredGenerator, *arguments: Any) -> SampleBatch:
        begun = time.perf_counter()
        batch = generate(self, *arguments)
        GENERATED.append((begun, time.perf_counter()))
        return batch

    def alternating(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
        first, begun = len(GENERATED), time.perf_counter()
        told = (by_turns if len(rows) % 2 == 0 else evaluate.run_evaluate)(context, stage, parent)
        seconds, own = time.perf_counter() - begun, GENERATED[first:]
        rows.append(
            {
                "seconds": seconds,
                "rate": told["completions"] / seconds,
                "idle": 1 - sum(end - start for start, end in own) / seconds,
                "between": own[0][0] - GENERATED[first - 1][1] if first else 0.0,
            }
        )
        return told

    MeteredGenerator.generate = timed  # type: ignore[method-assign,assignment]
    runner.STAGES["evaluate"] = alternating
    runner.run_recipe(loaded, folder, allow_change=False, progress=TerminalProgress(Console(stderr=True)))
    return rows


def show(rows: Sequence[Mapping[str, float]]) -> None:
    """Print the rows, the ratios of neighbours, and what the large evaluation would take."""
    for number, row in enumerate(rows):
        kind = "as it is" if number % 2 else "by turns"
        print(
            f"{kind}: {row['seconds']:.1f} s, {row['rate']:.0f} completions/s, idle {row['idle']:.1%}, between "
            f"{row['between']:.2f} s"
        )
    ratios = [now["rate"] / before["rate"] for before, now in zip(rows[::2], rows[1::2], strict=True)]
    print(f"as it is / by turns: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    hours = 8 * 600 * 257 / max(row["rate"] for row in rows[1::2]) / 3600
    print(f"pass@256 on 600 problems for 8 checkpoints, at the best rate: {hours:.1f} hours")


def stopping(half_width: float, at_least: int, samples: int, problems: int, repeats: int) -> None:
    """Print, for several true pass@1, what stopping early saves, and what is true of pass@1 and its interval then."""
    stop = StopAt(half_width=half_width, at_least=at_least)
    looks = evaluate.rounds(Evaluation(levels=("any",), samples=samples, k=(1,), stop_at=stop))
    random = np.random.default_rng(0)
    print(
        f"{problems} problems, half_width {half_width:g}, {at_least} to {samples} samples; {repeats} evaluations a row"
    )
    print("pass@1   samples   mean error   covered   all samples: mean error   covered")
    for truth in (0.01, 0.03, 0.1, 0.3, 0.5, 0.9):
        found = []
        for _ in range(repeats):
            ability = random.beta(truth, 1 - truth, size=problems)  # most problems solved nearly always or never
            right, kept = np.zeros(problems), None
            for look in looks:
                right += random.binomial(len(look), ability)
                value, low, high = wilson_interval(right / look.stop, look.stop)
                if kept is None and (high - low) / 2 <= half_width:
                    kept = (float(look.stop), value - truth, float(low <= truth <= high))
            last = (value - truth, float(low <= truth <= high))
            found.append((*(kept or (float(samples), *last)), *last))
        taken, error, covered, error_all, covered_all = np.mean(found, axis=0)
        print(f"{truth:6.2f} {taken:9.1f} {error:+12.5f} {covered:9.3f} {error_all:+25.5f} {covered_all:9.3f}")


def main() -> None:
    """Run, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=48, help="problems (48)")
    parser.add_argument("--samples", type=int, default=256, help="sampled completions a problem (256)")
    parser.add_argument("--pairs", type=int, default=3, help="evaluations either way (3)")
    parser.add_argument("--vllm", action="store_true", help="vLLM on Ray; else the engines of this process")
    parser.add_argument("--model", help="a Hugging Face directory; else random weights")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in `rlreason run`")
    parser.add_argument("--stopping", action="store_true", help="simulate evaluation.stop_at instead")
    parser.add_argument("--half-width", type=float, default=0.02, help="of the rule that is simulated (0.02)")
    said = parser.parse_args()
    if said.stopping:
        stopping(said.half_width, 16, said.samples, problems=600, repeats=1000)
        return
    changed = [
        *overrides(said.problems, said.samples, 2 * said.pairs),
        *((f"model.path={Path(said.model).resolve()}",) if said.model else SCRATCH),
        *(() if said.vllm else IN_PROCESS),
        *said.set,
    ]
    with tempfile.TemporaryDirectory() as folder:
        show(measure(load_recipe("quickstart", changed), Path(folder) / "run"))


if __name__ == "__main__":
    main()
