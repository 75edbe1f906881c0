"""How far sampling may run ahead of learning, for the stages that learn from rollouts as they come."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt, model_validator

from rlreason.recipe.config import Config


class Asynchrony(Config):
    """Rollouts are sampled while the learner still learns from earlier ones. The staleness of a rollout is the number
    of updates between the weights that sampled its first token and the weights that learn from it."""

    max_staleness: PositiveInt = 1
    """Updates; 1 is one-step-off."""
    mode: Literal["lockstep", "newest"] = "lockstep"
    """lockstep: update n always learns from what the weights after update n - 1 - max_staleness sampled (the first ones
    from where the stage starts), however fast either side is: two runs are the same, and a resumed one too. newest:
    each batch is sampled with the newest weights there are, so its staleness is what the machine makes of it."""
    ahead: PositiveInt | None = None
    """With mode newest, batches that may be sampled before their turn. None: max_staleness, and no rollout can be too
    old. More keeps the generators busy behind a learner whose speed varies, and some rollouts will be."""
    when_stale: Literal["drop", "reweight"] = "drop"
    """What happens to a batch over max_staleness. drop: it is counted, and its prompts are sampled again with the
    newest weights; reweight: it is counted, and learned from under the stage's `correction`."""
    partial_rollouts: bool = False
    """With mode newest, new weights are taken also in mid-completion, every `chunk_tokens`: what is unfinished goes on
    under them, and the records say which weights sampled each token."""
    chunk_tokens: PositiveInt = 64
    """Tokens of each completion between two looks for new weights, with partial_rollouts."""

    @property
    def batches_ahead(self) -> int:
        """`ahead`, or what it is where left out."""
        return self.ahead or self.max_staleness

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Asynchrony:
        for name, said in (("partial_rollouts", self.partial_rollouts), ("ahead", self.ahead)):
            if said and self.mode == "lockstep":
                raise ValueError(
                    f"{name} {str(said).lower()} with mode lockstep, which samples each batch whole and max_staleness "
                    f"ahead; use mode newest, or drop {name}"
                )
        if self.when_stale == "reweight" and self.batches_ahead <= self.max_staleness:
            raise ValueError(
                f"when_stale reweight with {self.batches_ahead} batches ahead and max_staleness {self.max_staleness}: "
                "no rollout can be too old; use mode newest with an `ahead` over max_staleness, or drop when_stale"
            )
        return self
