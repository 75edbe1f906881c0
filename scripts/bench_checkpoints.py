"""How long training waits for a saved state: `python scripts/bench_checkpoints.py [--learner deepspeed] [--json]`.

Of each model size, in one run and by turns, so that a noisy machine is noisy for all of them:

    plain      torch.save of the same tensors into one file, which training waits for; not synced, no checksums
    waited     a state as it is saved here, with training waiting until it is whole on the disk
    state      a state as it is saved here: training waits while it is copied, and goes on while it is written

"update" is an update with nothing being written beside it, "beside" one that is made while a state is written.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from rlreason.engines.learner_state import FILE, LearnerState
from rlreason.engines.protocols import PolicyBatch, PolicySettings
from rlreason.engines.scratch import make_model
from rlreason.recipe.objectives import ClippedLoss
from rlreason.recipe.schema import Architecture
from rlreason.recipe.training import Optimizer

SIZES = {
    "4M": Architecture(layers=5, width=256, heads=8),
    "30M": Architecture(layers=9, width=512, heads=16),
}
SETTINGS = PolicySettings(Optimizer(learning_rate=1e-5), ClippedLoss(), 1000, 1.0, None, 0)
SEQUENCES, TOKENS = 8, 32


def learner_of(kind: str) -> Any:
    """A learner of one rank."""
    if kind == "torch":
        from rlreason.engines.torch_learner import TorchLearner

        return TorchLearner(dtype="float32", micro_batch_tokens=SEQUENCES * TOKENS)
    from rlreason.engines.deepspeed_learner import DeepSpeedLearner

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return DeepSpeedLearner(
        rank=0,
        ranks=1,
        master_address="127.0.0.1",
        master_port=port,
        accelerator="cpu",
        dtype="float32",
        zero_stage=1,
        micro_batch_tokens=SEQUENCES * TOKENS,
    )


def batch() -> PolicyBatch:
    """Random tokens, half of each sequence a completion."""
    random, half = np.random.default_rng(0), np.full(SEQUENCES, TOKENS // 2, dtype=np.int32)
    flat = SEQUENCES * TOKENS // 2
    return PolicyBatch(
        tokens=random.integers(2, 250, SEQUENCES * TOKENS).astype(np.int32),
        prompt_lengths=half,
        lengths=half,
        generator_logprobs=np.full(flat, -5.0, dtype=np.float32),
        advantages=random.normal(size=flat).astype(np.float32),
        weights=np.full(flat, 1 / flat, dtype=np.float32),
    )


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def measure(learner: Any, size: str, rounds: int, folder: Path) -> dict[str, Any]:
    """Medians over `rounds`, in seconds."""
    checkpoint = folder / size
    make_model(checkpoint, SIZES[size], ["a", "b"], 0)
    work, state = batch(), folder / "state" / "update-000001"
    learner.begin(checkpoint, SETTINGS, None)

    def settle() -> None:
        (learner._writer if hasattr(learner, "_writer") else learner._states._writer).settle()

    def update() -> None:
        learner.update(work, 1, on_policy=False)

    def save() -> None:
        learner.save_state(state, {"stage": "rl-0"})

    def save_and_wait() -> None:
        save()
        settle()

    update()
    save_and_wait()
    saved = LearnerState(state)
    tensors = {name: saved[name].clone() for name in saved}
    found: dict[str, list[float]] = {name: [] for name in ("plain", "waited", "state", "update", "beside", "write")}
    for _ in range(rounds):
        found["plain"].append(seconds(lambda: torch.save(tensors, folder / "plain.pt")))
        found["waited"].append(seconds(save_and_wait))
        found["update"].append(seconds(update))
        begun = perf_counter()
        found["state"].append(seconds(save))
        found["beside"].append(seconds(update))
        settle()
        found["write"].append(perf_counter() - begun)
    result: dict[str, Any] = {name: statistics.median(values) for name, values in found.items()}
    result |= {"model": size, "mib": (state / FILE).stat().st_size / 2**20}
    result["plain_over_state"] = statistics.median(a / b for a, b in zip(found["plain"], found["state"], strict=True))
    result["waited_over_state"] = statistics.median(a / b for a, b in zip(found["waited"], found["state"], strict=True))
    learner.end()
    return result


def main() -> None:
    """Print a line a model size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learner", choices=["torch", "deepspeed"], default="torch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure; default: a temporary one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        learner = learner_of(asked.learner)
        results = [measure(learner, size, asked.rounds, folder) for size in SIZES]
        learner.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        print(json.dumps(results, indent=2))
        return
    columns = ("plain", "waited", "state", "update", "beside", "write", "plain_over_state", "waited_over_state")
    print(f"{asked.learner}, medians of {asked.rounds} rounds, seconds")
    print("model    MiB " + " ".join(f"{name:>9}" for name in columns[:6]) + "  plain/state  waited/state")
    for one in results:
        cells = " ".join(f"{one[name]:9.3f}" for name in columns[:6])
        print(f"{one['model']:5} {one['mib']:6.0f} {cells} {one[columns[6]]:12.1f} {one[columns[7]]:13.1f}")


if __name__ == "__main__":
    main()
