"""Small rates and work for the simulator's tests, round numbers that can be reckoned by hand."""

from __future__ import annotations

from typing import Any

from rlreason.simulate.costs import Costs, Layout, Work
from rlreason.simulate.rates import ModelSize, Rates

WORK: dict[str, Any] = {
    "prompts": 4,
    "group": 2,
    "minibatches": 1,
    "max_new_tokens": 10_000,
    "checkpoint_every": 10,
    "sequences": 64,
    "tensor_parallel": 1,
    "zero_stage": 1,
    "pass_tokens": 4096,
    "model": ModelSize(parameters=1000, value_bytes=2),
}
RATES: dict[str, Any] = {
    "about": "made up",
    "lengths": {"type": "constant", "tokens": 100},
    "prompt_tokens": 0,
    # a step of n sequences: 0.01 + 0.001 n seconds
    "decoding": {"type": "linear", "step_s": 0.01, "sequence_s": 0.001},
    "learning": {"tokens_per_s": 100},
    "syncing": {"latency_s": 0.5},
}


def work(**changes: Any) -> Work:
    """`WORK` with some of it changed."""
    return Work(**{**WORK, **changes})


def rates(**changes: Any) -> Rates:
    """`RATES` with some sections changed."""
    return Rates.model_validate({**RATES, **changes})


def costs(layout: Layout, asked: Work | None = None, **changes: Any) -> Costs:
    """The costs of such rates."""
    return Costs(rates(**changes), asked or work(), layout)
