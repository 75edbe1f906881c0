"""What a device is able to do: the rates that a simulation starts from, as a YAML file says or a run showed them.

Frozen pydantic models like a recipe's sections; the docstring under a field gives its unit. What becomes of them
together with a recipe is in `costs`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from rlreason.errors import RecipeError, one_of
from rlreason.recipe.config import Config
from rlreason.recipe.explain import explain
from rlreason.recipe.yaml_text import read_yaml

Share = Annotated[float, Field(gt=0, le=1)]


class ModelSize(Config):
    """A model that is not at hand."""

    parameters: PositiveFloat
    value_bytes: PositiveFloat = 2.0
    """Bytes of a weight, of a gradient and of a value in the cache."""
    cache_bytes_per_token: NonNegativeFloat = 0.0
    """Of the key-value cache: 2 x layers x key-value heads x head width x value_bytes."""


class ConstantLengths(Config):
    """Every completion has the same number of tokens."""

    type: Literal["constant"]
    tokens: PositiveInt


class LognormalLengths(Config):
    """The logarithm of the tokens is normal: most completions are near the median, and some are very long."""

    type: Literal["lognormal"]
    median: PositiveFloat
    sigma: NonNegativeFloat
    """Standard deviation of the natural logarithm: 0.5 is moderate, 1 a long tail."""


class EmpiricalLengths(Config):
    """Recorded groups, drawn again with replacement: completions of one prompt stay together."""

    type: Literal["empirical"]
    groups: Annotated[tuple[tuple[PositiveInt, ...], ...], Field(min_length=1)]
    """Tokens of the completions, a list a prompt."""

    @model_validator(mode="after")
    def _of_one_size(self) -> EmpiricalLengths:
        sizes = sorted({len(group) for group in self.groups})
        if len(sizes) > 1 or sizes[0] == 0:
            raise ValueError(f"groups have {sizes} completions; give each the same number, at least 1")
        return self


Lengths = Annotated[ConstantLengths | LognormalLengths | EmpiricalLengths, Field(discriminator="type")]


class RooflineDecoding(Config):
    """A decoding step takes as long as reading the weights and the cache, or as the arithmetic, whichever is longer."""

    type: Literal["roofline"]
    flops: PositiveFloat
    """Operations a second of one GPU, at its peak in the model's precision."""
    bandwidth: PositiveFloat
    """Bytes a second of its memory, at its peak."""
    flops_share: Share = 0.6
    """Of the peak, what the arithmetic of decoding and prefill reaches."""
    bandwidth_share: Share = 0.7
    """Of the peak, what reading reaches."""
    step_s: NonNegativeFloat = 0.002
    """Seconds a step beside that: launches, the scheduler, sampling, collectives of tensor parallelism."""


class LinearDecoding(Config):
    """A decoding step takes step_s, and sequence_s more for each running sequence: what is fitted to a run."""

    type: Literal["linear"]
    step_s: NonNegativeFloat
    sequence_s: NonNegativeFloat
    prompt_token_s: NonNegativeFloat = 0.0
    """Seconds a token of a prompt."""

    @model_validator(mode="after")
    def _takes_time(self) -> LinearDecoding:
        if self.step_s + self.sequence_s <= 0:
            raise ValueError("step_s and sequence_s are both 0, so that decoding takes no time; give at least one")
        return self


class Point(Config):
    """A measurement of one generator."""

    sequences: PositiveInt
    """Running together."""
    tokens_per_s: PositiveFloat
    """Over all of them."""


def _rising(points: tuple[Point, ...]) -> tuple[Point, ...]:
    for before, after in pairwise(points):
        if after.sequences <= before.sequences or after.tokens_per_s < before.tokens_per_s:
            raise ValueError(
                f"{after.sequences} sequences at {after.tokens_per_s:g} tokens/s follow {before.sequences} at "
                f"{before.tokens_per_s:g}: points must rise in both; sort them, and leave out those where more "
                "sequences are slower"
            )
    return points


class MeasuredDecoding(Config):
    """Tokens a second at some numbers of running sequences; a step's seconds are interpolated between them, and beyond
    the last point the tokens a second stay what they are."""

    type: Literal["measured"]
    points: Annotated[tuple[Point, ...], Field(min_length=1), AfterValidator(_rising)]
    prefill_tokens_per_s: PositiveFloat


