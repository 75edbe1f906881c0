"""The recipe's section `verdict`: the rules by which the report says synthesis, amplification or neither.

They are written before the run, go into its plan, and can be frozen (`recipe.freeze`). What is measured and how the
rules read is the report's business: docs/verdict.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from rlreason.errors import one_of
from rlreason.recipe.config import Config

if TYPE_CHECKING:
    from rlreason.recipe.explain import Finding
    from rlreason.recipe.schema import Evaluation, Recipe

Share = Annotated[float, Field(gt=0, lt=1)]


class Verdict(Config):
    """What each arm with reinforcement learning must show against its base, the arm that it goes on from."""

    levels: tuple[str, ...] | None = None
    """Levels it is asked on. None: those of the evaluation but the first, which is taken for the one that training
    resembles; the only one where there is one."""
    outcome: Literal["answer", "derivation"] = "answer"
    """What counts as solved: the right answer, or every step right. Take derivation where answers can be guessed."""
    k: tuple[PositiveInt, ...] | None = None
    """Numbers of samples over which the gap in pass@k is followed; two at least. None: those of the evaluation."""
    alpha: Share = 0.05
    """One minus the level of every interval. p values of several controls are corrected for their number (Holm)."""
    minimal_gap: Share = 0.05
    """A gap in pass@k is held where its interval lies above this, and closed where its interval lies below."""
    minimal_seeds: PositiveInt = 3
    """Under fewer seeds the verdict is "not enough evidence", whatever they show."""
    minimal_unsolved: PositiveInt = 10
    """Problems, a seed, that the base must leave unsolved in one half of its samples for the split-half test."""
    amplification: PositiveInt | None = None
    """The amplification that the split-half test rules out: one try of the arm against so many of its base. None: as
    many as half of the base's samples."""
    controls: tuple[str, ...] | None = None
    """Arms that must be beaten. None: of the arms with the same base, those that go on by `sft` or `rft` alone."""
    right_derivations: Share = 0.8
    """Share of the arm's right answers that must rest on a right derivation."""
    probes: tuple[str, ...] | None = None
    """Probes of the skills that the levels compose. None: all of the evaluation."""
    mastery: Share = 0.8
    """Share of each such probe that the base must get right."""
    chance: Share = 0.1
    """Largest share of the problems that guessing k times may solve, at the largest k."""
    reach: PositiveInt = 1024
    """Where the log-probability of the arm's right derivations under its base is recorded: one above -ln(reach) is
    within reach of the base."""
    reach_derivations: NonNegativeInt = 0
    """Right derivations a level of each such arm whose log-probability under its base is recorded after the evaluation,
    one a problem; 0: none. Without them a base that only needs more samples than were taken looks like none."""


def resolved_verdict(verdict: Verdict, evaluation: Evaluation) -> dict[str, Any]:
    """The rules as plain values, with levels, k and probes as they are for that evaluation."""
    return verdict.model_dump(mode="json") | {
        "levels": list(verdict.levels or evaluation.levels[1:] or evaluation.levels),
        "k": sorted(verdict.k or evaluation.k),
        "probes": list(evaluation.probes if verdict.probes is None else verdict.probes),
    }


def check_verdict(recipe: Recipe) -> Iterator[Finding]:
    """Everything in the section that refers to nothing, or asks for samples that are not taken."""
    from rlreason.recipe.explain import Finding

    verdict, evaluation = recipe.verdict, recipe.evaluation
    named = {
        "levels": ("level", verdict.levels, evaluation.levels),
        "probes": ("probe", verdict.probes, tuple(evaluation.probes)),
        "controls": ("arm", verdict.controls, tuple(recipe.arms)),
    }
    for key, (what, given, allowed) in named.items():
        for index, name in enumerate(given or ()):
            if name not in allowed:
                yield Finding(f"verdict.{key}[{index}]", one_of(what, name, allowed))
    if verdict.levels == ():
        yield Finding("verdict.levels", "is empty; name a level of the evaluation, or leave it out")
    if verdict.k is not None and len(set(verdict.k)) < 2:
        yield Finding("verdict.k", f"{list(verdict.k)} shows no course over k; give two different k at least")
    for index, k in enumerate(verdict.k or ()):
        if k > evaluation.samples:
            yield Finding(
                f"verdict.k[{index}]",
                f"{k} exceeds evaluation.samples {evaluation.samples}; raise `samples`, or drop that k",
            )
    if verdict.amplification is not None and verdict.amplification > evaluation.samples // 2:
        yield Finding(
            "verdict.amplification",
            f"{verdict.amplification} exceeds half of evaluation.samples, {evaluation.samples // 2}: the other half "
            "of the samples chooses the problems; raise `samples`, or leave it out",
        )
