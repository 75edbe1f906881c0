"""Wason's 2-4-6 task: find the rule behind triples of numbers by asking about triples, over several turns.

`task` makes problems, `game` is an episode, `hypotheses` are the rules that there are and what tells them apart, and
`language` reads the rule that a policy states.
"""

from rlreason.tasks.wason.task import Wason

__all__ = ["Wason"]
