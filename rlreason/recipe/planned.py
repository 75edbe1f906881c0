"""What a plan is made of: stages that are to be run once, with what they need of each other.

Plain values; which stages a recipe comes to is found in `recipe.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rlreason.recipe.match import MatchBy
from rlreason.recipe.schema import Evaluation
from rlreason.recipe.scorers import Prm, ScorerConfig
from rlreason.recipe.stages import StageConfig

StageType = Literal["pretrain", "sft", "rft", "dpo", "rl", "distill", "prm", "evaluate", "interpolate", "reach"]
EVALUATE: Literal["evaluate"] = "evaluate"
INTERPOLATE: Literal["interpolate"] = "interpolate"
REACH: Literal["reach"] = "reach"


@dataclass(frozen=True, slots=True)
class PlannedScorer:
    """A step scorer of the recipe as an `rl` stage uses it.

    Attributes:
        name: the recipe's.
        config: its section of the recipe.
        models: ids of the stages whose checkpoints it is made of, None for the recipe's model. Learned: its own stage;
            implicit: policy, then reference; a folder: none.
    """

    name: str
    config: ScorerConfig
    models: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class PlannedMatch:
    """What a control is matched with: the id of its partner, the recipe's name of that, and what is compared."""

    stage: str
    name: str
    by: MatchBy


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage of the tree, to be run once.

    Attributes:
        id: its type and the first ten hex digits of its identity: "sft-1a2b3c4d5e".
        name: the recipe's name of it (of the first, where the recipe says the same twice); "evaluate" for evaluations,
            the method for interpolators, "reach" for what a base makes of another arm's derivations.
        type: which function of `rlreason.stages` runs it.
        seed: seed of training and sampling.
        parent: id of the stage whose checkpoint it starts from; None: the recipe's model.
        config: its section of the recipe; of an evaluation with the task that its arms are asked, of an interpolator
            the evaluation with that method alone.
        arms: names of the arms that go through it, or use the scorer that it trains, in the recipe's order.
        scorer: of an `rl` stage whose credit needs one of the recipe's scorers.
        reference: id of the stage whose checkpoint the policy is held near, where the recipe names an arm for that;
            None: the arm is the recipe's model, or none is named.
        match: of a stage that stops at another's budget.
        answers: of a stage of type "reach", id of the evaluation whose right derivations its parent is asked about.
    """

    id: str
    name: str
    type: StageType
    seed: int
    parent: str | None
    config: StageConfig | Prm | Evaluation
    arms: tuple[str, ...]
    scorer: PlannedScorer | None = None
    match: PlannedMatch | None = None
    reference: str | None = None
    answers: str | None = None

    @property
    def label(self) -> str:
        """What people are told it is: its name, the arms that it is of (a scorer may be of none), a seed but 0."""
        arms = f" of {', '.join(self.arms)}" if self.arms else ""
        return f"{self.name}{arms}" + (f" (seed {self.seed})" if self.seed else "")

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the stages, beside the parent, that must be done before it."""
        models = self.scorer.models if self.scorer else ()
        partner = self.match.stage if self.match else None
        return tuple(id for id in (*models, self.reference, partner, self.answers) if id is not None)
