"""What the in-process generator gains by a cache with room, and by reading a prompt once for its completions.

    python scripts/bench_generator.py --size 4M --prompts 64 --prompt-tokens 32 --completion-tokens 48 [--profile]

The same completions in turns: with transformers' growing cache; with room taken ahead; with room, and a prompt's keys
and values held once a group, as shipped. Seconds on all cores; `--profile` also prints each side's ten operations with
the most time of their own. With `--ends 37`, 37 of 1,000 words end a completion (after 27 on average, at random), and a
fourth side takes rows out of the batch as soon as they end, instead of an eighth of them at a time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from transformers.cache_utils import DynamicCache

from rlreason.bench.top import top_operations
from rlreason.bench.workload import SIZES
from rlreason.engines import torch_generator
from rlreason.engines.protocols import SamplingSettings
from rlreason.engines.scratch import make_model
from rlreason.engines.torch_generator import TorchGenerator
from rlreason.recipe.schema import Architecture

VOCABULARY, GROUP = 1000, 8
CACHE = "rlreason.engines.decoding.roomy_cache"


def growing(config: Any) -> DynamicCache:
    """transformers' own cache."""
    return DynamicCache(config=config)


def main() -> None:
    """Measure; the first round warms up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="4M")
    for name, default in {"prompts": 64, "prompt-tokens": 32, "completion-tokens": 48, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--ends", type=int, default=0, help="words that end a completion")
    parser.add_argument("--profile", action="store_true")
    said = parser.parse_args()
    random = np.random.default_rng(0)
    asked = random.integers(2, VOCABULARY, (said.prompts, said.prompt_tokens)).astype(np.int32)
    prompts = list(np.repeat(asked, GROUP, axis=0))
    settings = SamplingSettings(
        temperature=1.0, top_p=1.0, max_new_tokens=said.completion_tokens, ignore_end=not said.ends
    )
    with tempfile.TemporaryDirectory(prefix="rlreason-bench-") as folder:
        shape = Architecture(**SIZES[said.size], max_positions=said.prompt_tokens + said.completion_tokens)
        model = make_model(Path(folder) / "model", shape, [f"w{number}" for number in range(VOCABULARY)], seed=0)

        def generator() -> TorchGenerator:
            made = TorchGenerator(model, dtype="float32", max_concurrent=len(prompts))
            made._ends = torch.arange(said.ends)
            return made

        with patch.object(torch_generator, "prepare"):
            sides = {"growing": generator(), "roomy": generator()}
        sides["shared"] = generator()
        if said.ends:
            sides["at once"] = generator()

        def generate(name: str) -> None:
            with ExitStack() as stack:
                if name == "growing":
                    stack.enter_context(patch(CACHE, growing))
                if name == "at once":
                    stack.enter_context(patch.object(torch_generator, "GOING", 1 - 1e-9))
                sides[name].generate(prompts, range(len(prompts)), settings)

        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(said.rounds + 1):
            for name in sides:
                begun = time.perf_counter()
                generate(name)
                seconds[name].append(time.perf_counter() - begun)
        for name in sides:
            print(f"{name}: {np.median(seconds[name][1:]):.2f} s")
            if said.profile:
                print(top_operations(partial(generate, name)))
    for slow, fast in [("growing", "roomy"), ("growing", "shared"), *([("at once", "shared")] if said.ends else [])]:
        ratios = [one / other for one, other in zip(seconds[slow][1:], seconds[fast][1:], strict=True)]
        print(f"{slow} / {fast}: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
