"""What a recipe may say of the curriculum of an `rl` stage: which bandit arms (cells) are drawn, and what unlocks them.

One section a rule; defaults are those of `rlreason.curriculum`, where each rule's source and arithmetic stand and its
parameters are checked. The docstring under a field is what `rlreason schema` prints.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from rlreason.recipe.config import Config, type_where_unsaid

Share = Annotated[float, Field(ge=0, le=1)]
StepSize = Annotated[float, Field(gt=0, le=1)]
Payoff = Literal["advantage", "slope", "half_success", "variance", "step_progress"]


class Gate(Config):
    """Atomic before composite: a cell is drawn only once the cells that it composes are mastered. Which those are, the
    task declares; a mastered cell stays unlocked."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Mastered: the lower bound of success over the last `window` problems is at least this."""
    window: PositiveInt = 32
    """Problems of an arm that its success is judged over, the newest ones."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Of that lower bound (Wilson, one-sided)."""
    mastered: tuple[str, ...] = ()
    """Cells (shell-style patterns) that are known to be mastered, because an earlier stage taught them."""


class _Curriculum(Config):
    floor: Share = 0.0
    """Share of the draws that is spread evenly over the arms that may be drawn, whatever the rule prefers."""
    gate: Gate | None = None
    """None: everything may be drawn from the first update on."""


class PaidCurriculum(_Curriculum):
    """What the rules that learn from payoffs have in common."""

    floor: Share = 0.1
    payoff: Payoff = "advantage"
    """What a problem pays its arm. advantage: mean |advantage| of its rollouts; slope: how far the arm's mean reward
    moved; half_success: 1 - 2 |success - 1/2|; variance: of its rewards; step_progress: share of its derivations whose
    first error came later than is usual for the arm."""


class UniformCurriculum(_Curriculum):
    """Every arm in proportion to its weight in `data`, whatever it pays: the baseline."""

    type: Literal["uniform"] = "uniform"


class OrderedCurriculum(_Curriculum):
    """One difficulty after the other, from easy to hard, each for an equal part of the stage."""

    type: Literal["ordered"]


class ReverseOrderedCurriculum(_Curriculum):
    """One difficulty after the other, from hard to easy."""

    type: Literal["reverse_ordered"]


class EasyToHardCurriculum(_Curriculum):
    """A Gaussian over difficulty whose centre moves from the easiest to the hardest arm over the stage (E2H)."""

    type: Literal["easy_to_hard"]
    width: PositiveFloat = 0.75
    """Standard deviation, in units of difficulty."""
    power: PositiveFloat = 0.5
    """Below 1 leaves the easy arms sooner."""


class SuccessTargetCurriculum(_Curriculum):
    """Follows the difficulty at which half of the rollouts succeed (AdaRFT)."""

    type: Literal["success_target"]
    eta: PositiveFloat = 0.5
    """Largest move an update, in units of difficulty."""
    alpha: PositiveFloat = 2.0
    """How sharply it answers to success."""


class SecCurriculum(PaidCurriculum):
    """Self-Evolving Curriculum: a value an arm by TD(0), and a Boltzmann draw."""

    type: Literal["sec"]
    alpha: StepSize = 0.5
    tau: PositiveFloat = 0.4
    """Temperature, in units of payoff."""
    undrawn: Literal["keep", "decay"] = "keep"
    """An arm that was not drawn keeps its value, or is paid 0 (as in the authors' code)."""


class UcbCurriculum(PaidCurriculum):
    """Upper confidence bounds over a sliding window (DUMP)."""

    type: Literal["ucb"]
    window: PositiveInt = 300
    """Payoffs (one a problem) that the mean looks back on."""
    tau: PositiveFloat = 0.1


class ThompsonCurriculum(PaidCurriculum):
    """Discounted Thompson sampling on the payoff and on the change of success (PAC-like)."""

    type: Literal["thompson"]
    discount: Annotated[float, Field(ge=0, le=0.99)] = 0.7
    """What an update leaves of earlier looks."""
    spread: PositiveFloat = 0.5
    """Standard deviation of one look, in units of payoff."""
    prior: float = 0.5
    """Mean payoff assumed of an arm that was not looked at."""
    slope_weight: Annotated[float, Field(ge=0)] = 1.0
    """Payoff that a change of success by 1 is worth."""


class Exp3Curriculum(PaidCurriculum):
    """Exponential weights for payoffs that change against it (EXP3.S)."""

    type: Literal["exp3s"]
    gamma: StepSize = 0.3
    alpha: Share = 0.01


class VarianceCurriculum(PaidCurriculum):
    """In proportion to an exponential mean of the payoff, by default the variance of the rewards (VCRL)."""

    type: Literal["variance"]
    payoff: Payoff = "variance"
    alpha: StepSize = 0.3
    initial: PositiveFloat = 0.25


PLANNED_CURRICULA = (OrderedCurriculum, ReverseOrderedCurriculum, EasyToHardCurriculum)
"""Those that follow a plan over the stage's updates, whose number they have to know."""

CurriculumConfig = Annotated[
    UniformCurriculum
    | OrderedCurriculum
    | ReverseOrderedCurriculum
    | EasyToHardCurriculum
    | SuccessTargetCurriculum
    | SecCurriculum
    | UcbCurriculum
    | ThompsonCurriculum
    | Exp3Curriculum
    | VarianceCurriculum,
    Field(discriminator="type"),
    type_where_unsaid("uniform"),
]
