"""The function composition task: cells, levels and the split of the functions.

atomic/1: one call, its definition in the prompt, of any function in use. composite/D: D calls inside one another,
without definitions; D is the number of operations on the path from the input to the answer. At the levels train,
validation and iid composites are made of the training functions alone; at zero_shot at least one function is held out:
known from atomic/1, never composed and, unless `definitions` says otherwise, never met without its definition. Training
on some depths and evaluating on deeper cells is the recipe's choice.

Source: arXiv 2509.25123 for the functions, the two stages and the held-out ones.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from rlreason.errors import one_of
from rlreason.tasks.contract import Cell
from rlreason.tasks.equations import EquationParameters, EquationTask, Execution, Question
from rlreason.tasks.equations.statements import FORM_WORDS, words_of
from rlreason.tasks.equations.task import chain_of_cells
from rlreason.tasks.functions.expressions import INPUTS, draw_question, execute
from rlreason.tasks.functions.strings import BY_NAME, FUNCTIONS, NAMES, SYMBOLS

ATOMIC = "atomic"
COMPOSITE = "composite"
MAX_DEPTH = 6
_TRIES = 8
"""Inputs and literals tried before the path is drawn anew, so that paths hard to fulfil are not left out."""
_CHANCE_PROBLEMS = 64


def _unique(depths: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(depths)) < len(depths):
        raise ValueError("a depth is named twice; name each once")
    return depths


def _known(functions: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for place, name in enumerate(functions or ()):
        if name not in NAMES:
            raise ValueError(one_of("function", name, NAMES))
        if name in (functions or ())[:place]:
            raise ValueError(f"{name!r} is named twice; name each once")
    return functions


class FunctionsParameters(EquationParameters):
    """Parameters of the `functions` task."""

    functions: Annotated[tuple[str, ...] | None, Field(min_length=2), AfterValidator(_known)] = None
    """Functions in use, by name. None: all 25, more than a small model learns in minutes."""
    train_functions: Annotated[int, Field(ge=1, lt=len(FUNCTIONS))] = 13
    """Functions that training composes, fewer than are in use; the others are held out, for zero_shot."""
    depths: Annotated[
        tuple[Annotated[int, Field(ge=1, le=MAX_DEPTH)], ...], Field(min_length=1), AfterValidator(_unique)
    ] = (1, 2, 3)
    """Numbers of operations of the composite cells, at most 6: beyond, few paths stay within `longest`."""
    inputs: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(le=10)]] = INPUTS
    """Fewest and most symbols of an input."""
    longest: Annotated[int, Field(ge=12, le=64)] = 24
    """Most symbols of any value on the way. Inputs have up to 10, so that below 12 functions which lengthen them have
    no room; above 64 lines are too long to learn from."""

    definitions: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the atomic/1 questions that show their definition. Where all do, nothing asks a model to keep what a
    name means: a small one then runs the functions that it can read about, and hardly one by its name."""

    @property
    def names(self) -> tuple[str, ...]:
        """`functions`, or all where left out."""
        return self.functions or NAMES

    @model_validator(mode="after")
    def _some_are_held_out(self) -> FunctionsParameters:
        if self.train_functions >= len(self.names):
            raise ValueError(
                f"train_functions {self.train_functions} leaves none of the {len(self.names)} functions in use held "
                "out; lower it, or use more functions"
            )
        return self

    @model_validator(mode="after")
    def _inputs_in_order(self) -> FunctionsParameters:
        if self.inputs[0] > self.inputs[1]:
            raise ValueError(f"inputs {list(self.inputs)} must be the fewest symbols, then the most")
        return self


class Functions(EquationTask):
    """String functions, one at a time with their definitions, or composed without."""

    type = "functions"
    Parameters = FunctionsParameters

    def __init__(self, name: str, parameters: FunctionsParameters) -> None:
        super().__init__(name, parameters)
        self._names, self._inputs, self._longest = parameters.names, parameters.inputs, parameters.longest
        self._definitions = parameters.definitions
        self.trained = tuple(
            sorted(
                random.Random(f"{self._salt}/functions").sample(self._names, parameters.train_functions),
                key=NAMES.index,
            )
        )
        self.held_out = tuple(name for name in self._names if name not in self.trained)
        atomic = Cell(f"{ATOMIC}/1", ATOMIC, 1)
        self._cells = (atomic, *chain_of_cells(COMPOSITE, parameters.depths, (atomic.name,)))
        self._chances: dict[tuple[str, str], float] = {}
        self.require_training()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """See `Task.cells`."""
        return self._cells

    def draw(self, cell: Cell, held_out: bool, rng: random.Random) -> Question | None:
        """See `EquationTask.draw`."""
        path = self._path(cell, held_out, rng)
        tries = (draw_question(path, self._longest, rng, self._inputs) for _ in range(_TRIES))
        question = next((question for question in tries if question is not None), None)
        if question is None or (held_out and self._asked_in_training(question, cell)):
            return None
        # where all are shown, nothing is drawn: questions stay those that they were
        if cell.family == COMPOSITE or (self._definitions < 1 and rng.random() >= self._definitions):
            return question
        return replace(question, preamble=f"Definition: {path[0]} {BY_NAME[path[0]].definition}")

    def _asked_in_training(self, question: Question, cell: Cell) -> bool:
        """Whether a zero_shot question of one call is one that atomic training may ask without its definition."""
        return cell.difficulty == 1 and self._definitions < 1 and self._bucket(question) == "train"

    def _path(self, cell: Cell, held_out: bool, rng: random.Random) -> list[str]:
        """Functions from the innermost to the outermost."""
        if cell.family == ATOMIC:
            return [rng.choice(self._names)]
        path = rng.choices(self._names if held_out else self.trained, k=cell.difficulty)
        if held_out:
            path[rng.randrange(len(path))] = rng.choice(self.held_out)
        return path

    def execute(self, left: str) -> Execution | None:
        """See `EquationTask.execute`."""
        return execute(left)

    def why_no_zero_shot(self, cell: Cell) -> str:
        """See `EquationTask.why_no_zero_shot`."""
        if cell.family == ATOMIC:
            return f"atomic training asks for every function; ask for {COMPOSITE} cells"
        return ""

    def remedy(self, level: str, cell: Cell) -> str:
        """See `EquationTask.remedy`."""
        return f"raise longest (now {self._longest}) or train_functions (now {len(self.trained)})"

    def words(self) -> list[str]:
        """Words of the definitions and forms, function names, symbols and marks."""
        definitions = words_of(function.definition for function in FUNCTIONS)
        return list(dict.fromkeys([*FORM_WORDS, "Definition", "(", ")", ",", *definitions, *NAMES, *SYMBOLS]))

    def chance(self, level: str, cell: str) -> float:
        """Mean over some problems of a guess at every symbol, by one who knows how many there are."""
        self.require(level, cell)
        if (level, cell) not in self._chances:
            answers = [self.problem(level, cell, index).answer for index in range(_CHANCE_PROBLEMS)]
            guesses = [len(SYMBOLS) ** -len(answer.split()) for answer in answers]
            self._chances[level, cell] = sum(guesses) / len(guesses)
        return self._chances[level, cell]
