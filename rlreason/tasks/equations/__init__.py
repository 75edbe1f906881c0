"""Tasks whose derivations are equations, `left = right .`, each checked by executing its left side.

`statements` writes them, `checker` judges them, `task` turns draws into problems of levels and cells. What a left side
means belongs to the families that are built on this: `functions` and `rules`.
"""

from rlreason.tasks.equations.checker import Checker, Execution
from rlreason.tasks.equations.statements import Equation, Question
from rlreason.tasks.equations.task import ZERO_SHOT, EquationParameters, EquationTask

__all__ = [
    "ZERO_SHOT",
    "Checker",
    "Equation",
    "EquationParameters",
    "EquationTask",
    "Execution",
    "Question",
]
