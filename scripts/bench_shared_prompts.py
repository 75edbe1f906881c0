"""What it saves the learner to compute a prompt once for its completions: the same updates both ways, in turns.

    python scripts/bench_shared_prompts.py --size 4M --prompts 8 --prompt-tokens 100 --completion-tokens 30

One thread, processor seconds; prints the ratio rows a sequence / shared prompts over the pairs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from rlreason.algorithms.denominators import token_weights
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


def main() -> None:
    """Measure; the first pair warms up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="4M")
    for name, default in {
        **{"prompts": 8, "group": 8, "prompt-tokens": 100, "completion-tokens": 30},
        **{"pairs": 5, "micro-batch-tokens": 4096},
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    said = parser.parse_args()
    torch.set_num_threads(1)
    batch = make_batch(said.prompts, said.group, said.prompt_tokens, said.completion_tokens)
    settings = PolicySettings(Optimizer(learning_rate=1e-5), ClippedLoss(), said.pairs + 1, 1.0, None, seed=0)
    learners = {
        shared: TorchLearner(dtype="float32", micro_batch_tokens=said.micro_batch_tokens) for shared in (True, False)
    }
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(prefix="rlreason-bench-") as folder:
        shape = Architecture(**SIZES[said.size], max_positions=said.prompt_tokens + said.completion_tokens)
        model = make_model(Path(folder) / "model", shape, [f"w{number}" for number in range(VOCABULARY)], seed=0)
        for shared, learner in learners.items():
            learner.begin(model, settings, None)
            assert learner._module is not None
            learner._module.shares_prompts = shared
        for update in range(1, said.pairs + 2):
            for shared, learner in learners.items():
                begun = time.process_time()
                metrics = learner.update(batch, update, on_policy=False)
                seconds[shared].append(time.process_time() - begun)
                if update == 1:
                    print({name: metrics[name] for name in ("computed_tokens", "forward_passes", "loss", "grad_norm")})
    ratios = [rows / shared for rows, shared in zip(seconds[False][1:], seconds[True][1:], strict=True)]
    print(f"rows / shared: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) over {said.pairs} pairs")


if __name__ == "__main__":
    main()
