"""An exponential moving average of a model's trained weights: what a stage leaves in place of its last update's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from rlreason.recipe.training import Optimizer


def averaged(model: nn.Module, optimizer: Optimizer) -> WeightAverage | None:
    """The average that a stage's optimizer section asks for; None where it asks for none."""
    return WeightAverage(model, optimizer.ema) if optimizer.ema is not None else None


class WeightAverage:
    """average <- decay average + (1 - decay) weights, after every update; it begins as the weights are."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """`decay`: in (0, 1); an update counts for about 1 / (1 - decay) updates."""
        self._weights = {name: each for name, each in model.named_parameters() if each.requires_grad}
        self._average = {name: each.detach().float().clone() for name, each in self._weights.items()}
        self._decay = decay

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        for name, average in self._average.items():
            average.lerp_(self._weights[name].float(), 1 - self._decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the model holds the average."""
        kept = {name: each.detach().clone() for name, each in self._weights.items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The average by parameter name."""
        return dict(self._average)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a saved average; KeyError where a parameter is missing."""
        self._average = {name: state[name].to(average.device) for name, average in self._average.items()}
