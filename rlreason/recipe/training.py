"""The pieces of a recipe that several stage types share: sampling, the optimizer, the training data.

The stage types themselves are in `recipe.stages` and `recipe.own_samples`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rlreason.recipe.config import Config


class Sampling(Config):
    """How completions are drawn."""

    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_new_tokens: PositiveInt = 64


class Optimizer(Config):
    """AdamW and its schedule; one update is one optimizer step."""

    learning_rate: PositiveFloat
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_updates: NonNegativeInt = 0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Shape after warm-up; linear and cosine end at zero at the stage's last update."""
    max_grad_norm: PositiveFloat = 1.0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, which the stage leaves in place of its last ones. Rollouts
    are always of the last ones. None: no average. Not under ZeRO 3, where no rank holds the weights."""


class Lora(Config):
    """Low-rank adapters train in place of the weights (LoRA, Hu et al. 2022); the stage leaves them merged. Not under
    ZeRO 3."""

    rank: PositiveInt = 16
    alpha: PositiveInt = 32
    """The adapters' output is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = ()
    """Names of the linear layers that are adapted ("q_proj"). None named: all but the output head."""


class Mixture(Config):
    """A share of the training data: problems of some cells, or plain texts of the task."""

    task: str | None = None
    """The recipe's name of the task; may be left out where there is one task."""
    cells: tuple[str, ...] = ()
    """Shell-style patterns of the task's cells ("parametric/*"); problems are drawn equally from those that match."""
    texts: bool = False
    """True: the task's plain texts (for example biographies), trained on every token. Excludes `cells`."""
    targets: Literal["gold", "format"] = "gold"
    """What supervised training teaches after a prompt. format: the target of another problem of the same cell (the
    next), which has the shape of an answer and not its content: the control for what training gives by form alone."""
    level: str = "train"
    weight: PositiveFloat = 1.0
    """Share of sequences, relative to the other entries."""
    problems: PositiveInt | None = None
    """Only the first so many problems of each cell (or plain texts), over and over: how little data will do? None:
    tasks make problems without end, and none is used twice. In stages `pretrain`, `sft` and `rl`."""

    @model_validator(mode="after")
    def _cells_or_texts(self) -> Mixture:
        if bool(self.cells) == self.texts:
            raise ValueError("give either `cells: [...]` (problems) or `texts: true` (plain texts), one of the two")
        if self.texts and self.targets != "gold":
            raise ValueError(
                f"`texts: true` with `targets: {self.targets}`: plain texts have no targets; drop one of the two"
            )
        return self


def check_endless(data: Iterable[Mixture]) -> None:
    """No entry of a stage that keeps its samples is limited to some problems.

    Raises:
        ValueError: one is.
    """
    for entry in data:
        if entry.problems is not None:
            raise ValueError(
                f"`data` has `problems: {entry.problems}`, but this stage keeps its samples by their problem and asks "
                "none twice; leave `problems` out"
            )


def check_problems(data: Iterable[Mixture], texts: str) -> None:
    """The data of a stage that samples completions of its own are problems, without targets.

    Args:
        texts: why plain texts will not do: "cannot be scored".
    Raises:
        ValueError: an entry is plain texts, or chooses targets.
    """
    for entry in data:
        if entry.texts:
            raise ValueError(f"`data` has `texts: true`, which {texts}; name `cells: [...]` instead")
        if entry.targets != "gold":
            raise ValueError(
                f"`data` has `targets: {entry.targets}`, but this stage trains on what it samples, not on targets; "
                "leave `targets` out"
            )
