"""What a recipe may say of step scorers: models that score the steps of a derivation, trained beside the arms.

A scorer belongs to no arm and is not compared with any; `rl` stages name it in `credit`. The check of a task, which
needs no model, is the scorer called "symbolic", and a part of the rubric that returns `steps` is one under its own
name: neither is declared here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from rlreason.recipe.config import Config
from rlreason.recipe.training import Mixture, Optimizer, Sampling, check_endless, check_problems

SYMBOLIC = "symbolic"
"""Name of the step scorer that every task has: its own check."""


class SymbolicLabels(Config):
    """A step's label is the verdict of the task's check: 1 where it is right."""

    type: Literal["symbolic"] = "symbolic"


class MonteCarloLabels(Config):
    """A step's label is whether the answer can still be reached from it: 1 where any of the rollouts that go on after
    the step ends in the right answer (hard estimation, Math-Shepherd, Wang et al. 2024). Needs no check of steps, but
    calls a wrong step right where the answer can be had without it."""

    type: Literal["monte_carlo"]
    rollouts: PositiveInt = 4
    """Completions sampled after each step."""


class Prm(Config):
    """A learned process reward model: a checkpoint with a two-class head, trained with DeepSpeed on labelled steps of
    derivations that this checkpoint wrote; the score of a step is the probability that it is right."""

    type: Literal["prm"]
    after: str | None = None
    """Arm whose last checkpoint writes the derivations, and whose weights the scorer starts from; None: the recipe's
    model."""
    data: Annotated[tuple[Mixture, ...], Field(min_length=1)]
    """Problems whose derivations are labelled."""
    problems: PositiveInt = 256
    samples: PositiveInt = 4
    """Derivations a problem."""
    sampling: Sampling = Sampling()
    labels: Annotated[SymbolicLabels | MonteCarloLabels, Field(discriminator="type")] = SymbolicLabels()
    updates: PositiveInt = 100
    batch_rows: PositiveInt = 16
    """Packed rows an update, over all ranks."""
    row_tokens: PositiveInt = 256
    optimizer: Optimizer
    checkpoint_every: PositiveInt = 100
    """Updates between resumable checkpoints."""
    keep_last: PositiveInt = 1
    """Resumable checkpoints that stay, the newest; more than one where a damaged one must not cost the stage."""
    held_out_problems: PositiveInt = 64
    """Problems of each evaluation level on whose derivations, labelled by the task's check, it is judged."""

    @model_validator(mode="after")
    def _data_is_problems(self) -> Prm:
        check_problems(self.data, "have no steps")
        check_endless(self.data)
        return self


class PrmFolder(Config):
    """A process reward model that exists: a Hugging Face directory of a token classifier with two classes, wrong and
    right, over the tokenizer of the recipe's model."""

    type: Literal["prm_folder"]
    path: str
    """Relative paths are looked for like `model.path`."""


class Implicit(Config):
    """An implicit process reward (PRIME, Cui et al. 2025, equation 3): the score of a step is beta times the sum over
    its tokens of log policy - log reference. Nothing is trained."""

    type: Literal["implicit"]
    policy: str
    """Arm whose last checkpoint is the policy: one that has learned to answer."""
    reference: str | None = None
    """Arm whose last checkpoint is the reference; None: the recipe's model."""
    beta: PositiveFloat = 0.05

    @model_validator(mode="after")
    def _two_policies(self) -> Implicit:
        if self.policy == self.reference:
            raise ValueError(
                f"policy and reference are both {self.policy!r}, so that every step scores 0; name two arms"
            )
        return self


ScorerConfig = Annotated[Prm | PrmFolder | Implicit, Field(discriminator="type")]
