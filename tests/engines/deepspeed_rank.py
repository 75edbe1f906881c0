"""One rank of a DeepSpeed group, run as a process of its own by test_deepspeed_learner.py.

    python -m tests.engines.deepspeed_rank FOLDER RANK RANKS PORT

FOLDER/work.pkl says what to do, in order; rank 0 writes what came of it to FOLDER/found.pkl.
"""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlreason.engines.protocols import (
    PolicyBatch,
    PolicySettings,
    PreferenceJob,
    PreferencePairs,
    SupervisedJob,
    SupervisedRows,
)


@dataclass(frozen=True)
class PolicyWork:
    """Three updates under each ZeRO stage, a refused one, and the third again by a learner restored from disk."""

    checkpoint: Path
    settings: PolicySettings
    batches: tuple[PolicyBatch, PolicyBatch, PolicyBatch]
    zero_stages: tuple[int, ...]


@dataclass(frozen=True)
class StageWork:
    """A supervised or preference stage to its end."""

    job: SupervisedJob | PreferenceJob
    examples: SupervisedRows | PreferencePairs
    zero_stage: int


@dataclass(frozen=True)
class ResumeWork:
    """Update 3 by a learner restored from `state`, and what it then saves as `saved`; update 4, and update 4 again by
    one restored from that."""

    checkpoint: Path
    settings: PolicySettings
    batch: PolicyBatch
    state: Path | None
    saved: Path
    zero_stage: int
    dtype: str = "float32"


def make_learner(rank: int, ranks: int, port: int, zero_stage: int, dtype: str = "float32") -> Any:
    from rlreason.engines.deepspeed_learner import DeepSpeedLearner

    return DeepSpeedLearner(
        rank=rank,
        ranks=ranks,
        master_address="127.0.0.1",
        master_port=port,
        accelerator="cpu",
        dtype=dtype,
        zero_stage=zero_stage,
        micro_batch_tokens=24,
    )


def unpacked(weights: Any) -> dict[str, np.ndarray] | None:
    return {name: tensor.float().numpy().copy() for name, tensor in weights} if weights is not None else None


def policy(work: PolicyWork, learner: Any, folder: Path) -> dict[str, Any]:
    from rlreason.errors import WeightSyncMismatch

    first, second, third = work.batches
    learner.begin(work.checkpoint, work.settings, None)
    found: dict[str, Any] = {"metrics": [dict(learner.update(first, 1, on_policy=True))]}
    found["after_1"] = unpacked(learner.weights())
    off = replace(second, generator_logprobs=second.generator_logprobs + np.float32(0.5))
    try:
        learner.update(off, 2, on_policy=True)
        found["refused"] = ""
    except WeightSyncMismatch as error:
        found["refused"] = str(error)
    found["after_refusal"] = unpacked(learner.weights())
    learner.end()
    # a run ends with a refusal, so what follows it is a new learner
    learner.begin(work.checkpoint, work.settings, None)
    learner.update(first, 1, on_policy=False)
    learner.update(second, 2, on_policy=False)
    learner.save_state(folder / "state", {})
    learner.save_model(folder / "model")
    found["after_2"] = unpacked(learner.weights())
    learner.update(third, 3, on_policy=False)
    found["after_3"] = unpacked(learner.weights())
    learner.end()
    learner.begin(work.checkpoint, work.settings, folder / "state")
    learner.update(third, 3, on_policy=False)
    found["resumed_3"] = unpacked(learner.weights())
    learner.end()
    return found


def resume(work: ResumeWork, learner: Any) -> dict[str, Any]:
    found = {}
    learner.begin(work.checkpoint, work.settings, work.state)
    learner.update(work.batch, 3, on_policy=False)
    found["after_3"] = unpacked(learner.weights())
    learner.save_state(work.saved, {"stage": "rl-0"})
    learner.update(work.batch, 4, on_policy=False)
    found["after_4"] = unpacked(learner.weights())
    learner.end()
    learner.begin(work.checkpoint, work.settings, work.saved)
    learner.update(work.batch, 4, on_policy=False)
    found["resumed_4"] = unpacked(learner.weights())
    learner.end()
    return found


def main() -> None:
    folder, (rank, ranks, port) = Path(sys.argv[1]), map(int, sys.argv[2:])
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    import torch

    torch.set_num_threads(1)
    found: list[Any] = []
    for work in pickle.loads((folder / "work.pkl").read_bytes()):
        if isinstance(work, StageWork):
            reports: list[tuple[int, dict[str, float]]] = []
            learner = make_learner(rank, ranks, port, work.zero_stage)
            train = learner.preferences if isinstance(work.job, PreferenceJob) else learner.supervised
            figures = train(
                work.job, work.examples, lambda update, metrics, to=reports: to.append((update, dict(metrics)))
            )
            found.append((dict(figures), reports))
        elif isinstance(work, ResumeWork):
            found.append(resume(work, make_learner(rank, ranks, port, work.zero_stage, work.dtype)))
        else:
            for stage in work.zero_stages:
                found.append(policy(work, make_learner(rank, ranks, port, stage), folder / f"zero-{stage}"))
    if rank == 0:
        (folder / "found.pkl").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    # the pickled work names its classes by this module's name, not as __main__'s
    from tests.engines import deepspeed_rank

    deepspeed_rank.main()
