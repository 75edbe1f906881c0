"""The ways from GPU to GPU as far as a machine without one can go: what is sent, in which order, and who is told what.

vLLM's own packing, unpacking and checks run here; its streams, communicator and memory handles are stand-ins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rlreason.engines.weight_senders import make_sender
from rlreason.engines.weights import Endpoint, TensorForm, form_of

pytestmark = pytest.mark.slow
ENDPOINT = Endpoint("10.0.0.7", 29500, generators=3, tensor_parallel=2)


class Rank:
    """A learner rank with three tensors, the middle one too large for the packed buffer of these tests."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.tensors = {
            "model.embed_tokens.weight": torch.randn(4, 3),
            "model.layers.0.mlp.weight": torch.randn(50),
            "lm_head.weight": torch.randn(2, 5).to(torch.bfloat16),
        }
        self.passes = 0

    def forms(self) -> list[TensorForm]:
        return [form_of(name, tensor, tensor.shape) for name, tensor in self.tensors.items()]

    def stream(self) -> Iterator[tuple[str, torch.Tensor]]:
        self.passes += 1
        yield from self.tensors.items()


class Wire:
    """A communicator that keeps what is broadcast, and gives it to who receives."""

    def __init__(self) -> None:
        self.sent: deque[torch.Tensor] = deque()

    def broadcast(self, buffer: torch.Tensor, src: int, stream: Any = None) -> None:
        if self.sent and self.sent[0] is None:
            self.sent.popleft()
            buffer.copy_(self.sent.popleft())
        else:
            self.sent.append(buffer.clone())

    def turn(self) -> None:
        """From now on, broadcasts receive."""
        self.sent = deque(part for chunk in self.sent for part in (None, chunk))  # type: ignore[arg-type]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    from vllm.distributed.weight_transfer import nccl_engine, packed_tensor

    wire = Wire()
    streams = (SimpleNamespace(synchronize=lambda: None),) * 2
    monkeypatch.setattr(packed_tensor, "_get_streams", lambda device, count: streams)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    monkeypatch.setattr(nccl_engine, "open_trainer_endpoint", lambda info: wire.__setattr__("info", info) or wire)
    return wire


def test_an_nccl_generator_unpacks_what_rank_zero_packed(wire: Wire) -> None:
    from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferUpdateInfo
    from vllm.distributed.weight_transfer.packed_tensor import packed_nccl_broadcast_consumer

    rank = Rank()
    sender: Any = make_sender("nccl", rank, 0, endpoint=ENDPOINT)
    info = wire.info  # type: ignore[attr-defined]
    assert (info.master_address, info.master_port, info.world_size, info.packed) == ("10.0.0.7", 29500, 7, True)

    told = NCCLWeightTransferUpdateInfo(**sender.told().update_info)
    assert rank.passes == 0, "what is told is known without gathering"
    sender._engine.packed_buffer_size_bytes = 100
    sender.send()
    # 48 bytes, and 200 that pass the 100; then 20
    assert [len(chunk) for chunk in wire.sent] == [248, 20]

    wire.turn()
    received: list[tuple[str, torch.Tensor]] = []
    forms = zip(told.names, told.shapes, told.dtype_names, strict=True)
    packed_nccl_broadcast_consumer(
        iterator=iter([(name, (shape, getattr(torch, dtype))) for name, shape, dtype in forms]),
        group=wire,
        src=0,
        post_unpack_func=lambda tensors: received.extend((name, tensor.clone()) for name, tensor in tensors),
        buffer_size_bytes=100,
        device="cpu",
    )
    assert [name for name, _ in received] == list(rank.tensors)
    assert all(torch.equal(tensor, rank.tensors[name]) for name, tensor in received)


def test_other_ranks_take_part_in_the_gathering_and_send_nothing(wire: Wire) -> None:
    rank = Rank()
    sender = make_sender("nccl", rank, 1, endpoint=ENDPOINT)
    sender.send()
    assert rank.passes == 1 and not wire.sent and not hasattr(wire, "info")


def test_weights_that_are_not_what_was_told_are_refused_by_vllm(wire: Wire) -> None:
    rank = Rank()
    sender = make_sender("nccl", rank, 0, endpoint=ENDPOINT)
    rank.forms = lambda: list(reversed(Rank().forms()))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"disagrees with iteration at index 0: declared 'lm_head\.weight'"):
        sender.send()


def test_vllm_s_nccl_engine_takes_what_a_generator_is_given() -> None:
    from vllm.distributed.weight_transfer.nccl_common import NCCLWeightTransferInitInfo

    infos = [NCCLWeightTransferInitInfo(**ENDPOINT.of_generator(index)) for index in range(3)]
    # rank 0 sends; two devices a generator
    assert [info.rank_offset for info in infos] == [1, 3, 5]
    assert {(info.world_size, info.packed, info.master_port) for info in infos} == {(7, True, 29500)}


def test_an_ipc_generator_is_told_the_handle_of_every_tensor_which_stay_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vllm.distributed.weight_transfer import ipc_engine

    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="gpu-1"))
    monkeypatch.setattr(torch.cuda, "ipc_collect", lambda: None)
    monkeypatch.setattr(ipc_engine, "reduce_tensor", lambda tensor: (None, ("at", tensor.data_ptr())))
    rank = Rank()
    sender: Any = make_sender("ipc", rank, 0)
    told = ipc_engine.IPCWeightTransferUpdateInfo(**sender.told().update_info)
    assert told.names == list(rank.tensors)
    assert told.dtype_names == ["float32", "float32", "bfloat16"]
    assert told.ipc_handles == [{"gpu-1": ("at", tensor.data_ptr())} for tensor in rank.tensors.values()]
    kept = sender._engine.source._yielded
    assert [tensor.data_ptr() for tensor in kept] == [tensor.data_ptr() for tensor in rank.tensors.values()]
