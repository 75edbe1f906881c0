"""Datasets of reasoning-gym as a task: its questions and scorers, with cells and levels of ours.

Its entries have an answer and no derivation, so steps are not checked; its graded score goes into
`DerivationCheck.reward`, for `rlreason.rewards.builtin:environment`. Everything that needs the library is in
`generators`; keeping hostile answers from its scorers is `scoring`'s business.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from rlreason.errors import TaskError, one_of
from rlreason.tasks.contract import Cell, Task
from rlreason.tasks.gym.scoring import Entry, score
from rlreason.types import DerivationCheck, Problem

if TYPE_CHECKING:
    from rlreason.tasks.gym.generators import Generator

_QUARTERS = {"train": (0, 1), "validation": (2,), "iid": (3,)}
"""Level -> its quarters of all questions, by a hash of their text: no question is at two levels."""
_TRIES = 256
"""Candidates that a problem has: a level with a quarter of the questions is missed by all of them once in 10**32."""
_NEAR, _FAR = 16, 2**28
"""They are numbered in runs of so many, that far apart: nearly all problems are found within their first run, whose
neighbours are the next problem's, and all numbers are below 2**32 for the first 16 million problems; some generators
take no larger seed."""
_SAMPLED = 100
"""Entries a cell that the word list and the guesser's chance are taken from."""
_COMMON = 0.1
"""Share of a cell's entries that a word of the tokenizer is in; rarer ones are spelt."""

CONCLUSION = "So, the answer is: "
_ANSWER = re.compile(r"So,\s{1,9}the\s{1,9}answer\s{1,9}is:|<answer>")
_WORD = re.compile(r"[^\W\d_]+|[^\w\s]")
_EXAMPLES = ("example_answer", "example_correct_answer", "possible_answer")
"""Where the metadata of entries without an answer, because many are right, holds one of them."""


class ReasoningGymParameters(BaseModel):
    """Parameters of the `reasoning_gym` task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dataset: str | None = None
    """Name of one of reasoning-gym's datasets, such as chain_sum."""
    config: dict[str, Any] = {}
    """Its configuration, in its own keys, all but seed and size."""
    datasets: dict[str, dict[str, Any] | None] = {}
    """Several datasets in one task, each with its configuration or nothing, in place of `dataset` and `config`."""
    curriculum: bool = False
    """True: every level of a dataset's own curriculum is a cell. False: one cell a dataset."""
    instruction: str = "Say at the end: So, the answer is: X"
    """Stands below every question. "": nothing."""

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if (self.dataset is None) == (not self.datasets):
            raise ValueError(
                "say which datasets: either `dataset: NAME` or `datasets: {NAME: {}, ...}`, one of the two"
            )
        if self.config and self.datasets:
            raise ValueError("`config` belongs to `dataset`; under `datasets` each name has its own")
        return self


