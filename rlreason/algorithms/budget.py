"""What training costs: floating-point operations of a transformer, and the tally of what a stage spent.

Estimates from shapes and token counts alone; nothing is measured. Left out: the look-up of embeddings, norms,
softmaxes, the optimizer's arithmetic, padding and whatever an engine computes twice (recomputed activations), so these
are the operations that the work needs, not those that a kernel happened to make.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

METRIC_PREFIX = "spent_"
"""How the names of a tally's entries begin among the metrics of an update."""


@dataclass(frozen=True, slots=True)
class TransformerCost:
    """The sizes of a decoder that its operations follow from.

    Attributes:
        parameters: weights that every token is multiplied with: all but an embedding that is only looked up.
        attention_width: layers x heads x head width.
    Source:
        A token costs 2 operations a weight forward and twice that backward (Kaplan et al. 2020, section 2.1); a token
        that attends to c keys costs 4 x attention_width x c more forward, for queries by keys and weights by values
        (PaLM, Chowdhery et al. 2022, appendix B: 12 L H Q T forward and backward, T being the whole length; c is
        counted here as a causal kernel has it, without what is masked). Keys outside a sliding window are counted too.
    """

    parameters: int
    attention_width: int

    def forward(self, tokens: float, attended: float) -> float:
        """Operations of a forward pass over `tokens` tokens that attend to `attended` keys in all."""
        return 2.0 * self.parameters * tokens + 4.0 * self.attention_width * attended

    def training(self, tokens: float, attended: float, *, frozen: bool = False) -> float:
        """Operations of a forward and a backward pass: three times those of the forward pass.

        With `frozen` weights, under adapters that are too small to count, the third that makes the weights' gradients
        is left out.
        """
        return 3.0 * self.forward(tokens, attended) - (2.0 * self.parameters * tokens if frozen else 0.0)


def attended_keys(lengths: np.ndarray, before: np.ndarray | int = 0) -> np.ndarray:
    """Keys that the tokens of each sequence attend to, summed: a token sees itself and all before it.

    Args:
        lengths: [S] int, tokens of each sequence.
        before: [S] int or one for all, tokens in front of them that are seen but not counted (a prompt's).
    Returns:
        [S] float64.
    """
    count = np.asarray(lengths, dtype=np.float64)
    return count * before + count * (count + 1) / 2


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent, by a stage or a part of one. Sums of two are made with +.

    Attributes:
        prompts: prompts sent to be sampled, each once.
        samples: completions of them.
        sampled_tokens: tokens of the completions.
        trained_tokens: tokens that a loss was taken over (steps, where steps are classified).
        updates: optimizer updates made.
        flops: floating-point operations, generation included; NaN where the model's sizes are not known.
    """

    prompts: int = 0
    samples: int = 0
    sampled_tokens: int = 0
    trained_tokens: int = 0
    updates: int = 0
    flops: float = 0.0

    def __add__(self, other: Spending) -> Spending:
        return Spending(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def metrics(self) -> dict[str, float]:
        """Entries that are not zero, as metrics of an update: "spent_samples", ..."""
        entries = {f"{METRIC_PREFIX}{each.name}": float(getattr(self, each.name)) for each in fields(self)}
        return {name: value for name, value in entries.items() if value}

    @staticmethod
    def of_metrics(metrics: Mapping[str, float]) -> Spending:
        """What `metrics` gave, or a sum of such; what is not there is 0."""
        flops = float(metrics.get(f"{METRIC_PREFIX}flops", 0.0))
        counts = {each.name: metrics.get(f"{METRIC_PREFIX}{each.name}", 0.0) for each in fields(Spending)}
        return Spending(**{name: round(value) for name, value in counts.items() if name != "flops"}, flops=flops)

    @property
    def known_flops(self) -> float | None:
        """`flops`; None where not known."""
        return None if math.isnan(self.flops) else self.flops
