"""What a recipe may say about a complementary task, and what is refused before anything is built.

The sentence under a field is what the command line prints for it. Refusals that depend on which paths there are come
from the task itself.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, model_validator

from rlreason.tasks.complementary.names import FIRST
from rlreason.tasks.complementary.relations import PERSON_UNITS, VALUES, Group
from rlreason.tasks.complementary.text import QUESTIONS, SENTENCES

MAX_HOPS = 8

Share = Annotated[float, Field(ge=0, lt=1)]
Hops = Annotated[int, Field(ge=1, le=MAX_HOPS)]


def _most(group: Group) -> int:
    return sum(map(len, PERSON_UNITS[group]))


class ComplementaryParameters(BaseModel):
    """Parameters of a complementary reasoning task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    people: Annotated[int, Field(ge=4)] = 32
    """People known parametrically: they have biographies."""
    new_people: NonNegativeInt = 0
    """People who occur in contexts only, beside the known ones."""
    world_seed: NonNegativeInt = 0
    """Decides names, facts, splits and problems; a recipe's training seeds do not."""
    parametric_relations: Annotated[int, Field(ge=1, le=_most("parametric"))] = 5
    """Person-to-person relations told in biographies. Pairs of inverses are taken whole."""
    contextual_relations: Annotated[int, Field(ge=1, le=_most("contextual"))] = 5
    """Person-to-person relations told in contexts. Pairs of inverses are taken whole."""
    parametric_values: Annotated[int, Field(ge=0, le=len(VALUES["parametric"]))] = 0
    """Relations to a value (city, occupation ...) told in biographies; they only end paths."""
    contextual_values: Annotated[int, Field(ge=0, le=len(VALUES["contextual"]))] = 0
    """Relations to a value (drink, award ...) told in contexts; they only end paths."""
    hops: Annotated[dict[Hops, PositiveFloat], Field(min_length=1)] = {1: 1.0, 2: 1.0, 3: 1.0}
    """Number of hops -> its weight among the cells of a family."""
    contexts: Literal["relation_unique", "strict"] = "relation_unique"
    """relation_unique: single facts, each relation at most once in a prompt, on paths that repeat no relation. strict:
    a paragraph a person with all their contextual facts, so that look-up needs person and relation."""
    distractors: NonNegativeInt = 2
    """What a context tells beside what matters: facts (relation_unique) or people (strict)."""
    parametric_distractors: NonNegativeInt = 0
    """What every second parametric question is told although nothing of it matters: facts (relation_unique) or people
    (strict). Without any, a policy can learn that a prompt with a context is to be answered from it alone, which no
    composite question is."""
    context_facts: Literal["fresh", "world"] = "fresh"
    """fresh: drawn anew for every problem, so they cannot be memorised. world: the same in every problem."""
    held_out_relations: NonNegativeInt = 1
    """Person-to-person relations a group that composite training never asks for, for zero_shot. A pair of inverses is
    held out whole; where only pairs fit, one relation more than this."""
    held_out_from: Literal["composites", "all_questions"] = "composites"
    """all_questions: atomic training questions do not ask for them either; biographies and contexts still tell them."""
    held_out_paths: Share = 0.2
    """Share of a cell's paths (of two hops and more) kept from training, for composition."""
    held_out_starts: Share = 0.1
    """Share of the (path, start) pairs of trained paths kept from training, for iid."""
    validation_starts: Share = 0.05
    """The same, for validation."""
    question_templates: Annotated[int, Field(ge=1, le=len(QUESTIONS))] = 1
    """Forms of a question in use, the plainest first."""
    wording: Literal["sentences", "triples"] = "sentences"
    """How facts are told. sentences: "The mentor of Hassan is Marvin."; triples: "Hassan mentor Marvin.", which a tiny
    model made from scratch learns to look up with far less training (recipe tiny-base)."""
    sentence_templates: Annotated[int, Field(ge=1, le=len(SENTENCES))] = 1
    """Forms of a fact in use in biographies and contexts, the plainest first. Derivations always use the plainest."""
    name_words: Literal[1, 2] | None = None
    """Words a name. None: one while the list of names lasts, else two."""

    @model_validator(mode="after")
    def _some_starts_left(self) -> ComplementaryParameters:
        if self.held_out_starts + self.validation_starts >= 1:
            raise ValueError(
                f"held_out_starts {self.held_out_starts} + validation_starts {self.validation_starts} leave no "
                "(path, start) pairs for training; their sum must be below 1"
            )
        return self

    @model_validator(mode="after")
    def _triples_are_plain(self) -> ComplementaryParameters:
        if self.wording == "triples" and (self.sentence_templates > 1 or self.name_words == 2):
            raise ValueError(
                f"wording 'triples' has one form and names of one word, but sentence_templates is "
                f"{self.sentence_templates} and name_words is {self.name_words}; leave both out, or use wording "
                "'sentences'"
            )
        if self.wording == "triples" and self.people + self.new_people > len(FIRST):
            raise ValueError(
                f"people {self.people} and new_people {self.new_people} are more than the {len(FIRST)} names of one "
                "word that wording 'triples' needs; lower them, or use wording 'sentences'"
            )
        return self

    @model_validator(mode="after")
    def _enough_people(self) -> ComplementaryParameters:
        needed = max(self.hops) + 1
        if self.people < needed:
            raise ValueError(
                f"people {self.people} are too few for {max(self.hops)} hops, which visit {needed} people; raise "
                f"people to at least {needed} or lower hops"
            )
        everyone, told = self.people + self.new_people, max(self.hops) + self.distractors
        if self.contexts == "strict" and everyone < self.parametric_distractors:
            raise ValueError(
                f"parametric_distractors {self.parametric_distractors} are more people than the {everyone} there are; "
                "lower them or raise people"
            )
        if self.contexts == "strict" and everyone < told:
            raise ValueError(
                f"distractors {self.distractors} beside {max(self.hops)} contextual hops need {told} people, but "
                f"there are {everyone}; lower distractors or raise people"
            )
        return self

    @model_validator(mode="after")
    def _enough_distractor_facts(self) -> ComplementaryParameters:
        relations = self.contextual_relations + self.contextual_values
        if self.contexts == "relation_unique" and self.parametric_distractors > relations:
            raise ValueError(
                f"parametric_distractors {self.parametric_distractors} are more than the {relations} contextual "
                "relations, each told once; lower them, or raise contextual_relations or contextual_values"
            )
        needed = max(self.hops) + self.distractors
        if self.contexts == "relation_unique" and needed > relations:
            raise ValueError(
                f"distractors {self.distractors} beside {max(self.hops)} contextual hops need {needed} contextual "
                f"relations, each told once, but there are {relations}; lower distractors to at most "
                f"{max(0, relations - max(self.hops))}, raise contextual_relations or contextual_values, or lower hops"
            )
        return self