class ReasoningGym(Task):
    """Datasets of the reasoning-gym library, by name, scored by their own scorers."""

    type = "reasoning_gym"
    Parameters = ReasoningGymParameters

    def __init__(self, name: str, parameters: ReasoningGymParameters) -> None:
        """
        Raises:
            TaskError: the library is not installed, or a dataset or its configuration is not to be had.
        """
        super().__init__(name, parameters)
        where = f"tasks.{name}"
        try:
            from rlreason.tasks.gym import generators
        except ModuleNotFoundError as error:
            raise TaskError(f"{where}: the module {error.name!r} is not installed; pip install reasoning-gym") from None
        wanted: dict[str, tuple[Mapping[str, Any], str]] = {
            dataset: (config or {}, f"{where}.datasets.{dataset}") for dataset, config in parameters.datasets.items()
        }
        if parameters.dataset is not None:
            wanted[parameters.dataset] = (parameters.config, f"{where}.config")
        opened = generators.open_generators(wanted, curriculum=parameters.curriculum, where=where)
        self._generators = {generator.cell.name: generator for generator in opened}
        self._cells = tuple(sorted((generator.cell for generator in opened), key=lambda cell: cell.difficulty))
        self._unmade = generators.Unmade
        self._chance = cache(self._most_frequent)

    @property
    def levels(self) -> tuple[str, ...]:
        """Half of the questions to train on, a quarter each to validate and to evaluate."""
        return tuple(_QUARTERS)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One a dataset, or one a level of its curriculum; each of these builds on the one before."""
        return self._cells

    def _generator(self, cell: str) -> Generator:
        if cell not in self._generators:
            raise TaskError(one_of(f"cell of task {self.name!r}", cell, self._generators))
        return self._generators[cell]

    def problem(self, level: str, cell: str, index: int) -> Problem:
        """See `Task.problem`: the first of the problem's candidates whose question belongs to the level."""
        if level not in _QUARTERS:
            raise TaskError(one_of(f"level of task {self.name!r}", level, _QUARTERS))
        generator, failure = self._generator(cell), ""
        for candidate in _candidates(index):
            try:
                entry = generator.entry(candidate)
            except self._unmade as error:
                failure = f"; the library says: {error}"
                continue
            if _quarter(entry["question"]) in _QUARTERS[level] and self._can_be_answered(generator, entry):
                break
        else:
            raise TaskError(
                f"task {self.name!r}, cell {cell!r}: none of {_TRIES} draws gave a question for level {level!r}"
                f"{failure}; the dataset has too few different questions, give it a larger range in its configuration"
            )
        gold = _gold(entry)
        return Problem(
            id=f"{level}/{cell.replace('/', '-')}/{index}",
            task=self.name,
            cell=cell,
            level=level,
            prompt=self._prompt(entry),
            answer=gold,
            target=CONCLUSION + gold,
            detail={"candidate": candidate},
        )

    def _can_be_answered(self, generator: Generator, entry: Entry) -> bool:
        """Whether the entry's own answer is right, where it has one: some hold an integral that was not solved, or an
        example that does not follow."""
        gold = _gold(entry)
        return not gold or score(generator.dataset, generator.open_block(0), gold.strip(), gold, entry).reward >= 1.0

    def _prompt(self, entry: Entry) -> str:
        return "\n".join(part for part in (entry["question"], self.parameters.instruction) if part)

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """See `Task.check`. The last answer counts, after the sentence or between tags.

        Raises:
            TaskError: this process makes another problem of that number.
        """
        answer = read_answer(text)
        if answer is None or (not answer and problem.answer):
            return _verdict(None, 0.0)
        generator, candidate = self._generator(problem.cell), problem.detail["candidate"]
        entry = generator.entry(candidate)
        if self._prompt(entry) != problem.prompt:
            raise TaskError(
                f"problem {problem.id!r}: dataset {generator.dataset!r} makes another question of candidate "
                f"{candidate} in this process: the problem is of another version of reasoning-gym, or the dataset does "
                "not repeat itself"
            )
        scored = score(generator.dataset, generator.open_block(0), answer, problem.answer, entry)
        return _verdict(answer, scored.reward, refused=scored.refused, raised=scored.raised)

    def _sample(self, cell: str) -> list[Entry]:
        entries = []
        for candidate in range(_SAMPLED):
            try:
                entries.append(self._generators[cell].entry(candidate))
            except self._unmade:
                continue
        return entries

    def words(self) -> Sequence[str]:
        """Words and marks that many entries of a cell share; anything else, numbers too, is spelt."""
        found = dict.fromkeys(_WORD.findall(f"{CONCLUSION} {self.parameters.instruction} <answer> </answer>"))
        for cell in self._generators:
            entries = self._sample(cell)
            texts = (_WORD.findall(f"{entry['question']} {_gold(entry)}") for entry in entries)
            counts = Counter(word for words in texts for word in dict.fromkeys(words))
            found |= dict.fromkeys(word for word, count in counts.items() if count >= _COMMON * len(entries))
        return list(found)

    def chance(self, level: str, cell: str) -> float:
        """Share of the most frequent answer among a hundred entries; 0 where all answers differ."""
        self._generator(cell)
        return self._chance(cell)

    def _most_frequent(self, cell: str) -> float:
        answers = [_gold(entry) for entry in self._sample(cell)]
        most = max(Counter(answers).values(), default=0)
        return most / len(answers) if most > 1 else 0.0


def read_answer(text: str) -> str | None:
    """What follows the last "So, the answer is:" to the end, or the last <answer> to its end tag; None without."""
    found = list(_ANSWER.finditer(text))
    if not found:
        return None
    rest = text[found[-1].end() :]
    return (rest.partition("</answer>")[0] if found[-1].group() == "<answer>" else rest).strip()


def _candidates(index: int) -> Iterator[int]:
    for attempt in range(_TRIES):
        run, place = divmod(attempt, _NEAR)
        yield run * _FAR + index * _NEAR + place


def _quarter(question: str) -> int:
    return hashlib.sha256(question.encode()).digest()[0] % 4


def _gold(entry: Entry) -> str:
    """The right answer, or one of them; "" where the entry has none."""
    gold = entry["answer"]
    if gold is None:
        gold = next((entry["metadata"][key] for key in _EXAMPLES if key in entry["metadata"]), "")
    return gold if isinstance(gold, str) else json.dumps(gold)


def _verdict(answer: str | None, reward: float, *, refused: bool = False, raised: bool = False) -> DerivationCheck:
    return DerivationCheck(
        answer=answer,
        answer_correct=reward >= 1.0,
        derivation_correct=None,
        reward=reward,
        parts={"refused": float(refused), "raised": float(raised)},
    )
