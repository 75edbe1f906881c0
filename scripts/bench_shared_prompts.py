"""What it saves the learner to compute a prompt once for its completions, and groups of equal rewards not at all.

    python scripts/bench_shared_prompts.py --size 4M --prompts 8 --prompt-tokens 100 --completion-tokens 30

The same updates in turns: a row a sequence; prompts shared; prompts shared, and half of the groups without advantage.
One thread, processor seconds; prints the ratios of the first to the second and of the second to the third. `--profile`
also prints the ten operations of each with the most time of their own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from rlreason.algorithms.denominators import token_weights
from rlreason.bench.top import top_operations
from rlreason.bench.workload import SIZES
from rlreason.engines.protocols import PolicyBatch, PolicySettings
from rlreason.engines.scratch import make_model
from rlreason.engines.torch_learner import TorchLearner
from rlreason.recipe.objectives import ClippedLoss
from rlreason.recipe.schema import Architecture
from rlreason.recipe.training import Optimizer

VOCABULARY = 700


def make_batch(prompts: int, group: int, prompt_tokens: int, completion_tokens: int) -> PolicyBatch:
    """Random prompts, each `group` times, with random completions; all of the given lengths."""
    random = np.random.default_rng(0)
    count = prompts * group
    asked = np.repeat(random.integers(2, VOCABULARY, (prompts, prompt_tokens)), group, axis=0)
    answered = random.integers(2, VOCABULARY, (count, completion_tokens))
    lengths = np.full(count, completion_tokens, dtype=np.int32)
    return PolicyBatch(
        tokens=np.concatenate([asked, answered], axis=1).ravel().astype(np.int32),
        prompt_lengths=np.full(count, prompt_tokens, dtype=np.int32),
        lengths=lengths,
        generator_logprobs=np.full(answered.size, -6.9, dtype=np.float32),
        advantages=random.normal(size=answered.size).astype(np.float32),
        weights=np.repeat(token_weights(lengths, "tokens", completion_tokens), lengths).astype(np.float32),
    )


@dataclass(slots=True)
class Side:
    """One way to make the updates, and the processor seconds of each."""

    learner: TorchLearner
    batch: PolicyBatch
    shared: bool
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Measure; the first pair warms up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="4M")
    for name, default in {
        **{"prompts": 8, "group": 8, "prompt-tokens": 100, "completion-tokens": 30},
        **{"pairs": 5, "micro-batch-tokens": 4096},
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--profile", action="store_true")
    said = parser.parse_args()
    torch.set_num_threads(1)
    batch = make_batch(said.prompts, said.group, said.prompt_tokens, said.completion_tokens)
    settings = PolicySettings(Optimizer(learning_rate=1e-5), ClippedLoss(), said.pairs + 2, 1.0, None, seed=0)
    silent = batch.advantages.copy()
    silent[: len(silent) // 2] = 0  # of the first half of the prompts
    sides = {
        name: Side(TorchLearner(dtype="float32", micro_batch_tokens=said.micro_batch_tokens), each, name != "rows")
        for name, each in {"rows": batch, "shared": batch, "half": replace(batch, advantages=silent)}.items()
    }
    with tempfile.TemporaryDirectory(prefix="rlreason-bench-") as folder:
        shape = Architecture(**SIZES[said.size], max_positions=said.prompt_tokens + said.completion_tokens)
        model = make_model(Path(folder) / "model", shape, [f"w{number}" for number in range(VOCABULARY)], seed=0)
        for side in sides.values():
            side.learner.begin(model, settings, None)
            assert side.learner._module is not None
            side.learner._module.shares_prompts = side.shared
        for update in range(1, said.pairs + 2):
            for name, side in sides.items():
                begun = time.process_time()
                metrics = side.learner.update(side.batch, update, on_policy=False)
                side.seconds.append(time.process_time() - begun)
                if update == 1:
                    print(name, {key: metrics[key] for key in ("computed_tokens", "forward_passes", "loss")})
        for name, side in sides.items() if said.profile else ():
            print(name)
            print(top_operations(partial(side.learner.update, side.batch, said.pairs + 2, on_policy=False)))
    for slow, fast in (("rows", "shared"), ("shared", "half")):
        pairs = zip(sides[slow].seconds[1:], sides[fast].seconds[1:], strict=True)
        ratios = [one / other for one, other in pairs]
        print(f"{slow} / {fast}: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {said.pairs} pairs")


if __name__ == "__main__":
    main()
