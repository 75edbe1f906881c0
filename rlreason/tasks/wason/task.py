"""The `wason` task: cells by kind of rule, levels by what of the rules training has, problems and their gold episodes.

order/1, arithmetic/1, remainder/1 and extremes/1 hide one condition, both/2 two of different kinds. At train,
validation and iid the rules are those of training and only the shown triple is new; composition joins two trained
conditions that training never joins, zero_shot has a condition that training never has. No triple is shown at two
levels.

Source: Wason 1960, "On the failure to eliminate hypotheses in a conceptual task", for the game.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from rlreason.errors import TaskError, one_of
from rlreason.tasks.contract import Cell, Task
from rlreason.tasks.wason.game import ANSWERS, Game, observed, question, statement, turns_of
from rlreason.tasks.wason.hypotheses import (
    BOTH,
    COMPOSITION,
    LEVELS,
    TRAINED,
    Rules,
    Split,
    conditions,
    paired_rules,
    single_rules,
)
from rlreason.tasks.wason.language import Grid
from rlreason.types import DerivationCheck, Problem

SHARES = {"train": 0.6, "validation": 0.1, "iid": 0.1, COMPOSITION: 0.1, "zero_shot": 0.1}
"""Of the triples, those that each level may show."""
_TRIES = 64
"""Draws of a problem whose gold episode fits into the turns, before the cell is said to have none."""
_WORD = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]+")


class WasonParameters(BaseModel):
    """Parameters of the `wason` task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    largest: Annotated[int, Field(ge=8, le=20)] = 9
    """Triples are of the numbers 0 to this one."""
    held_out: Annotated[int, Field(ge=1, le=4)] = 3
    """Conditions of each kind that training never has, for zero_shot."""
    max_turns: Annotated[int, Field(ge=2, le=64)] = 12
    """Turns of an episode; the last is for the rule."""
    world_seed: int = 0
    """Of what is held out and which triples are shown at which level."""


