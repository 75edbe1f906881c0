"""What a recipe may say of a control: the stage whose budget it stops at.

Which planned stage that is belongs to `recipe.partners`; what a budget is and how a stage stops there to the stages.
"""

from __future__ import annotations

from typing import Literal

from rlreason.recipe.config import Config

MatchBy = Literal["samples", "tokens", "flops"]


class Match(Config):
    """Stops the stage where it has spent what another stage, its partner, spent, so that the two compare."""

    stage: str
    """The partner: a stage of another arm. Where several arms have a stage of that name, the one that starts from the
    same checkpoint is meant. It is run first."""
    by: MatchBy
    """samples: completions sampled; tokens: tokens that a loss was taken over; flops: all floating-point operations, as
    estimated, those of sampling too."""
