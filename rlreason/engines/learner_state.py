"""What a learner resumes from, as one safetensors file: the same whatever learner, ranks and ZeRO stage wrote it.

Tensors are named KIND/NAME: "weights", "exp_avg", "exp_avg_sq", "step" and "average" by parameter, "random" by rank.
Weights are those that are trained, whole and in the precision they are trained in; the others are the checkpoint's that
the stage started from. The learning rate follows from the update's number. How DeepSpeed's are put together is in
`deepspeed_state`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rlreason.engines.average import WeightAverage
from rlreason.errors import CheckpointError

FILE = "learner.safetensors"
WEIGHTS, STEP, AVERAGE, RANDOM, DEVICE_RANDOM = "weights", "step", "average", "random", "device_random"
MOMENTS = ("exp_avg", "exp_avg_sq")


class LearnerState(Mapping[str, torch.Tensor]):
    """The tensors of a saved state, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            CheckpointError: the folder has no such file, or it is not safetensors.
        """
        self.path = folder / FILE
        try:
            self._file = safe_open(self.path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{self.path} cannot be read ({error}); is {folder} a state of a learner?") from error
        self._names = frozenset(self._file.keys())

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._names:
            raise KeyError(name)
        tensor: torch.Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def names(self, kind: str) -> set[str]:
        """The names of the tensors of a kind."""
        return {name.partition("/")[2] for name in self._names if name.startswith(f"{kind}/")}


def versions() -> dict[str, Any]:
    """What a manifest says of the software: {"versions": library -> version}."""
    return {"versions": {name: version(name) for name in ("rlreason", "torch", "safetensors")}}


def write_tensors(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write them as a learner's file."""
    save_file(dict(tensors), folder / FILE)


def trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that are trained, by name; one that is tied has one name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def host_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in host memory that shares nothing."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def plain_tensors(parameters: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Copies of the weights that AdamW steps, and of what it holds of each."""
    held = {}
    for name, parameter in parameters.items():
        held[f"{WEIGHTS}/{name}"] = host_copy(parameter)
        held |= {f"{kind}/{name}": host_copy(value) for kind, value in optimizer.state.get(parameter, {}).items()}
    return held


def average_tensors(average: WeightAverage | None) -> dict[str, torch.Tensor]:
    """Copies of the running average; nothing where none is kept."""
    return {f"{AVERAGE}/{name}": host_copy(each) for name, each in average.state_dict().items()} if average else {}


def random_tensors(device: torch.device, rank: int = 0) -> dict[str, torch.Tensor]:
    """The random generators of a rank."""
    states = {f"{RANDOM}/{rank}": torch.get_rng_state()}
    if device.type == "cuda":
        states[f"{DEVICE_RANDOM}/{rank}"] = torch.cuda.get_rng_state(device)
    return states


def load_random(state: LearnerState, device: torch.device, rank: int = 0) -> None:
    """Set this rank's random generators; those of a rank that was not there stay as the stage's seed set them."""
    if f"{RANDOM}/{rank}" in state:
        torch.set_rng_state(state[f"{RANDOM}/{rank}"])
    if device.type == "cuda" and f"{DEVICE_RANDOM}/{rank}" in state:
        torch.cuda.set_rng_state(state[f"{DEVICE_RANDOM}/{rank}"], device)


def check_names(state: LearnerState, model: torch.nn.Module) -> None:
    """
    Raises:
        CheckpointError: the state is of a model that trains other weights.
    """
    expected, found = set(trained(model)), state.names(WEIGHTS)
    if expected != found:
        missing, foreign = sorted(expected - found), sorted(found - expected)
        raise CheckpointError(
            f"{state.path} is of another model: it lacks {len(missing)} of the trained weights ({missing[:3]}) and has "
            f"{len(foreign)} that are not trained ({foreign[:3]}); delete the stage's folder to begin it again"
        )


@torch.no_grad()
def load_weights(model: torch.nn.Module, state: LearnerState) -> None:
    """Put the saved weights into a model.

    Raises:
        CheckpointError: the state is of another model.
    """
    check_names(state, model)
    for name, parameter in trained(model).items():
        saved = state[f"{WEIGHTS}/{name}"]
        if saved.shape != parameter.shape:
            raise CheckpointError(
                f"{state.path}: {name} has shape {tuple(saved.shape)}, the model's has {tuple(parameter.shape)}"
            )
        parameter.copy_(saved)


def load_moments(parameters: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer, state: LearnerState) -> None:
    """Put what AdamW held of each weight back; a weight that had no update yet has none."""
    stepped = state.names(STEP)
    for name, parameter in parameters.items():
        if name in stepped:
            optimizer.state[parameter] = {
                STEP: state[f"{STEP}/{name}"],
                **{kind: state[f"{kind}/{name}"].to(parameter) for kind in MOMENTS},
            }


def load_average(average: WeightAverage | None, state: LearnerState) -> None:
    """Go on from the saved average, where one is kept.

    Raises:
        CheckpointError: none was saved.
    """
    if average is None:
        return
    try:
        average.load_state_dict({name: state[f"{AVERAGE}/{name}"] for name in state.names(AVERAGE)})
    except KeyError as error:
        raise CheckpointError(
            f"{state.path} holds no average of {error} (optimizer.ema); delete the stage's folder to begin it again"
        ) from None
