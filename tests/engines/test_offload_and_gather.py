"""Two DeepSpeed ranks whose states stay in host memory, and how much of the model one of them ever holds for a sync."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlreason.engines.torch_learner import TorchLearner
from rlreason.engines.weights import by_layer
from rlreason.recipe.training import Optimizer
from tests.engines.updates import draw_batch, policy_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
RATE = 1e-3
KINDS = [(1, "optimizer"), (2, "optimizer"), (3, "none"), (3, "all")]


@pytest.fixture(scope="module")
def found(tied: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Any]:
    folder = tmp_path_factory.mktemp("ranks")
    settings = policy_settings(optimizer=Optimizer(learning_rate=RATE, max_grad_norm=0.5))
    (folder / "work.pkl").write_bytes(pickle.dumps((tied, settings, draw_batch(tied, 0), KINDS)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.engines.offload_rank", str(folder), str(rank), "2", str(port)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=(folder / f"rank-{rank}.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    try:
        codes = [rank.wait(timeout=300) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert codes == [0, 0], (folder / "rank-0.log").read_text()[-3000:]
    return dict(zip(KINDS, pickle.loads((folder / "found.pkl").read_bytes()), strict=True))


@pytest.fixture(scope="module")
def expected(tied: Path) -> dict[str, np.ndarray]:
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.begin(tied, policy_settings(optimizer=Optimizer(learning_rate=RATE, max_grad_norm=0.5)), None)
    learner.update(draw_batch(tied, 0), 1, on_policy=False)
    return {name: tensor.numpy().copy() for name, tensor in learner.weights()}


@pytest.mark.parametrize("kind", KINDS, ids=[f"zero {stage}, {offload}" for stage, offload in KINDS])
def test_states_in_host_memory_make_the_plain_learner_s_update(found: Any, expected: Any, kind: Any) -> None:
    weights = found[kind][0]
    assert weights.keys() == expected.keys()
    # Adam divides a gradient by its own size, rounding included, so the few that are nearly 0 may differ by more
    off = np.concatenate([np.abs(weights[name] - expected[name]).ravel() for name in expected])
    assert np.quantile(off, 0.999) < 1e-5 and off.max() < 0.1 * RATE


def test_zero_three_gathers_no_more_than_a_layer_at_a_time(found: Any, expected: Any) -> None:
    weights, gathered, held, _ = found[3, "none"]
    sizes = {name: array.size for name, array in weights.items()}
    assert gathered == [sum(sizes[name] for name in names) for names in by_layer(sizes)]
    # the two layers, the last norm, the embedding and the head that is the same
    assert len(gathered) == 5 and max(gathered) < 0.5 * sum(sizes.values())
    assert held == 0, "what was gathered is let go"


def test_what_was_gathered_stays_whole_for_a_reader_that_holds_on_to_it(found: Any) -> None:
    # as vLLM's packing does, up to the size of its buffer
    weights, _, _, late = found[3, "none"]
    assert late.keys() == weights.keys()
    assert all(np.array_equal(late[name], weights[name]) for name in weights)


def test_other_stages_gather_nothing(found: Any) -> None:
    assert [found[kind][1] for kind in KINDS[:2]] == [[], []]
