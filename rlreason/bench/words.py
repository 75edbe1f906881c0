"""A task without meaning: prompts of random words, of exactly as many tokens as wanted, and a reward that costs little.

Serves the benchmark alone and is no task of a recipe: nothing can be learned from it but to prefer some letters.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import islice, product
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rlreason.rewards.contract import reward
from rlreason.tasks.contract import Cell, Task
from rlreason.types import DerivationCheck, Problem

CONSONANTS, VOWELS = "bcdfghjklmnpqrstvwxz", "aeiou"
MOST_WORDS = (len(CONSONANTS) * len(VOWELS)) ** 2
BUILDER = "rlreason.bench.words:build_words"
REWARD = "rlreason.bench.words:early_letters"


class WordsParameters(BaseModel):
    """Parameters of the benchmark's task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prompt_words: int = Field(ge=1)
    """Words of a prompt; each is one token of a tokenizer made over `Words.words`."""
    vocabulary: int = Field(default=383, ge=1, le=MOST_WORDS)
    """Distinct words; with and without a leading space, and with 256 bytes and two marks, 383 make 1,024 tokens."""


class Words(Task):
    """Random words, of which there is nothing to answer."""

    type = "words"
    Parameters = WordsParameters

    @property
    def levels(self) -> tuple[str, ...]:
        """One."""
        return ("train",)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One."""
        return (Cell("words/1", "words", 1),)

    def problem(self, level: str, cell: str, index: int) -> Problem:
        """See `Task.problem`."""
        prompt = " ".join(random.Random(index).choices(self.words(), k=self.parameters.prompt_words))
        return Problem(id=f"words/{index}", task=self.name, cell=cell, level=level, prompt=prompt, answer="", target="")

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        """No answer is right."""
        return DerivationCheck(answer=None, answer_correct=False, derivation_correct=False)

    def words(self) -> Sequence[str]:
        """Words of two syllables, always in the same order."""
        syllables = ["".join(pair) for pair in product(CONSONANTS, VOWELS)]
        return ["".join(pair) for pair in islice(product(syllables, syllables), self.parameters.vocabulary)]

    def chance(self, level: str, cell: str) -> float:
        """There is nothing to guess."""
        return 0.0


def build_words(name: str, type: str, parameters: Mapping[str, Any]) -> Words:
    """The task, as scoring workers make it."""
    return Words(name, WordsParameters.model_validate(dict(parameters)))


def share_of_early_letters(text: str) -> float:
    """Share of the characters that are letters before n, in [0, 1]; 0 for an empty text."""
    return sum("a" <= character < "n" for character in text) / max(len(text), 1)


@reward
def early_letters(problem: Problem, completion: str, derivation: DerivationCheck) -> float:
    """`share_of_early_letters` as a reward plug-in."""
    return share_of_early_letters(completion)
