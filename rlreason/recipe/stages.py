"""What a stage of a recipe may say: one frozen model a stage type, and the pieces they share.

A new stage type adds a class here (with its own literal `type`) to `StageConfig`, and a function in `rlreason.stages`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rlreason.recipe.config import Config
from rlreason.recipe.curricula import CurriculumConfig, UniformCurriculum


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


class Mixture(Config):
    """A share of the training data: problems of some cells, or plain texts of the task."""

    task: str | None = None
    """The recipe's name of the task; may be left out where there is one task."""
    cells: tuple[str, ...] = ()
    """Shell-style patterns of the task's cells ("parametric/*"); problems are drawn equally from those that match."""
    texts: bool = False
    """True: the task's plain texts (for example biographies), trained on every token. Excludes `cells`."""
    level: str = "train"
    weight: PositiveFloat = 1.0
    """Share of sequences, relative to the other entries."""

    @model_validator(mode="after")
    def _cells_or_texts(self) -> Mixture:
        if bool(self.cells) == self.texts:
            raise ValueError("give either `cells: [...]` (problems) or `texts: true` (plain texts), one of the two")
        return self


class Supervised(Config):
    """What pretraining and supervised fine-tuning share."""

    data: Annotated[tuple[Mixture, ...], Field(min_length=1)]
    updates: PositiveInt
    batch_rows: PositiveInt = 32
    """Packed rows an update, over all ranks; a row holds several sequences, each attending to itself alone."""
    row_tokens: PositiveInt = 256
    """Tokens of a packed row. A sequence longer than that is an error, not cut."""
    optimizer: Optimizer
    checkpoint_every: PositiveInt = 100
    """Updates between resumable checkpoints."""


class Pretrain(Supervised):
    """Next-token prediction on every token."""

    type: Literal["pretrain"]


class Sft(Supervised):
    """Supervised fine-tuning: loss on the derivation only (plain texts: on every token)."""

    type: Literal["sft"]


class GrpoAdvantage(Config):
    """Group-relative advantages (GRPO): reward minus the group's mean, over the group's standard deviation."""

    type: Literal["grpo"] = "grpo"
    scale: Literal["std", "none"] = "std"
    """none: no division by the standard deviation (Dr. GRPO's advantage)."""


class ClippedLoss(Config):
    """PPO's clipped surrogate; the ratio is against the logprobs of the generator that sampled the tokens."""

    type: Literal["clipped"] = "clipped"
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    clip_high: Annotated[float, Field(gt=0)] = 0.2
    denominator: Literal["tokens", "sequences", "constant"] = "tokens"
    """tokens: trained tokens in the update; sequences: mean over tokens of each, then over sequences; constant:
    sequences x max_new_tokens (Dr. GRPO)."""


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
    weight: Annotated[float, Field(ge=0)] = 1.0
    """Of the process return, beside the completion's advantage."""


class FirstErrorCredit(_StepCredit):
    """The completion's advantage, but nothing from the first wrong step on is praised: there a positive advantage is
    0."""

    type: Literal["first_error"]
    wrong_below: float = 0.5
    """A step that scores less is wrong."""


Credit = Annotated[OutcomeCredit | ProcessReturnCredit | FirstErrorCredit, Field(discriminator="type")]


class Rl(Config):
    """On-policy reinforcement learning from scored rollouts."""

    type: Literal["rl"]
    data: Annotated[tuple[Mixture, ...], Field(min_length=1)]
    updates: PositiveInt
    prompts_per_update: PositiveInt = 32
    group_size: PositiveInt = 8
    """G, completions a prompt."""
    sampling: Sampling = Sampling()
    advantage: GrpoAdvantage = GrpoAdvantage()
    credit: Credit = OutcomeCredit()
    """How a completion's advantage is shared out among its tokens."""
    loss: ClippedLoss = ClippedLoss()
    curriculum: CurriculumConfig = UniformCurriculum()
    """Which cells of `data` the next prompts are drawn from."""
    optimizer: Optimizer
    minibatches: PositiveInt = 1
    """Optimizer updates made from each batch of rollouts; 1 is strictly on-policy."""
    mismatch_tolerance: PositiveFloat | None = None
    """Largest mean |learner_logprobs - generator_logprobs| of the same tokens before the run stops: the sign of a
    weight sync that went wrong. None: 0.001 in float32, 0.05 in bfloat16. Checked while weights are the sampler's."""
    checkpoint_every: PositiveInt = 10
    """Updates between resumable checkpoints."""

    @property
    def step_scorer(self) -> str | None:
        """Who scores the steps for `credit`; None where nobody needs to."""
        return None if isinstance(self.credit, OutcomeCredit) else self.credit.steps

    @model_validator(mode="after")
    def _data_is_problems(self) -> Rl:
        if any(entry.texts for entry in self.data):
            raise ValueError("`data` has `texts: true`, which cannot be scored; name `cells: [...]` instead")
        if self.prompts_per_update % self.minibatches:
            raise ValueError(
                f"prompts_per_update {self.prompts_per_update} cannot be split into {self.minibatches} minibatches; "
                "choose a divisor"
            )
        return self


StageConfig = Annotated[Pretrain | Sft | Rl, Field(discriminator="type")]
