"""The recipe's section `evaluation.stop_at`: when an evaluation takes fewer samples than it may.

How the rounds of sampling go is `stages.evaluate`'s affair; what stopping early does to the figures is said in
docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from rlreason.recipe.config import Config

if TYPE_CHECKING:
    from rlreason.recipe.explain import Finding
    from rlreason.recipe.schema import Recipe


class StopAt(Config):
    """Sampling of a level, or probe, ends when its pass@1 is known well enough; all its problems get as many samples.

    Looked at after `at_least` samples a problem, and whenever there are twice as many as at the last look.
    """

    half_width: Annotated[float, Field(gt=0, lt=0.5)]
    """Half of the 95% interval over problems, as a share: 0.02 is two points of a hundred either way. More samples
    narrow only what they add to it: with 128 problems it may stay at 0.08 however many are taken."""
    at_least: PositiveInt = 16
    """Samples a problem before the first look; below `samples`."""


def check_early_stop(recipe: Recipe) -> Iterator[Finding]:
    """What does not go with `stop_at`: rules whose outcome would hang on how many samples happened to be taken."""
    from rlreason.recipe.explain import Finding

    evaluation, verdict, stop = recipe.evaluation, recipe.verdict, recipe.evaluation.stop_at
    if stop is None:
        return
    least = stop.at_least
    if least >= evaluation.samples:
        yield Finding(
            "evaluation.stop_at.at_least",
            f"{least} is not below evaluation.samples {evaluation.samples}, so nothing could be saved; lower it, raise "
            "`samples`, or leave `stop_at` out",
        )
    if not any(stage.type == "rl" for stage in recipe.stages.values()):  # then there is no verdict
        return
    beyond = [k for k in verdict.k or evaluation.k if k > least]
    if beyond:
        yield Finding(
            "evaluation.stop_at",
            f"does not go with k {beyond[0]} of the verdict, which may have more samples than are taken (at_least is "
            f"{least}); set verdict.k to values up to {least}, raise `at_least`, or leave `stop_at` out",
        )
    if verdict.amplification is None or verdict.amplification > least // 2:
        said = "unset (half of the samples)" if verdict.amplification is None else str(verdict.amplification)
        yield Finding(
            "evaluation.stop_at",
            f"does not go with verdict.amplification {said}, which needs a number of samples known before the run; set "
            f"it to {max(1, least // 2)} or less (half of at_least {least}), or leave `stop_at` out",
        )
    if verdict.reach_derivations:
        yield Finding(
            "evaluation.stop_at",
            f"does not go with verdict.reach_derivations {verdict.reach_derivations}: which problems a base leaves "
            "unsolved hangs on its samples; set that to 0, or leave `stop_at` out",
        )
