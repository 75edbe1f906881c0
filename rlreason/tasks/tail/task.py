"""Turing-machine imitation: algorithms run state by state, asked at sizes longer than those trained on.

A cell is an algorithm at a size, "addition/s". Levels, for a cell:

- train, validation, iid: inputs of the cell's own size, in three parts that share none.
- medium, long: inputs of the sizes m and l of the same algorithm, for a policy that was trained on the cell. They share
  no input with the other levels of any cell, so that a policy may also be trained on a mix of sizes.

So a recipe trains on `cells: ["addition/s"]` and is evaluated with `levels: [iid, medium, long]` on the same cells.
The part an input belongs to follows from a hash of the input, whatever cell or level asks for it. Few inputs (a handful
at size n = 1 of some algorithms) give few problems, never the same one in two parts; a part without any is refused.

Source: arXiv 2507.13332 for the algorithms, sizes and modules.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any, get_args

from rlreason.algorithms.seeding import derive_seed
from rlreason.errors import TaskError, one_of
from rlreason.tasks.complementary.text import ASK, CONCLUSION, REPLY
from rlreason.tasks.contract import Cell, Task
from rlreason.tasks.tail.algorithms import ALGORITHMS
from rlreason.tasks.tail.checker import check_derivation
from rlreason.tasks.tail.notation import MARKS, Notation
from rlreason.tasks.tail.parameters import ASKS, TailParameters, sizes_of
from rlreason.tasks.tail.states import Algorithm, Given, Size, execute
from rlreason.tasks.tail.text import FRAMES, LINE_WORDS, Writer, prompt, text_words
from rlreason.types import DerivationCheck, Problem

LEVELS = ("train", "validation", "iid", "medium", "long")
SIZES: tuple[Size, ...] = get_args(Size)
_LONGER: Mapping[str, Size] = {"medium": "m", "long": "l"}
_HELD_OUT = ("validation", "iid", "longer")
"""Parts of the inputs that training does not use; each has its share in the parameters."""
_DRAWS = 2_000
_CHANCE_PROBLEMS = 200


class Tail(Task):
    """Algorithms run state by state, asked at sizes longer than those trained on."""

    type = "tail"
    Parameters = TailParameters
    shown_as = tuple({"algorithm": name} for name in ALGORITHMS)

    def __init__(self, name: str, parameters: TailParameters) -> None:
        super().__init__(name, parameters)
        self._p = parameters
        self._algorithms = [ALGORITHMS[algorithm] for algorithm in parameters.algorithm]
        self._writer = Writer(parameters.modules)
        self._sizes = {algorithm.name: sizes_of(algorithm, parameters.sizes) for algorithm in self._algorithms}
        self._cells = {cell.name: cell for algorithm in self._algorithms for cell in _cells_of(algorithm)}
        self._likeliest: dict[tuple[str, Size], float] = {}

    @property
    def levels(self) -> tuple[str, ...]:
        """See the module."""
        return LEVELS

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Three an algorithm; a longer one needs the shorter."""
        return tuple(self._cells.values())

    def problem(self, level: str, cell: str, index: int) -> Problem:
        """See `Task.problem`. `detail` holds algorithm, size (n), given (the input) and, with `marks`, the skipped."""
        algorithm, size = self._place(level, cell)
        rng = random.Random(f"{self._p.world_seed}/{level}/{cell}/{index}")
        number, given = self._draw(algorithm, size, level, rng)
        wording = rng.randrange(self._p.question_wordings)
        frame, ask = divmod(wording, ASKS)
        detail = {"algorithm": algorithm.name, "size": number, "given": given}
        if self._p.marks is not None:
            detail["skipped"] = rng.randint(0, self._p.marks - number)
        notation = self._notation_of(detail)
        asked = algorithm.asks[ask].format(**algorithm.slots(given, notation))
        states, answer = execute(algorithm, given, notation)
        return Problem(
            id=f"{level}/{cell.replace('/', '-')}/{index}",
            task=self.name,
            cell=cell,
            level=level,
            prompt=prompt(asked, FRAMES[frame]),
            answer=answer,
            target=self._writer.derivation(states, answer),
            detail=detail,
        )

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """See `Task.check`."""
        algorithm = ALGORITHMS[problem.detail["algorithm"]]
        return check_derivation(algorithm, self._notation_of(problem.detail), self._writer, problem, text)

    def _notation_of(self, detail: Mapping[str, Any]) -> Notation:
        return Notation(self._p.form, detail.get("skipped", 0))

    def words(self) -> list[str]:
        """Words of the questions and states of the algorithms in use, digits and marks, each once."""
        count = self._p.question_wordings
        texts = [ASK, REPLY, CONCLUSION, *FRAMES[: -(-count // ASKS)]]
        for algorithm in self._algorithms:
            texts += [*algorithm.asks[:count], algorithm.words]
        marks = MARKS if self._p.form == "index_hint" else ()
        return list(dict.fromkeys([*text_words(texts), *LINE_WORDS, *marks]))

    def chance(self, level: str, cell: str) -> float:
        """Of a guesser who knows either the answers that the question leaves open, or which answer is the most
        frequent one: the better of the two."""
        algorithm, size = self._place(level, cell)
        low, high = self._sizes[algorithm.name][size]
        open_answers = sum(1 / algorithm.guesses(number) for number in range(low, high + 1)) / (high - low + 1)
        key = (algorithm.name, size)
        if key not in self._likeliest:
            self._likeliest[key] = self._share_of_likeliest_answer(algorithm, size)
        return max(open_answers, self._likeliest[key])

    def answer_space(self, level: str, cell: str) -> float:
        """See `Task.answer_space`: at the largest n."""
        algorithm, size = self._place(level, cell)
        return algorithm.guesses(self._sizes[algorithm.name][size][1])

    def _share_of_likeliest_answer(self, algorithm: Algorithm, size: Size) -> float:
        """Among some inputs of the size; 0 where no answer occurs twice."""
        rng = random.Random(f"{self._p.world_seed}/chance/{algorithm.name}/{size}")
        low, high = self._sizes[algorithm.name][size]
        inputs = [algorithm.draw(rng.randint(low, high), rng) for _ in range(_CHANCE_PROBLEMS)]
        notation = Notation(self._p.form)
        counts = Counter(execute(algorithm, given, notation)[1] for given in inputs)
        ((_, most),) = counts.most_common(1)
        return most / _CHANCE_PROBLEMS if most > 1 else 0.0

    def _draw(self, algorithm: Algorithm, size: Size, level: str, rng: random.Random) -> tuple[int, Given]:
        """n and an input of the level's part."""
        low, high = self._sizes[algorithm.name][size]
        part = "longer" if level in _LONGER else level
        for _ in range(_DRAWS):
            number = rng.randint(low, high)
            given = algorithm.draw(number, rng)
            if self._part(algorithm, given) == part:
                return number, given
        raise TaskError(
            f"task {self.name!r}: algorithm {algorithm.name!r} at n = {low} to {high} has no input for level {level!r} "
            f"({_DRAWS} draws found none); widen sizes, or "
            + ("lower the shares of the other levels" if part == "train" else f"raise {part}_share")
        )

    def _part(self, algorithm: Algorithm, given: Given) -> str:
        """Whose an input is; one with its twins in each other's place has the same."""
        values = dict(given)
        if algorithm.twin is not None:
            first, second = algorithm.twin
            values[first], values[second] = sorted((values[first], values[second]))
        text = json.dumps(values, sort_keys=True)
        share = derive_seed(self._p.world_seed, algorithm.name, text) / 2**63
        for part in _HELD_OUT:
            share -= getattr(self._p, f"{part}_share")
            if share < 0:
                return part
        return "train"

    def _place(self, level: str, cell: str) -> tuple[Algorithm, Size]:
        """Algorithm and size of the problems of a cell at a level."""
        if level not in LEVELS:
            raise TaskError(one_of(f"level of task {self.name!r}", level, LEVELS))
        if cell not in self._cells:
            raise TaskError(one_of(f"cell of task {self.name!r}", cell, self._cells))
        found = self._cells[cell]
        size = _LONGER.get(level, SIZES[found.difficulty - 1])
        if level in _LONGER and SIZES.index(size) < found.difficulty:
            raise TaskError(
                f"task {self.name!r}: cell {cell!r} has no level {level!r}, whose problems would be no longer; "
                f"ask for level iid, or for level {level!r} of cell '{found.family}/s'"
            )
        return ALGORITHMS[found.family], size


def _cells_of(algorithm: Algorithm) -> list[Cell]:
    cells: list[Cell] = []
    for difficulty, size in enumerate(SIZES, 1):
        shorter = tuple(cell.name for cell in cells[-1:])
        cells.append(Cell(f"{algorithm.name}/{size}", algorithm.name, difficulty, shorter))
    return cells
