"""What a stage of a recipe may say: one frozen model a stage type.

A new stage type adds a class here (with its own literal `type`) to `StageConfig`, and a function in `rlreason.stages`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rlreason.recipe.asynchrony import Asynchrony
from rlreason.recipe.config import Config
from rlreason.recipe.curricula import PLANNED_CURRICULA, CurriculumConfig, UniformCurriculum
from rlreason.recipe.match import Match
from rlreason.recipe.objectives import (
    Advantage,
    ClippedLoss,
    Correction,
    Credit,
    Critic,
    DynamicSampling,
    GaeAdvantage,
    GrpoAdvantage,
    GspoLoss,
    Kl,
    Loss,
    NoAdvantage,
    OutcomeCredit,
    PassAtKAdvantage,
)
from rlreason.recipe.own_samples import Dpo, Rft
from rlreason.recipe.training import Lora, Mixture, Optimizer, Sampling, check_problems


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
    keep_last: PositiveInt = 1
    """Resumable checkpoints that stay, the newest; more than one where a damaged one must not cost the stage."""


class Pretrain(Supervised):
    """Next-token prediction on every token."""

    type: Literal["pretrain"]


class Sft(Supervised):
    """Supervised fine-tuning: loss on the derivation only (plain texts: on every token)."""

    type: Literal["sft"]
    lora: Lora | None = None
    number_loss: NonNegativeFloat = 0.0
    """Weight of the number-token loss beside the cross entropy: where a number is to be written, the squared distance
    of the number that the policy expects from the right one (Zausinger et al. 2024, who use 0.3). 0: none."""
    match: Match | None = None
    """Stop where another stage's tokens or operations are spent; `updates` is then the most that may be made."""

    @model_validator(mode="after")
    def _samples_nothing(self) -> Sft:
        if self.match is not None and self.match.by == "samples":
            raise ValueError(
                f"match by samples with {self.match.stage!r} in a stage of type sft, which samples nothing; match by "
                "tokens or flops"
            )
        return self


class OnPolicy(Config):
    """What the stages share that learn from each batch of rollouts as it comes."""

    data: Annotated[tuple[Mixture, ...], Field(min_length=1)]
    updates: PositiveInt
    prompts_per_update: PositiveInt = 32
    group_size: PositiveInt = 8
    """G, completions a prompt."""
    sampling: Sampling = Sampling()
    loss: Loss = ClippedLoss()
    overlong: Literal["train", "mask"] = "train"
    """mask: completions that the token budget cut off count in their group and are not trained on (DAPO's overlong
    filtering)."""
    correction: Correction | None = None
    curriculum: CurriculumConfig = UniformCurriculum()
    """Which cells of `data` the next prompts are drawn from."""
    optimizer: Optimizer
    lora: Lora | None = None
    minibatches: PositiveInt = 1
    """Optimizer updates made from each batch of rollouts; 1 is strictly on-policy."""
    mismatch_tolerance: PositiveFloat | None = None
    """Largest mean |learner_logprobs - generator_logprobs| of the same tokens before the run stops: the sign of a
    weight sync that went wrong. None: 0.001 in float32, 0.05 in bfloat16. Checked while weights are the sampler's."""
    match: Match | None = None
    """Stop where another stage's samples, tokens or operations are spent; `updates` is then the most that may be
    made."""
    max_skipped: NonNegativeInt = 3
    """Updates in a row that may make no step because the loss was not a number; the next one stops the run."""
    scoring_shares: PositiveInt = 1
    """Parts in which an update's prompts are sampled, each scored while the next is sampled. 1: scoring begins when all
    are. More pays where rewards take long, and costs where a part is too small to keep the generators busy. Like the
    number of generators, it changes results by no more than the last digits of log-probabilities."""
    asynchrony: Asynchrony | None = None
    """Sample ahead of the learner; {} for one step. None: sampling and learning take turns."""
    checkpoint_every: PositiveInt = 10
    """Updates between resumable checkpoints."""
    keep_last: PositiveInt = 1
    """Resumable checkpoints that stay, the newest; more than one where a damaged one must not cost the stage."""
    keep_models_every: PositiveInt | None = None
    """Updates between models that stay in the stage's models/, Hugging Face directories to evaluate later; None: only
    the model of the end stays."""
    keep_best: PositiveInt | None = None
    """Of these so many stay, those with the highest mean reward over the updates since the one before; None: all. No
    verdict looks at them, since the best of several is chosen by noise too."""

    @property
    def length_is_open(self) -> bool:
        """Whether the number of updates shows only as the stage goes on, since it stops at a budget."""
        return self.match is not None and (self.match.by != "samples" or self.draws_more)

    @property
    def draws_more(self) -> bool:
        """Whether an update may sample more than `prompts_per_update` prompts."""
        return False

    @property
    def step_scorer(self) -> str | None:
        """Who scores the steps for `credit`; None where nobody needs to."""
        return None

    @property
    def reference_arm(self) -> str | None:
        """The arm whose last checkpoint the policy is held near; None: the stage's own start, or nothing."""
        return None

    @model_validator(mode="after")
    def _data_is_problems(self) -> OnPolicy:
        check_problems(self.data, "cannot be scored")
        if self.prompts_per_update % self.minibatches:
            raise ValueError(
                f"prompts_per_update {self.prompts_per_update} cannot be split into {self.minibatches} minibatches; "
                "choose a divisor"
            )
        return self

    @model_validator(mode="after")
    def _best_of_kept_models(self) -> OnPolicy:
        if self.keep_best is not None and self.keep_models_every is None:
            raise ValueError(
                f"keep_best {self.keep_best} without keep_models_every: no model is kept but the last; say how many "
                "updates lie between models, or drop keep_best"
            )
        return self

    @model_validator(mode="after")
    def _stale_rollouts_can_be_reweighted(self) -> OnPolicy:
        if self.asynchrony is not None and self.asynchrony.when_stale == "reweight" and self.correction is None:
            raise ValueError(
                "asynchrony.when_stale reweight needs importance weights: give a `correction: {}`, or use when_stale "
                "drop"
            )
        return self

    @model_validator(mode="after")
    def _length_is_known(self) -> OnPolicy:
        if self.match is None or not self.length_is_open:
            return self
        how = f"match by {self.match.by}" + (" with dynamic_sampling" if self.match.by == "samples" else "")
        for name, said, fits in (
            ("optimizer.schedule", self.optimizer.schedule, self.optimizer.schedule == "constant"),
            ("curriculum", self.curriculum.type, not isinstance(self.curriculum, PLANNED_CURRICULA)),
        ):
            if not fits:
                raise ValueError(
                    f"{how} (with {self.match.stage!r}) shows only as it goes how many updates there are, and {name} "
                    f"{said} has to know before; choose another, or match by samples without dynamic_sampling"
                )
        return self


