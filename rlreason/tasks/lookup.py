"""Looking facts up in a text: what a model must be able to do before composite questions make sense.

Facts are made up for every text and every problem, so nothing can be memorised. The plain texts tell some facts and
then tell them all again in other orders: each later sentence can only be finished by finding its person and its
relation where they were told first. The texts are for pretraining, the problems measure what came of it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rlreason.errors import TaskError, one_of
from rlreason.tasks.complementary.checker import Checker
from rlreason.tasks.complementary.relations import GROUPS, PERSON_UNITS, VALUES
from rlreason.tasks.complementary.text import TRIPLE_FORM, derivation, form_words, question, sentence
from rlreason.tasks.complementary.world import draw_names
from rlreason.tasks.contract import Cell, Task
from rlreason.types import DerivationCheck, Problem

LEVELS = ("train", "validation", "iid")
Fact = tuple[str, str, str]


class LookupParameters(BaseModel):
    """Parameters of the `lookup` task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    people: int = Field(default=200, ge=4)
    """Names that facts are made of; one word each while the list lasts."""
    facts: tuple[int, ...] = Field(default=(4, 8, 12), min_length=1)
    """Facts a text; each number is a cell, "lookup/8"."""
    people_per_text: int = Field(default=6, ge=2)
    """Most people that the facts of one text are about."""
    relations_per_text: int = Field(default=6, ge=1, le=16)
    """Most relations that a text tells."""
    times: int = Field(default=4, ge=2)
    """How often a plain text tells its facts, each time in another order."""
    wording: Literal["sentences", "triples"] = "sentences"
    """How facts are told: as in a complementary task."""
    world_seed: int = 0


class Lookup(Task):
    """Facts made up on the spot, one of them asked for."""

    type = "lookup"
    Parameters = LookupParameters

    def __init__(self, name: str, parameters: LookupParameters) -> None:
        """
        Raises:
            TaskError: more facts than the people and relations of one text can have.
        """
        super().__init__(name, parameters)
        if parameters.people_per_text > parameters.people:
            raise TaskError(
                f"tasks.{name}.people_per_text {parameters.people_per_text} is more than people {parameters.people}; "
                "lower it or raise people"
            )
        most = parameters.people_per_text * parameters.relations_per_text
        if max(parameters.facts) > most or min(parameters.facts) < 1:
            raise TaskError(
                f"tasks.{name}.facts {list(parameters.facts)} must lie within 1 and people_per_text x "
                f"relations_per_text = {most}; raise one of these or ask for fewer facts"
            )
        self._form = TRIPLE_FORM if parameters.wording == "triples" else 0
        words = 1 if parameters.wording == "triples" else None
        self._names = draw_names(parameters.people, words, parameters.world_seed, f"tasks.{name}.people")
        self._relations = tuple(relation for group in GROUPS for unit in PERSON_UNITS[group] for relation in unit)
        self._shapes = {
            count: [
                (people, relations)
                for people in range(1, parameters.people_per_text + 1)
                for relations in range(1, parameters.relations_per_text + 1)
                if people * relations >= count
            ]
            for count in parameters.facts
        }
        # every fact is told by the text, none by a biography
        self._checker = Checker(dict.fromkeys(self._relations, "contextual"), {})

    @property
    def levels(self) -> tuple[str, ...]:
        """Fresh facts at every level; only the draws differ."""
        return LEVELS

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One a number of facts."""
        return tuple(Cell(f"lookup/{count}", "lookup", count) for count in sorted(self.parameters.facts))

    def _facts(self, rng: random.Random, count: int) -> list[Fact]:
        """Some facts. In a text about one person the relation alone tells them apart, in one about one relation the
        person alone, in most it takes both: a model learns the two halves of a look-up before it learns the whole."""
        people, relations = rng.choice(self._shapes[count])
        heads = rng.sample(self._names, people)
        told = rng.sample(self._relations, relations)
        slots = [(head, relation) for head in heads for relation in told]
        return [
            (head, relation, rng.choice([name for name in self._names if name != head]))
            for head, relation in rng.sample(slots, count)
        ]

    def problem(self, level: str, cell: str, index: int) -> Problem:
        """See `Task.problem`."""
        if level not in LEVELS:
            raise TaskError(one_of(f"level of task {self.name!r}", level, LEVELS))
        counts = {cell.name: cell.difficulty for cell in self.cells}
        if cell not in counts:
            raise TaskError(one_of(f"cell of task {self.name!r}", cell, counts))
        rng = random.Random(f"{self.parameters.world_seed}/{level}/{cell}/{index}")
        facts = self._facts(rng, counts[cell])
        head, relation, tail = rng.choice(facts)
        detail: dict[str, Any] = {
            "path": [relation],
            "visited": [head, tail],
            "facts": [list(fact) for fact in facts],
        }
        return Problem(
            id=f"{level}/{cell.replace('/', '-')}/{index}",
            task=self.name,
            cell=cell,
            level=level,
            prompt=f"{self._told(facts)} {question([relation], head, True)}",
            answer=tail,
            target=derivation([(head, relation, tail)], tail, self._form),
            detail=detail,
        )

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """See `Task.check`."""
        return self._checker.check(problem, text)

    @property
    def has_texts(self) -> bool:
        """Facts, and the same facts again and again."""
        return True

    def text(self, index: int) -> str:
        """Facts in one order, then in others."""
        rng = random.Random(f"{self.parameters.world_seed}/text/{index}")
        facts = self._facts(rng, rng.choice(self.parameters.facts))
        told = [fact for _ in range(self.parameters.times) for fact in rng.sample(facts, len(facts))]
        return self._told(told)

    def _told(self, facts: Sequence[Fact]) -> str:
        return " ".join(sentence(*fact, form=self._form) for fact in facts)

    def words(self) -> Sequence[str]:
        """Also the value relations' words, so that a model made here can read every complementary task."""
        values = [word for group in GROUPS for relation, words in VALUES[group].items() for word in (relation, *words)]
        return list(dict.fromkeys([*form_words(), *self._relations, *values, *self._names]))

    def chance(self, level: str, cell: str) -> float:
        """A guess among the tails of the text, of which at most that many differ."""
        counts = {cell.name: cell.difficulty for cell in self.cells}
        if cell not in counts:
            raise TaskError(one_of(f"cell of task {self.name!r}", cell, counts))
        return 1.0 / counts[cell]

    def answer_space(self, level: str, cell: str) -> float:
        """See `Task.answer_space`: as many answers as `chance` guesses among."""
        return 1.0 / self.chance(level, cell)
