"""Where an update's rollouts come from: drawn when they are asked for, with the weights of that moment.

The other source, which draws them ahead, is `pipeline`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from rlreason.algorithms.budget import Spending
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.stages import OnPolicyStage
from rlreason.records.tables import write_part
from rlreason.stages.context import Context
from rlreason.stages.draws import Clock, Drawn, draw_groups
from rlreason.stages.schedule import Schedule

Span = tuple[str, float, float]
"""(phase, start, end) in seconds of the epoch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The rollouts of one update, with what is told of how they came about.

    Attributes:
        drawn: the groups.
        spent: what they cost, of what no meter of the caller's thread counted.
        spans: the work on them, of what no clock of the caller timed.
        figures: metrics of the update that learns from them.
    """

    drawn: Drawn
    spent: Spending = field(default_factory=Spending)
    spans: Sequence[Span] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an update showed of its rollouts; `advantages` is [P, G] float."""

    update: int
    drawn: Drawn
    advantages: np.ndarray


class RolloutSource(Protocol):
    """A context manager from which a stage takes the rollouts of its updates, in order."""

    def take(self, update: int, clock: Clock) -> Batch:
        """The rollouts that this update is to learn from."""

    def serve(self, version: int, weights: Any) -> None:
        """Sample with these weights, in the form that `Learner.weights` gives, when it is their time."""

    def observe(self, outcome: Outcome) -> None:
        """Tell the curriculum what an update showed, when it is its time, and write down what it made of it."""

    def settle(self) -> dict[int, Batch]:
        """Come to rest, so that the stage can be saved; returns the rollouts that no update has taken yet, by the
        update that will."""

    def release(self) -> None:
        """Go on with what was served and observed."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop; nothing of the source goes on afterwards."""


class TurnByTurn:
    """A `RolloutSource` that samples while the learner waits."""

    def __init__(self, context: Context, stage: PlannedStage, config: OnPolicyStage, schedule: Schedule) -> None:
        self._context, self._stage, self._config, self._schedule = context, stage, config, schedule

    def take(self, update: int, clock: Clock) -> Batch:
        """See `RolloutSource.take`."""
        return Batch(draw_groups(self._context, self._stage, self._config, update, self._schedule, clock))

    def serve(self, version: int, weights: Any) -> None:
        """See `RolloutSource.serve`: at once."""
        self._context.engines.generator.load_weights(weights, policy_version=version)

    def observe(self, outcome: Outcome) -> None:
        """See `RolloutSource.observe`: at once."""
        tell(self._context, self._stage, self._schedule, outcome)

    def settle(self) -> dict[int, Batch]:
        """See `RolloutSource.settle`: it is at rest, and holds nothing."""
        return {}

    def release(self) -> None:
        """See `RolloutSource.release`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass


def tell(context: Context, stage: PlannedStage, schedule: Schedule, outcome: Outcome) -> None:
    """Have the curriculum observe an update, and record what it knew and learned."""
    drawn = outcome.drawn
    shown = schedule.observe(drawn.groups, drawn.rewards, outcome.advantages, drawn.scored, drawn.probabilities)
    where = {"stage": [stage.id] * len(shown["arm"]), "update": [outcome.update] * len(shown["arm"])}
    write_part(context.folder, "curriculum", stage.id, outcome.update, {**where, **shown})