class Wason(Task):
    """Find the rule behind triples of numbers by asking about triples, over several turns (Wason's 2-4-6 task)."""

    type = "wason"
    Parameters = WasonParameters

    def __init__(self, name: str, parameters: WasonParameters) -> None:
        super().__init__(name, parameters)
        self._salt = f"wason/{parameters.world_seed}"
        self._grid = Grid(parameters.largest)
        self._split = Split.draw(parameters.largest, parameters.held_out, self._salt)
        singles = tuple(Cell(f"{kind}/1", kind, 1) for kind in conditions(parameters.largest))
        self._cells = (*singles, Cell(f"{BOTH}/2", BOTH, 2, tuple(cell.name for cell in singles)))
        places = list(range(self._grid.size))
        random.Random(f"{self._salt}/shown").shuffle(places)
        ends = np.cumsum([round(share * len(places)) for share in SHARES.values()]).tolist()
        self._shown = {
            level: np.array(places[start:end]) for level, start, end in zip(SHARES, [0, *ends], ends, strict=False)
        }
        self._rules = cache(self._make_rules)
        self._shown_with = cache(self._eligible)

    @property
    def levels(self) -> tuple[str, ...]:
        """See `Task.levels`."""
        return LEVELS

    @property
    def cells(self) -> tuple[Cell, ...]:
        """See `Task.cells`."""
        return self._cells

    @property
    def max_turns(self) -> int:
        """See `Task.max_turns`."""
        return int(self.parameters.max_turns)

    def _make_rules(self, family: str) -> Rules:
        if family == BOTH:
            return paired_rules(self._split, self._grid, self._salt)
        return single_rules(family, self._split, self._grid, self._salt)

    def _of(self, level: str, cell: str) -> Rules:
        """The cell's rules.

        Raises:
            TaskError: the level or the cell is unknown, or the cell has no such level.
        """
        if level not in LEVELS:
            raise TaskError(one_of(f"level of task {self.name!r}", level, LEVELS))
        families = {cell.name: cell.family for cell in self._cells}
        if cell not in families:
            raise TaskError(one_of(f"cell of task {self.name!r}", cell, families))
        if level == COMPOSITION and families[cell] != BOTH:
            raise TaskError(
                f"cell {cell!r} of task {self.name!r} has no level {level!r}, since its rules are one condition; ask "
                f"for {BOTH}/2"
            )
        return self._rules(families[cell])

    def _eligible(self, level: str, cell: str) -> tuple[np.ndarray, np.ndarray]:
        """(places [N] of triples that leave the rule open, how many rules [N] a guesser has to choose from).

        Who guesses knows which rules training has, and where these are not asked for, which there are.
        """
        rules = self._of(level, cell)
        fits = rules.holds[:, self._shown[level]]
        asked = fits[rules.pools[level]].sum(axis=0)
        open_ = asked if level in TRAINED else fits.sum(axis=0)
        kept = (asked > 0) & (open_ > 1)
        if not kept.any():
            raise TaskError(
                f"cell {cell!r} of task {self.name!r} has no problems at level {level!r} with held_out "
                f"{self.parameters.held_out} and world_seed {self.parameters.world_seed}; change one of them"
            )
        return self._shown[level][kept], open_[kept]

    def problem(self, level: str, cell: str, index: int) -> Problem:
        """See `Task.problem`."""
        rules = self._of(level, cell)
        shown, _ = self._shown_with(level, cell)
        pool = rules.pools[level]
        rng = random.Random(f"{self._salt}/{level}/{cell}/{index}")
        for _ in range(_TRIES):
            place = int(shown[rng.randrange(len(shown))])
            fitting = pool[rules.holds[pool, place]]
            rule = int(fitting[rng.randrange(len(fitting))])
            asked = list(rules.questions(rule, place))
            if len(asked) < self.max_turns:
                return self._problem(level, cell, index, rules, rule, place, asked)
        raise TaskError(
            f"no gold episode of cell {cell!r} of task {self.name!r} fits into max_turns {self.max_turns}; raise it"
        )

    def _problem(
        self, level: str, cell: str, index: int, rules: Rules, rule: int, shown: int, asked: Sequence[int]
    ) -> Problem:
        triple, text = self._grid.triple(shown), rules.texts[rule]
        turns = (*(question(self._grid.triple(place)) for place in asked), statement(text))
        answers = [observed(ANSWERS[0] if rules.holds[rule, place] else ANSWERS[1]) for place in asked]
        detail: dict[str, Any] = {"rule": text, "shown": list(triple)}
        return Problem(
            id=f"{level}/{cell.replace('/', '-')}/{index}",
            task=self.name,
            cell=cell,
            level=level,
            prompt=self._prompt(cell.partition("/")[0], triple),
            answer=text,
            target="".join(turn + answer for turn, answer in zip(turns, [*answers, ""], strict=True)),
            detail=detail,
            turns=turns,
        )

    def _prompt(self, family: str, shown: tuple[int, int, int]) -> str:
        kinds = " or ".join(self._split.trained)
        of = f"two conditions, each about {kinds}" if family == BOTH else f"one condition about {family}"
        return (
            f"A hidden rule holds of some triples a, b, c of numbers from 0 to {self.parameters.largest}. "
            f"It is {of}. It holds of {', '.join(map(str, shown))}. "
            "Each turn, ask about a triple (Try: a, b, c) or end with the rule (Rule: condition).\n"
        )

    def environment(self, problem: Problem) -> Game:
        """See `Task.environment`."""
        a, b, c = problem.detail["shown"]
        return Game(self._rules(problem.cell.partition("/")[0]), problem.detail["rule"], (a, b, c))

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """See `Task.check`. What the text says the answers were is not believed: the questions are asked again."""
        game, starts = self.environment(problem), []
        for start, end in turns_of(text):
            if game.done:
                break
            starts.append(start)
            game.act(text[start:end])
        return game.verdict(starts)

    def words(self) -> Sequence[str]:
        """Words of the prompts, the turns and the answers, every condition's, and the numbers."""
        kinds = conditions(self.parameters.largest)
        prompts = [self._prompt(family, (0, 0, 0)) for family in (*kinds, BOTH)]
        rules = [statement(condition) for own in kinds.values() for condition in own]
        texts = [*prompts, question((0, 0, 0)), *rules, "<= >= and or not", *ANSWERS]
        numbers = map(str, range(self.parameters.largest + 1))
        return list(dict.fromkeys([*(word for text in texts for word in _WORD.findall(text)), *numbers]))

    def chance(self, level: str, cell: str) -> float:
        """Mean over the triples that may be shown of a guess among the rules that fit the triple."""
        _, choices = self._shown_with(level, cell)
        return float((1 / choices).mean())

    def answer_space(self, level: str, cell: str) -> float:
        """Mean number of the rules that fit the shown triple."""
        _, choices = self._shown_with(level, cell)
        return float(choices.mean())
