"""`rlreason bench learner`: what the learner costs beside a bare loop, what it pads, and what a large vocabulary takes.

The bare loop is the in-process learner: plain torch over the same micro-batches and losses. Both make the same update
in turns, in one process, so that what else the machine does hits both. Memory is measured in processes of their own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlreason.algorithms.denominators import token_weights
from rlreason.engines.protocols import Learner, PolicyBatch, PolicySettings

VOCABULARY = 150_000
MEMORY_TOKENS = 2048
"""Completion tokens whose log-probabilities are taken at once, and trained."""
MEMORY_WIDTH = 256
_MEMORY = """
import json, resource, sys, torch
from rlreason.algorithms.logprobs import token_logprobs
kind, tokens, width, vocabulary = sys.argv[1], *map(int, sys.argv[2:])
torch.manual_seed(0)
head = torch.nn.Linear(width, vocabulary, bias=False)
hidden = torch.randn(tokens, width, requires_grad=True)
targets = torch.randint(vocabulary, (tokens,))
head.weight.grad = torch.zeros_like(head.weight)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if kind == "chunked":
    logprobs, _ = token_logprobs(hidden, targets, head)
elif kind == "whole":
    logprobs = torch.log_softmax(head(hidden).float(), dim=-1).gather(1, targets[:, None])
if kind != "nothing":
    logprobs.sum().backward()
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def bench_learner(
    updates: int = 10, size: str = "4M", sequences: int = 256, tokens: tuple[int, int] = (32, 48)
) -> dict[str, Any]:
    """Alternate updates of the DeepSpeed learner (one rank, ZeRO 1) and of the bare loop, then measure memory.

    Args:
        updates: measured pairs; one more of each warms up.
        size: of the model, one of `workload.SIZES`.
        sequences: an update, with prompts of `tokens[0]` tokens and completions of 1 to `tokens[1]`.
    Returns:
        workload, seconds of either, overhead (ours / bare - 1, quartiles over the pairs), padded_share, memory.
    """
    from rlreason.bench.workload import SIZES
    from rlreason.engines.deepspeed_learner import DeepSpeedLearner
    from rlreason.engines.scratch import make_model
    from rlreason.engines.torch_learner import TorchLearner
    from rlreason.recipe.objectives import ClippedLoss
    from rlreason.recipe.schema import Architecture
    from rlreason.recipe.training import Optimizer

    settings = PolicySettings(
        optimizer=Optimizer(learning_rate=1e-5),
        loss=ClippedLoss(),
        updates=updates + 1,
        temperature=1.0,
        mismatch_tolerance=None,
        seed=0,
    )
    passes: dict[str, Any] = {"dtype": "float32", "micro_batch_tokens": 4096}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    with tempfile.TemporaryDirectory(prefix="rlreason-bench-") as folder:
        words = [f"w{number}" for number in range(700)]
        checkpoint = make_model(Path(folder) / "model", Architecture(**SIZES[size]), words, seed=0)
        ours = DeepSpeedLearner(
            rank=0, ranks=1, master_address="127.0.0.1", master_port=port, accelerator="cpu", zero_stage=1, **passes
        )
        learners: dict[str, Learner] = {"ours": ours, "bare": TorchLearner(**passes)}
        for learner in learners.values():
            learner.begin(checkpoint, settings, None)
        seconds: dict[str, list[float]] = {name: [] for name in learners}
        for update in range(1, updates + 2):
            batch = make_batch(np.random.default_rng(update), sequences, *tokens)
            for name, learner in learners.items():
                begun = time.perf_counter()
                metrics = learner.update(batch, update, on_policy=False)
                seconds[name].append(time.perf_counter() - begun)
        for learner in learners.values():
            learner.close()
    overheads = [mine / bare - 1 for mine, bare in zip(seconds["ours"][1:], seconds["bare"][1:], strict=True)]
    return {
        "workload": {"size": size, "sequences": sequences, "prompt_tokens": tokens[0], "completion_tokens": tokens[1]},
        "seconds": {name: float(np.median(each[1:])) for name, each in seconds.items()},
        "overhead": dict(zip(("q1", "median", "q3"), np.quantile(overheads, [0.25, 0.5, 0.75]).tolist(), strict=True)),
        "padded_share": metrics["padded_share"],
        "memory": measure_memory(),
    }


def make_batch(random: np.random.Generator, sequences: int, prompt: int, longest: int) -> PolicyBatch:
    """Random tokens; completions of 1 to `longest`."""
    lengths = random.integers(1, longest + 1, sequences).astype(np.int32)
    total = int(lengths.sum())
    return PolicyBatch(
        tokens=random.integers(2, 700, total + prompt * sequences).astype(np.int32),
        prompt_lengths=np.full(sequences, prompt, dtype=np.int32),
        lengths=lengths,
        generator_logprobs=np.full(total, -6.0, dtype=np.float32),
        advantages=random.normal(size=total).astype(np.float32),
        weights=np.repeat(token_weights(lengths, "tokens", longest), lengths).astype(np.float32),
    )


def measure_memory() -> dict[str, Any]:
    """Memory that log-probabilities and their gradients add, in MiB: in chunks, as we do, and from whole logits."""
    sizes = (MEMORY_TOKENS, MEMORY_WIDTH, VOCABULARY)
    added = {kind: _added_mib([kind, *map(str, sizes)]) for kind in ("nothing", "chunked", "whole")}
    return {
        "vocabulary": VOCABULARY,
        "tokens": MEMORY_TOKENS,
        "logits_mib": MEMORY_TOKENS * VOCABULARY * 4 / 2**20,
        **{f"{kind}_mib": added[kind] - added["nothing"] for kind in ("chunked", "whole")},
    }


def _added_mib(arguments: Sequence[str]) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=os.environ
    )
    return float(json.loads(done.stdout)) / 1024
