"""A DeepSpeed engine's state, put together from its ranks and taken apart again: see `learner_state` for its form.

Every rank calls everything; rank 0 holds the whole of it in host memory (12 bytes a trained parameter) and writes it.
So nothing on disk depends on the number of ranks or on the ZeRO stage, and nothing of it is a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from rlreason.engines.average import WeightAverage
from rlreason.engines.learner_state import (
    MOMENTS,
    STEP,
    WEIGHTS,
    LearnerState,
    average_tensors,
    check_names,
    host_copy,
    load_moments,
    load_weights,
    plain_tensors,
    random_tensors,
    trained,
)
from rlreason.engines.state_writer import StateWriter
from rlreason.errors import CheckpointError

_FLAT = ("single_partition_of_fp32_groups", "fp32_partitioned_groups_flat", "fp32_groups_flat_partition")
"""Where ZeRO 1 and 2, ZeRO 3, and ZeRO 1 in bfloat16 keep this rank's float32 weights, by which AdamW knows them."""


class StateKeeper:
    """Saves an engine's states from all its ranks. What rank 0 cannot write is raised on every rank."""

    def __init__(self, rank: int, device: torch.device) -> None:
        self._rank, self._device = rank, device
        self._writer = StateWriter()

    def save(
        self, engine: Any, average: WeightAverage | None, folder: Path, about: Mapping[str, Any], keep: int
    ) -> None:
        """Copy the state to rank 0's host memory, and begin to write it.

        Raises:
            CheckpointError: the state before could not be written.
        """
        self._writer.settle()
        self.check()
        tensors = engine_tensors(engine, hold=self._rank == 0) | self._random()
        if self._rank == 0:
            self._writer.begin(folder, tensors | average_tensors(average), about, keep)

    def check(self) -> None:
        """
        Raises:
            CheckpointError: a state could not be written.
        """
        failed = torch.tensor(int(self._writer.failed), device=self._device)
        dist.broadcast(failed, src=0)
        if failed:
            self._writer.check()
            raise CheckpointError("rank 0 could not write a state")

    def close(self) -> None:
        """Wait, and forget what went wrong."""
        self._writer.close()

    def _random(self) -> dict[str, torch.Tensor]:
        """The random generators of every rank."""
        held: dict[str, torch.Tensor] = {}
        for kind, own in random_tensors(self._device).items():
            mine = own.to(self._device)
            every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
            dist.all_gather(every, mine)
            held |= {f"{kind.partition('/')[0]}/{rank}": host_copy(each) for rank, each in enumerate(every)}
        return held


def engine_tensors(engine: Any, *, hold: bool) -> dict[str, torch.Tensor]:
    """The trained weights in float32 and AdamW's moments, gathered a parameter at a time; empty without `hold`."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    if (whole := _whole(engine)) is not None:
        return plain_tensors(*whole) if hold else {}
    step = _step(engine.optimizer)
    if step is not None:
        _link_moments(engine.optimizer)
    held: dict[str, torch.Tensor] = {}
    for name, parameter in trained(engine.module).items():
        gathered = {WEIGHTS: safe_get_full_fp32_param(parameter)}
        if step is not None:
            gathered |= {kind: safe_get_full_optimizer_state(parameter, kind) for kind in MOMENTS}
        if hold:
            held |= {f"{kind}/{name}": host_copy(tensor) for kind, tensor in gathered.items()}
            if step is not None:
                held[f"{STEP}/{name}"] = torch.tensor(step)
    return held


def load_module(module: torch.nn.Module, state: LearnerState) -> None:
    """Put the saved weights into the model of an engine that is to be; it may hold slices already.

    Raises:
        CheckpointError: the state is of another model.
    """
    if not any(hasattr(parameter, "ds_id") for parameter in module.parameters()):
        load_weights(module, state)
        return
    from deepspeed.zero import GatheredParameters

    check_names(state, module)
    for name, parameter in trained(module).items():
        with GatheredParameters([parameter], modifier_rank=0), torch.no_grad():
            if dist.get_rank() == 0:
                parameter.copy_(state[f"{WEIGHTS}/{name}"])


def load_optimizer(engine: Any, state: LearnerState) -> None:
    """Put the float32 weights and AdamW's moments into an engine that has made no update yet."""
    if (whole := _whole(engine)) is not None:
        parameters, optimizer = whole
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(state[f"{WEIGHTS}/{name}"])
        load_moments(parameters, optimizer, state)
        return
    zero = engine.optimizer
    stepped = state.names(STEP)
    if stepped:
        step = max(float(state[f"{STEP}/{name}"]) for name in stepped)
        for flat in _flat(zero):
            empty = {kind: torch.zeros_like(flat, requires_grad=False) for kind in MOMENTS}
            zero.optimizer.state[flat] = {STEP: torch.tensor(step), **empty}
        _link_moments(zero)
    for name, parameter in trained(engine.module).items():
        _put(parameter, state[f"{WEIGHTS}/{name}"], None)
        for kind in MOMENTS if stepped else ():
            _put(parameter, state[f"{kind}/{name}"], kind)


