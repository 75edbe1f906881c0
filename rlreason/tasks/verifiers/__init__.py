"""Environments that others wrote for the `verifiers` library, as a task.

`task` keeps the contract, `packages` opens an installed package and says what cannot be played, `playing` plays an
episode with turns that were written already, `texts` makes plain text of messages. Only the middle two import the
library, and they are imported where a task is built: listing task types costs nothing.
"""

from rlreason.tasks.verifiers.task import Verifiers, VerifiersParameters

__all__ = ["Verifiers", "VerifiersParameters"]