class Rl(OnPolicy):
    """On-policy reinforcement learning from scored rollouts."""

    type: Literal["rl"]
    dynamic_sampling: DynamicSampling | None = None
    advantage: Advantage = GrpoAdvantage()
    credit: Credit = OutcomeCredit()
    """How a completion's advantage is shared out among its tokens."""
    critic: Critic | None = None
    kl: Kl | None = None
    entropy_weight: NonNegativeFloat = 0.0
    """Of the mean entropy of the policy at the trained tokens, which is then held up."""

    @property
    def draws_more(self) -> bool:
        """See `OnPolicy.draws_more`."""
        return self.dynamic_sampling is not None

    @property
    def step_scorer(self) -> str | None:
        """See `OnPolicy.step_scorer`."""
        return None if isinstance(self.credit, OutcomeCredit) else self.credit.steps

    @property
    def reference_arm(self) -> str | None:
        """See `OnPolicy.reference_arm`."""
        return self.kl.reference if self.kl else None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Rl:
        for refused, pair in (
            (
                isinstance(self.advantage, GaeAdvantage) and self.critic is None,
                "advantage gae needs values: give a `critic: {}`",
            ),
            (
                self.critic is not None and not isinstance(self.advantage, GaeAdvantage),
                f"critic with advantage {self.advantage.type}, which asks for no values; use advantage gae, or drop it",
            ),
            (
                isinstance(self.advantage, GaeAdvantage) and not isinstance(self.credit, OutcomeCredit),
                f"advantage gae shares the reward out among the tokens itself: credit {self.credit.type} would do it "
                "again; use credit outcome",
            ),
            (
                isinstance(self.loss, GspoLoss) and self.correction is not None and self.correction.level == "token",
                "loss gspo has one ratio a sequence, correction level token one a token; use level sequence",
            ),
            (
                isinstance(self.advantage, NoAdvantage) and self.kl is None and isinstance(self.credit, OutcomeCredit),
                "advantage none without kl leaves nothing to learn from; give one of the two",
            ),
            (
                isinstance(self.advantage, PassAtKAdvantage) and self.advantage.k > self.group_size,
                f"advantage pass_at_k with k {getattr(self.advantage, 'k', 0)} needs a group_size of at least that "
                f"(it is {self.group_size})",
            ),
            (
                self.group_size == 1
                and self.advantage.type not in ("gae", "reinforce_plus_plus", "none")
                and isinstance(self.credit, OutcomeCredit),
                f"advantage {self.advantage.type} compares the rollouts of a group, and group_size 1 leaves nothing to "
                "compare; raise it",
            ),
            (
                self.dynamic_sampling is not None and self.group_size == 1,
                "dynamic_sampling looks for groups whose rewards differ, and group_size 1 has none; raise it",
            ),
        ):
            if refused:
                raise ValueError(pair)
        return self


class Distill(OnPolicy):
    """On-policy distillation: the policy samples, and every token is pulled towards what a teacher thinks of it, by the
    reverse KL a token (Agarwal et al. 2024; Gu et al. 2024). Rewards are recorded and not learned from."""

    type: Literal["distill"]
    teacher: str
    """Arm whose last checkpoint teaches."""
    group_size: PositiveInt = 1
    """Completions a prompt."""
    dynamic_sampling: ClassVar[None] = None
    advantage: ClassVar[NoAdvantage] = NoAdvantage(type="none")
    credit: ClassVar[OutcomeCredit] = OutcomeCredit()
    critic: ClassVar[None] = None
    kl: ClassVar[Kl] = Kl(weight=1.0, place="advantage", estimator="k1")
    entropy_weight: ClassVar[float] = 0.0

    @property
    def reference_arm(self) -> str | None:
        """See `OnPolicy.reference_arm`."""
        return self.teacher


OnPolicyStage = Rl | Distill
"""Those that learn from rollouts as they come, whatever from."""

StageConfig = Annotated[Pretrain | Sft | Rft | Dpo | Rl | Distill, Field(discriminator="type")]
