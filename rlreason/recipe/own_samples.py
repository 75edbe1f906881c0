"""What a recipe may say of the stages that learn from the policy's own samples without a policy gradient.

They are the matched controls of `rl`: the same prompts, the same number of samples, another way to learn from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from rlreason.recipe.config import Config
from rlreason.recipe.match import Match
from rlreason.recipe.training import Mixture, Optimizer, Sampling, check_endless, check_problems

ANSWER = "{answer}"
"""Where a phrase of a trace puts the answer that an attempt gave."""


class PlainTraces(Config):
    """A right completion is trained as it was sampled, token by token."""

    type: Literal["plain"] = "plain"


class SkillTraces(Config):
    """Right completions are put behind wrong ones of the same problem: attempts, each followed by a reflection that
    says whether its answer is right, and the answer again as the verdict (after SkillFactory, Sprague et al. 2025,
    whose reflections the model writes itself; here they are the phrases below, and wrong attempts alone precede the
    right one). In every phrase {answer} stands for the answer of the attempt before it."""

    type: Literal["skills"]
    attempts: Annotated[int, Field(ge=2)] = 2
    """Attempts of a trace at most, the last one right. A problem without wrong samples gives the right one alone."""
    wrong: str = "That gives {answer}, which is wrong. Let me try again."
    """Reflection on a wrong attempt."""
    right: str = "That gives {answer}, which is right."
    """Reflection on the right attempt."""
    verdict: str = "So, the answer is: {answer}"
    """The end of a trace, as the task's texts end. What stands before {answer} also marks where a sample gives its
    answer: attempts end before it, so that the verdict is the one final answer a reader finds."""
    between: str = " "
    """What separates attempts and phrases."""

    @property
    def mark(self) -> str:
        """What stands before the answer, in a verdict and in a sample."""
        return self.verdict.partition(ANSWER)[0].strip()

    @model_validator(mode="after")
    def _one_final_answer(self) -> SkillTraces:
        if ANSWER not in self.verdict or not self.mark:
            raise ValueError(f"verdict {self.verdict!r} must have words and then {ANSWER}, as the task's texts end")
        for name in ("wrong", "right"):
            if self.mark in getattr(self, name):
                raise ValueError(
                    f"{name} and verdict both say {self.mark!r}, so that a reflection would be read as the final "
                    "answer; word one of them differently"
                )
        return self


class _OwnSamples(Config):
    data: Annotated[tuple[Mixture, ...], Field(min_length=1)]
    samples: PositiveInt = 8
    """Completions a prompt."""
    sampling: Sampling = Sampling()
    updates: PositiveInt
    optimizer: Optimizer
    checkpoint_every: PositiveInt = 100
    """Updates between resumable checkpoints."""
    keep_last: PositiveInt = 1
    """Resumable checkpoints that stay, the newest; more than one where a damaged one must not cost the stage."""

    @model_validator(mode="after")
    def _data_is_problems(self) -> _OwnSamples:
        check_problems(self.data, "cannot be scored")
        check_endless(self.data)
        return self


class Rft(_OwnSamples):
    """Expert iteration: sample, keep what is right, train on it, once or several times over (STaR, Zelikman et al.
    2022; rejection fine-tuning, Yuan et al. 2023)."""

    type: Literal["rft"]
    rounds: PositiveInt = 1
    prompts: PositiveInt = 256
    """Problems a round; every round draws new ones. Not read with `match`."""
    keep: Literal["answer", "derivation"] = "answer"
    """answer: completions with the right answer; derivation: those whose every step is right too. What the token budget
    cut off is never kept: it would teach to go on."""
    per_problem: PositiveInt | None = None
    """Most completions kept of a problem, different texts, the first sampled first. None: all."""
    restart: bool = False
    """True: every round trains from the checkpoint that the stage starts from, on what all rounds so far kept (STaR).
    False: a round goes on from the last round's checkpoint, on what itself kept."""
    traces: Annotated[PlainTraces | SkillTraces, Field(discriminator="type")] = PlainTraces()
    """What is made of the completions that are kept."""
    updates: PositiveInt
    """Optimizer updates a round, each round with a schedule of its own."""
    batch_rows: PositiveInt = 32
    """Packed rows an update, over all ranks; a row holds several sequences, each attending to itself alone."""
    row_tokens: PositiveInt = 256
    """Tokens of a packed row. A sequence longer than that is an error, not cut."""
    match: Match | None = None
    """Sample as much as another stage: over all rounds, the partner's samples are shared out in place of `prompts`."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Rft:
        if self.match is not None and self.match.by != "samples":
            raise ValueError(
                f"match by {self.match.by} with {self.match.stage!r} in a stage of type rft, which draws all its "
                "samples before it trains; match by samples"
            )
        if self.per_problem is not None and self.per_problem > self.samples:
            raise ValueError(
                f"per_problem {self.per_problem} is more than samples {self.samples}, which is all that a problem "
                "has; lower it, or leave it out to keep all"
            )
        if self.sampling.max_new_tokens >= self.row_tokens:
            raise ValueError(
                f"sampling.max_new_tokens {self.sampling.max_new_tokens} leaves no room for a prompt in row_tokens "
                f"{self.row_tokens}; lower it or raise that"
            )
        if self.restart and self.rounds == 1:
            raise ValueError("restart with rounds 1: there is no second round to start again; raise rounds or drop it")
        if isinstance(self.traces, SkillTraces) and self.samples < self.traces.attempts:
            raise ValueError(
                f"traces.attempts {self.traces.attempts} is more than samples {self.samples}, of which attempts are "
                "made; raise samples"
            )
        return self


class Dpo(_OwnSamples):
    """Direct preference optimisation (Rafailov et al. 2023) on pairs of a right and a wrong completion of the same
    problem, all sampled by the checkpoint that the stage starts from, which is also the reference."""

    type: Literal["dpo"]
    prompts: PositiveInt = 256
    """Problems that are sampled."""
    pairs_per_problem: PositiveInt = 4
    """Most pairs of a problem, each of another right and wrong text as far as they go."""
    beta: PositiveFloat = 0.1
    """How strongly the policy is held to the reference."""
    batch_pairs: PositiveInt = 32
    """Pairs an update, over all ranks."""

    @model_validator(mode="after")
    def _pairs_can_be_made(self) -> Dpo:
        if self.samples < 2:
            raise ValueError(f"samples {self.samples}: a pair is two completions of one problem; raise it to 2 or more")
        # r right of n samples make r (n - r) pairs
        most = (self.samples // 2) * (self.samples - self.samples // 2)
        if self.pairs_per_problem > most:
            raise ValueError(
                f"pairs_per_problem {self.pairs_per_problem} is more than the {most} pairs that samples "
                f"{self.samples} can make; lower it or raise samples"
            )
        return self
