"""What a recipe may say about a task of files, and what each layout means by default."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from rlreason.errors import one_of
from rlreason.tasks.files.answers import Grade

Layout = Literal["plain", "gsm8k", "math"]

_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "plain": {"question": "question", "answer": "answer"},
    "gsm8k": {"question": "question", "answer": "answer"},
    "math": {"question": "problem", "derivation": "solution", "cell": "level", "family": "type"},
}
_GRADE: Mapping[str, Grade] = {"plain": "exact", "gsm8k": "number", "math": "math"}
_STEPS: Mapping[str, str] = {"plain": "arithmetic", "gsm8k": "arithmetic", "math": "none"}


def _one_question(template: str) -> str:
    fields = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(template) if name is not None]
    if not fields or any(field != ("question", "", None) for field in fields):
        raise ValueError("a prompt holds {question} and no other braces; write {{ and }} for braces in its text")
    return template


class Columns(BaseModel):
    """What the file calls the columns that are read; null: there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    question: Annotated[str, Field(min_length=1)]
    answer: str | None = None
    """Null where the derivation ends in \\boxed{answer}."""
    derivation: str | None = None
    id: str | None = None
    """A name for each row, in the problem's id; without it, the row's number."""
    cell: str | None = None
    """Difficulty: each of its values is a cell. The first number in a value is the cell's difficulty; where no value
    has one, cells are numbered as they appear."""
    family: str | None = None
    """The first part of a cell's name, such as a subject; without it, the task's name."""

    @property
    def named(self) -> dict[str, str]:
        """What is read -> the file's name of it, without what there is not."""
        return {key: name for key, name in self.model_dump().items() if name is not None}


class FilesParameters(BaseModel):
    """Parameters of the `files` task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    levels: dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")],
        str | Annotated[tuple[str, ...], Field(min_length=1)],
    ] = Field(min_length=1)
    """Level -> its file, or a list of files: .jsonl, .csv, .parquet, or a folder that datasets' save_to_disk wrote (of
    a DatasetDict, the split of the level's name). Levels that begin with "train" are for training."""
    layout: Layout = "plain"
    """gsm8k: the answer column holds the derivation, then "#### answer". math: columns problem, solution (the answer
    boxed), level and type. plain: question and answer."""
    columns: Columns = Columns(question="question", answer="answer")
    """What the file calls the columns, where that differs from the layout's: question, answer, derivation, id, cell,
    family."""
    prompt: Annotated[str, AfterValidator(_one_question)] = "Question: {question}\nAnswer:"
    """What the policy reads."""
    grade: Grade = "exact"
    """How answers are compared: exact (text), number (value), math (math-verify). Left out: exact for plain, number for
    gsm8k, math for math."""
    steps: Literal["arithmetic", "none"] = "arithmetic"
    """arithmetic: equations in a derivation are checked, in problems whose gold derivation has any; none: only answers
    are. Left out: none for math, whose derivations are more than arithmetic, arithmetic for the others."""
    overlap: Literal["refuse", "allow"] = "refuse"
    """refuse: an error where a question for training is also at another level, or shares `overlap_words` words in a row
    with one there."""
    overlap_words: Annotated[int, Field(ge=0)] = 13
    """0: only whole questions are compared."""

    @model_validator(mode="before")
    @classmethod
    def _as_the_layout_says(cls, given: Any) -> Any:
        """What is left out follows from the layout; written out, so that the parameters say all of it."""
        if not isinstance(given, Mapping):
            return given
        layout, columns = given.get("layout", "plain"), given.get("columns")
        if layout not in _COLUMNS:  # the field says so
            layout = "plain"
        filled = {"grade": _GRADE[layout], "steps": _STEPS[layout], **given}
        if columns is None or isinstance(columns, Mapping):
            filled["columns"] = {**_COLUMNS[layout], **(columns or {})}
            for key in filled["columns"]:
                if key not in Columns.model_fields:
                    raise ValueError(one_of("column", key, Columns.model_fields, "columns"))
        return filled

    @model_validator(mode="after")
    def _answers_are_somewhere(self) -> FilesParameters:
        if self.layout == "gsm8k" and self.columns.answer is None:
            raise ValueError("layout gsm8k reads derivation and answer from columns.answer; name that column")
        if self.columns.answer is None and (self.layout != "math" or self.columns.derivation is None):
            raise ValueError("there are no answers: name columns.answer (or columns.derivation, with layout math)")
        return self
