"""What an `rl` stage may say of its algorithm: advantages, credit, loss, and what holds the policy back.

Each piece names its source; the arithmetic is in `rlreason.algorithms`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from rlreason.recipe.config import Config, type_where_unsaid


class GrpoAdvantage(Config):
    """Group-relative advantages (GRPO, Shao et al. 2024): reward minus the group's mean, over the group's standard
    deviation."""

    type: Literal["grpo"] = "grpo"
    scale: Literal["std", "none"] = "std"
    """none: no division by the standard deviation (Dr. GRPO's advantage, Liu et al. 2025)."""


class RlooAdvantage(Config):
    """Reward minus the mean of the group's other rollouts (RLOO, Ahmadian et al. 2024)."""

    type: Literal["rloo"]


class ReinforcePlusPlusAdvantage(Config):
    """Reward minus a mean, over the standard deviation of the whole batch (REINFORCE++, Hu et al. 2025)."""

    type: Literal["reinforce_plus_plus"]
    baseline: Literal["batch", "group"] = "batch"
    """Whose mean is taken off."""


class MaxRlAdvantage(Config):
    """Reward minus the group's mean, over that mean (MaxRL, Tajwar et al. 2026). Rewards must not be negative."""

    type: Literal["maxrl"]


class PassAtKAdvantage(Config):
    """What a completion adds to the chance that one of k is right (pass@k training, Chen et al. 2025)."""

    type: Literal["pass_at_k"]
    k: Annotated[int, Field(ge=2)]


class NoAdvantage(Config):
    """The reward is not learned from: steps (`credit`) or a reference (`kl`) are all that teaches."""

    type: Literal["none"]


class GaeAdvantage(Config):
    """Generalised advantage estimation over tokens (Schulman et al. 2016), whitened: PPO's. Needs a `critic`."""

    type: Literal["gae"]
    gamma: Annotated[float, Field(gt=0, le=1)] = 1.0
    lam: Annotated[float, Field(ge=0, le=1)] = 0.95


Advantage = Annotated[
    GrpoAdvantage
    | RlooAdvantage
    | ReinforcePlusPlusAdvantage
    | MaxRlAdvantage
    | PassAtKAdvantage
    | NoAdvantage
    | GaeAdvantage,
    Field(discriminator="type"),
    type_where_unsaid("grpo"),
]


class _Loss(Config):
    denominator: Literal["tokens", "sequences", "constant"] = "tokens"
    """tokens: trained tokens in the update; sequences: mean over tokens of each, then over sequences; constant:
    sequences x max_new_tokens (Dr. GRPO)."""


class ClippedLoss(_Loss):
    """PPO's clipped surrogate; the ratio is against the logprobs of the generator that sampled the tokens."""

    type: Literal["clipped"] = "clipped"
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    clip_high: Annotated[float, Field(gt=0)] = 0.2
    """Larger than clip_low: clip-higher (DAPO, Yu et al. 2025)."""
    dual_clip: Annotated[float, Field(gt=1)] | None = None
    """Bound on the ratio where the advantage is negative (Ye et al. 2020), commonly 3. None: none."""


class CispoLoss(_Loss):
    """The clipped ratio, not trained through, weighs every token's logprob: no token loses its gradient (CISPO,
    MiniMax-M1 2025)."""

    type: Literal["cispo"]
    clip_low: Annotated[float, Field(gt=0, le=1)] = 1.0
    """1: not clipped from below."""
    clip_high: Annotated[float, Field(gt=0)] = 4.0


class GspoLoss(_Loss):
    """The clipped surrogate with one ratio a sequence, the geometric mean over its tokens (GSPO, Zheng et al. 2025)."""

    type: Literal["gspo"]
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 3e-4
    clip_high: Annotated[float, Field(gt=0)] = 4e-4


Loss = Annotated[ClippedLoss | CispoLoss | GspoLoss, Field(discriminator="type"), type_where_unsaid("clipped")]


class Kl(Config):
    """Holds the policy near a reference."""

    weight: PositiveFloat
    place: Literal["loss", "advantage"] = "loss"
    """loss: a term of the loss; advantage: taken off each token's own advantage, after credit was shared out."""
    estimator: Literal["k1", "k2", "k3"] = "k3"
    """Of log policy - log reference (Schulman 2020)."""
    reference: str | None = None
    """Arm whose last checkpoint is the reference; None: the checkpoint that the stage starts from."""

    @model_validator(mode="after")
    def _has_a_gradient(self) -> Kl:
        if self.place == "loss" and self.estimator == "k1":
            raise ValueError(
                "place loss with estimator k1 has no gradient on average; use k2 or k3, or place advantage with k1"
            )
        if self.place == "advantage" and self.estimator != "k1":
            raise ValueError(
                f"place advantage with estimator {self.estimator} is biased; use k1, or place loss with "
                f"{self.estimator}"
            )
        return self


class Correction(Config):
    """Importance weights against the difference between the generator's logprobs and the learner's of the same weights:
    other kernels, stale weights. The loss's own ratio is then against the learner's logprobs before the update."""

    method: Literal["truncate", "mask"] = "truncate"
    """truncate: weights up to `high` (TIS, Yao et al. 2025); mask: nothing is learned from where the weight is outside
    `low` to `high` (token level: IcePop's band; sequence level: MIS)."""
    level: Literal["token", "sequence"] = "token"
    low: NonNegativeFloat = 0.0
    high: PositiveFloat = 2.0

    @model_validator(mode="after")
    def _a_band(self) -> Correction:
        if not self.low < 1 <= self.high:
            raise ValueError(
                f"low {self.low} and high {self.high} must lie on the two sides of 1, the weight of equals"
            )
        return self


class Critic(Config):
    """A value head on the policy's last hidden states, trained beside it (PPO, Schulman et al. 2017)."""

    weight: PositiveFloat = 0.5
    """Of the squared error, halved, in the loss."""


class DynamicSampling(Config):
    """More prompts are drawn until enough groups have rewards that differ (DAPO, Yu et al. 2025). What was drawn in
    vain is recorded, counted and told to the curriculum."""

    max_rounds: Annotated[int, Field(ge=2)] = 3
    """Most batches of prompts_per_update prompts for one update; then groups that teach nothing fill what is
    missing."""


class OutcomeCredit(Config):
    """Every token of a completion gets the completion's advantage."""

    type: Literal["outcome"] = "outcome"


class _StepCredit(Config):
    steps: str = "symbolic"
    """Who scores the steps: "symbolic" (the task's check), a part of the rubric that returns `steps`, or one of the
    recipe's `scorers`."""


class ProcessReturnCredit(_StepCredit):
    """A token gets, beside the completion's advantage, the sum of the scores of its own and all later steps, after
    these were normalised over all steps of the group (process supervision, DeepSeekMath, Shao et al. 2024, section
    4.1.3)."""

    type: Literal["process_return"]
    weight: NonNegativeFloat = 1.0
    """Of the process return, beside the completion's advantage."""


class MinFormCredit(_StepCredit):
    """A token gets, beside the completion's advantage, nearly the lowest score of the completion's steps up to the step
    that has it, and nothing behind it, less what the tokens of the group's other completions earn: no good step makes
    up for a bad one, which a scorer is cheated on less (PURE, Cheng et al. 2025)."""

    type: Literal["min_form"]
    weight: NonNegativeFloat = 1.0
    """Of the min-form return, beside the completion's advantage."""
    temperature: PositiveFloat = 0.1
    """Of the soft minimum, in units of the step scores."""


class FirstErrorCredit(_StepCredit):
    """The completion's advantage, but nothing from the first wrong step on is praised: there a positive advantage is
    0."""

    type: Literal["first_error"]
    wrong_below: float = 0.5
    """A step that scores less is wrong."""


Credit = Annotated[
    OutcomeCredit | ProcessReturnCredit | MinFormCredit | FirstErrorCredit,
    Field(discriminator="type"),
    type_where_unsaid("outcome"),
]
