"""What the vLLM generator tells vLLM, by a stand-in for it: devices, sleep, and the order of a weight sync."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlreason.engines.protocols import SamplingSettings
from rlreason.engines.vllm_generator import VllmGenerator, device_options
from rlreason.engines.weights import DirectWeights, Endpoint
from rlreason.errors import EngineFailed


class Listening:
    """Writes down the calls and their arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: self.calls.append((name, *arguments, *named.values()))


def generator(sleep_level: int = 0, direct: bool = True) -> tuple[VllmGenerator, list[tuple[Any, ...]]]:
    made = object.__new__(VllmGenerator)
    llm = Listening()
    made._llm, made._sleep_level, made._asleep, made._direct = llm, sleep_level, False, direct
    return made, llm.calls


DIRECT = DirectWeights({"names": ["a"], "dtype_names": ["float32"], "shapes": [[1]]})
SYNC = [
    ("start_weight_update",),
    ("update_weights", {"update_info": dict(DIRECT.update_info)}),
    ("finish_weight_update",),
    ("reset_prefix_cache",),
]


def test_a_sync_starts_tells_finishes_and_drops_the_prefix_cache() -> None:
    made, calls = generator()
    made.load_weights(DIRECT, 4)
    assert calls == SYNC
    assert made._policy_version == 4


@pytest.mark.parametrize("level", [1, 2])
def test_a_sleeping_generator_wakes_for_new_weights(level: int) -> None:
    made, calls = generator(level)
    made.sleep()
    made.sleep()
    made.load_weights(DIRECT, 4)
    assert calls == [("sleep", level), ("wake_up",), *SYNC]


def test_a_generator_that_is_not_to_sleep_does_not() -> None:
    made, calls = generator(0)
    made.sleep()
    assert calls == []


def test_a_generator_that_slept_without_its_weights_generates_only_once_it_has_new_ones() -> None:
    made, _ = generator(2)
    made.sleep()
    with pytest.raises(EngineFailed, match=r"slept without its weights \(resources\.sleep_level 2\).* sleep_level 1"):
        made.generate([np.zeros(1, dtype=np.int32)], [0], SamplingSettings(1.0, 1.0, 1))


def test_a_checkpoint_is_read_by_vllm_itself_where_weights_come_from_a_gpu() -> None:
    made, calls = generator(1)
    made.sleep()
    made.load_checkpoint(Path("models/one"), 2)
    assert calls[1:] == [
        ("wake_up",),
        ("collective_rpc", "reload_weights", {"weights_path": "models/one"}),
        ("reset_prefix_cache",),
    ]


def test_the_generators_devices_follow_the_learner_in_the_group() -> None:
    made, calls = generator()
    made.join(Endpoint("h", 1, generators=2, tensor_parallel=4), 1)
    ((name, request),) = calls
    assert name == "init_weight_transfer_engine"
    assert request["init_info"] == {
        **{"master_address": "h", "master_port": 1, "packed": True},
        # one learner, then four devices of generator 0, then those of this one
        **{"world_size": 9, "rank_offset": 5},
    }


def test_what_vllm_is_told_of_its_devices() -> None:
    cpu = device_options(2**20, 0.5, 1, 0)
    assert cpu.pop("kv_cache_memory_bytes") == 2**20
    assert cpu == {"tensor_parallel_size": 1, "enable_chunked_prefill": False, "enforce_eager": True}
    one = device_options(None, 0.5, 1, 1)
    assert one == {"tensor_parallel_size": 1, "gpu_memory_utilization": 0.5, "enable_sleep_mode": True}
    # several: in processes of this actor, not in bundles that belong to others
    two = device_options(None, 0.5, 2, 0)
    assert (two["distributed_executor_backend"], two["enable_sleep_mode"]) == ("mp", False)
    module, _, name = two["worker_extension_cls"].rpartition(".")
    source = Path(__file__).parents[2].joinpath(*module.split(".")).with_suffix(".py").read_text()
    assert f"class {name}:" in source