def _whole(engine: Any) -> tuple[dict[str, torch.Tensor], torch.optim.Optimizer] | None:
    """(the weights that AdamW steps by name, AdamW) without ZeRO, where every rank has all of them; None under ZeRO."""
    named, optimizer = trained(engine.module), engine.optimizer
    if isinstance(optimizer, torch.optim.Optimizer):
        return dict(named), optimizer
    if not hasattr(optimizer, "fp32_groups"):
        return None
    groups = zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True)  # bfloat16 weights, and those in float32
    stepped = {id(low): high for lows, highs in groups for low, high in zip(lows, highs, strict=True)}
    return {name: stepped[id(parameter)] for name, parameter in named.items()}, optimizer.optimizer


def _flat(zero: Any) -> list[torch.Tensor]:
    """This rank's float32 weights, as the optimizer inside has them."""
    held: list[torch.Tensor] = next(getattr(zero, name) for name in _FLAT if hasattr(zero, name))
    return held


def _link_moments(zero: Any) -> None:
    """Have every parameter know its part of the moments. ZeRO 1 and 2 do so when the first of AdamW's groups has made
    its first step, and miss the moments of the other groups."""
    if hasattr(zero, "_lazy_init_hp_params_optimizer_state"):
        zero._hp_optimizer_states_linked = False
        zero._lazy_init_hp_params_optimizer_state()


def _step(zero: Any) -> float | None:
    """Updates that AdamW has made; None before the first."""
    states = [zero.optimizer.state[flat] for flat in _flat(zero) if flat in zero.optimizer.state]
    return float(states[0][STEP]) if states and STEP in states[0] else None


def _put(parameter: torch.nn.Parameter, whole: torch.Tensor, kind: str | None) -> None:
    """Set this rank's slice of a parameter's float32 weights (`kind` None) or of one of its moments."""
    from deepspeed.utils import (
        safe_set_full_fp32_param,
        safe_set_full_optimizer_state,
        safe_set_local_fp32_param,
        safe_set_local_optimizer_state,
    )

    whole = whole.to(parameter.device, torch.float32)
    if not hasattr(parameter, "ds_id"):
        if kind is None:
            safe_set_full_fp32_param(parameter, whole)
        else:
            safe_set_full_optimizer_state(parameter, whole, kind)
        return
    # ZeRO 3 cuts a parameter into equal slices, the last of them padded
    size = parameter.ds_tensor.numel()
    padded = torch.zeros(size * dist.get_world_size(), device=whole.device)
    padded[: whole.numel()] = whole.flatten()
    slice_ = padded.narrow(0, size * dist.get_rank(), size)
    if kind is None:
        safe_set_local_fp32_param(parameter, slice_)
    else:
        safe_set_local_optimizer_state(parameter, slice_, kind)
