"""The `rules` task: one of four rules as cells by size and levels.

Train, validation and iid share the rule's trained part; zero_shot has the part that is held out. A rule that a model
has found works there too; going by what is similar does not, which `rlreason.tasks.interpolation` measures.

Source: arXiv 2603.17019.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from rlreason.tasks.contract import Cell
from rlreason.tasks.equations import ZERO_SHOT, EquationTask, Execution, Question
from rlreason.tasks.equations.statements import FORM_WORDS
from rlreason.tasks.equations.task import chain_of_cells
from rlreason.tasks.rules.grammar import Grammar
from rlreason.tasks.rules.modular import Modular
from rlreason.tasks.rules.operators import Operators
from rlreason.tasks.rules.parameters import RuleName, RulesParameters
from rlreason.tasks.rules.rule import Rule
from rlreason.tasks.rules.rule90 import Rule90

_RULES: Mapping[RuleName, Callable[[RulesParameters], Rule]] = {
    "rule90": lambda p: Rule90(p.width, p.held_out_neighbourhoods),
    "operators": lambda p: Operators(p.largest, p.held_out_pair),
    "modular": lambda p: Modular(p.primes, p.held_out_prime),
    "grammar": lambda p: Grammar(p.held_out_productions),
}


class Rules(EquationTask):
    """A rule with a part that is never trained."""

    type = "rules"
    Parameters = RulesParameters
    shown_as = tuple({"rule": rule} for rule in _RULES)

    def __init__(self, name: str, parameters: RulesParameters) -> None:
        super().__init__(name, parameters)
        self._rule = _RULES[parameters.rule](parameters)
        self._cells = chain_of_cells(parameters.rule, parameters.cell_sizes)
        self.require_training()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """See `Task.cells`."""
        return self._cells

    def draw(self, cell: Cell, held_out: bool, rng: random.Random) -> Question | None:
        """See `EquationTask.draw`."""
        return self._rule.draw(cell.difficulty, held_out, rng)

    def execute(self, left: str) -> Execution | None:
        """See `EquationTask.execute`."""
        return self._rule.execute(left)

    def why_no_zero_shot(self, cell: Cell) -> str:
        """See `EquationTask.why_no_zero_shot`."""
        return self._rule.why_no_zero_shot(cell.difficulty)

    def remedy(self, level: str, cell: Cell) -> str:
        """See `EquationTask.remedy`."""
        return self._rule.remedy

    def words(self) -> Sequence[str]:
        """Words of the forms, then of the rule."""
        return list(dict.fromkeys([*FORM_WORDS, *self._rule.words()]))

    def chance(self, level: str, cell: str) -> float:
        """See `Task.chance`."""
        return self._rule.chance(self.require(level, cell).difficulty, level == ZERO_SHOT)
