"""Problems of several turns: the policy acts, the environment answers, until one of them is done.

An episode is a pure function of the problem and of what the policy wrote: an environment keeps no clock, draws nothing
that does not follow from the problem, and asks nobody. So any process can play an episode again from its turns, which
is how workers answer and score without holding a conversation open. The loop that lets a policy play is
`rlreason.stages.rollouts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rlreason.types import DerivationCheck


class Environment(Protocol):
    """One episode of one problem, whose prompt has been read already."""

    @property
    def done(self) -> bool:
        """Whether the episode is over: nothing more is observed, and acting is an error."""

    def act(self, text: str) -> None:
        """Take the policy's next turn. Hostile text is a wrong move, never an exception, and is never evaluated."""

    def observe(self) -> str:
        """What the environment says to the last turn; the policy reads it before its next one."""

    def score(self) -> DerivationCheck:
        """The verdict on the episode so far, over or not. Spans of steps count in its turns and what was observed
        between them, joined as they are."""


def replay(environment: Environment, turns: Sequence[str]) -> Environment:
    """The environment after these turns; what follows the end of the episode is ignored."""
    for turn in turns:
        if environment.done:
            break
        environment.act(turn)
    return environment