Decoding = Annotated[RooflineDecoding | LinearDecoding | MeasuredDecoding, Field(discriminator="type")]


class Scoring(Config):
    """Rewards, all workers together."""

    completion_s: NonNegativeFloat = 0.0
    """Seconds a completion."""


class Learning(Config):
    """The learner. Give one of `tokens_per_s` and `flops`."""

    tokens_per_s: PositiveFloat | None = None
    """Prompt and completion tokens that one rank trains a second."""
    flops: PositiveFloat | None = None
    """Operations a second of one GPU at its peak; a token costs 6 x parameters."""
    flops_share: Share = 0.4
    """Of that peak, what training reaches."""
    update_s: NonNegativeFloat = 0.0
    """Seconds an optimizer update beside that."""
    bandwidth: PositiveFloat | None = None
    """Bytes a second that one rank sends while gradients and ZeRO's shards travel; None: that takes no time."""
    latency_s: NonNegativeFloat = 0.0
    """Seconds a collective, for each doubling of the ranks."""
    min_gpus: PositiveInt = 1
    """Fewest ranks that hold the model's states (`rlreason plan` tells)."""

    @model_validator(mode="after")
    def _one_speed(self) -> Learning:
        if (self.tokens_per_s is None) == (self.flops is None):
            raise ValueError("give exactly one of `tokens_per_s` (measured) and `flops` (a peak)")
        return self


class Syncing(Config):
    """New weights to the generators, all at the same time."""

    bandwidth: PositiveFloat | None = None
    """Bytes a second; None: `latency_s` is all."""
    latency_s: NonNegativeFloat = 0.0


class Switching(Config):
    """Generators and learners that take turns on the same GPUs."""

    sleep_s: NonNegativeFloat = 0.0
    """Seconds until a generator has freed its memory for the learner."""
    wake_s: NonNegativeFloat = 0.0
    """Seconds until it has it back."""


class Driving(Config):
    """What the driver does while all wait: problems, prompts, advantages, batches, records."""

    update_s: NonNegativeFloat = 0.0
    completion_s: NonNegativeFloat = 0.0


class Failing(Config):
    """Failures come at random, each GPU for itself."""

    gpu_hours_between: PositiveFloat | None = None
    """GPU-hours between two failures: with 49,152, 16,384 GPUs are interrupted every 3 hours. None: there are none."""
    restart_s: NonNegativeFloat = 600.0
    """Until a learner that lost a rank runs again, its checkpoint loaded."""
    generator_restart_s: NonNegativeFloat = 180.0
    """Until a generator that died serves again."""
    checkpoint_s: NonNegativeFloat = 0.0
    """That the learner stops for a checkpoint."""


class Rates(Config):
    """All that a simulation knows of the hardware, the model and the completions."""

    about: str
    """Where the figures are from: measured on what, or assumed."""
    model: ModelSize | None = None
    """None: the recipe's model."""
    lengths: Lengths
    """Tokens of a completion; the recipe's max_new_tokens cuts them."""
    prompt_tokens: NonNegativeFloat
    """Mean tokens of a prompt."""
    decoding: Decoding
    """Of one generator (all GPUs of its tensor parallelism)."""
    scoring: Scoring = Scoring()
    learning: Learning
    syncing: Syncing
    switching: Switching = Switching()
    driving: Driving = Driving()
    failing: Failing = Failing()


def shipped_rates() -> dict[str, Path]:
    """Name -> file of the rates that ship; all of them are assumptions."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("assumed_*.yaml"))}


def load_rates(name_or_path: str) -> Rates:
    """Rates from a YAML file, or those that ship under that name.

    Raises:
        RecipeError: there is none, or it does not hold together; a line a problem.
    """
    shipped = shipped_rates()
    path = shipped.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise RecipeError(one_of("rates", name_or_path, [*shipped, "a YAML file that is there"], "--rates"))
    values: Any = read_yaml(path)
    try:
        return Rates.model_validate(values)
    except ValidationError as error:
        lines = [f"{path.name}: {found.path}: {found.sentence}" for found in explain(error, Rates)]
        raise RecipeError("\n".join(lines)) from None
