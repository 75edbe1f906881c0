"""Rules that similarity cannot reach: parts of each are never trained, and what is nearest to them is misleading.

`rule` says what a rule is; `rule90`, `operators`, `modular` and `grammar` are the four; `task` makes problems of them.
"""

from rlreason.tasks.rules.parameters import RulesParameters
from rlreason.tasks.rules.task import Rules

__all__ = ["Rules", "RulesParameters"]
