"""What a recipe may say about a TAIL task, and what is refused before anything is built."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, field_validator, model_validator

from rlreason.errors import one_of
from rlreason.tasks.tail.algorithms import ALGORITHMS
from rlreason.tasks.tail.notation import MARKS, Form
from rlreason.tasks.tail.states import Algorithm, Size
from rlreason.tasks.tail.text import FRAMES, MODULES, Module

Share = Annotated[float, Field(ge=0, lt=1)]
ASKS = 5
"""Forms of a question that every algorithm has."""
WORDINGS = ASKS * len(FRAMES)


class TailParameters(BaseModel):
    """Parameters of a TAIL task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    algorithm: Annotated[tuple[str, ...], Field(min_length=1)] = ("addition",)
    """One algorithm, or a list of them; each has three cells, "addition/s", "addition/m" and "addition/l"."""
    modules: tuple[Module, ...] = MODULES
    """Modules of a derivation: linear_expansion (a line for every state, not only for outer loops), atomic_state (a
    line tells its one operation and the control), tape_review (operands are written out again where they are used).
    Leave one out to ablate it; an empty list writes no states, only the answer."""
    form: Form = "plain"
    """How questions are written. index_hint: a mark before every place of a sequence or number, and states name places
    by it; reversed_digits: numbers from the ones up, for algorithms about digits and without modules. With
    `modules: []` both are baselines."""
    marks: Annotated[int, Field(lt=len(MARKS))] | None = None
    """index_hint: a problem's first mark is any of the first so many that leaves room for n of them, so that short
    problems train the marks that longer ones have (a sum may have one more). None: always the first mark."""
    sizes: dict[Size, tuple[int, int]] = Field(default_factory=dict)
    """Smallest and largest n of s, m and l where they shall differ from the table's."""
    question_wordings: Annotated[int, Field(ge=1, le=WORDINGS)] = 1
    """Forms of a question in use, the plainest first."""
    validation_share: Share = 0.05
    """Share of the inputs kept from training, for validation."""
    iid_share: Share = 0.1
    """The same, for iid."""
    longer_share: Share = 0.1
    """The same, for medium and long."""
    world_seed: NonNegativeInt = 0
    """Decides problems and splits; a recipe's training seeds do not."""

    @field_validator("algorithm", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("algorithm")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(value):
            if name not in ALGORITHMS:
                raise ValueError(one_of("algorithm", name, ALGORITHMS))
            if name in value[:index]:
                raise ValueError(f"{name!r} is listed twice; list each once")
        return value

    @field_validator("modules", mode="before")
    @classmethod
    def _modules_known(cls, value: Any) -> Any:
        for name in value if isinstance(value, list | tuple) else ():
            if name not in MODULES:
                raise ValueError(one_of("module", name, MODULES))
        return value

    @model_validator(mode="after")
    def _form_fits(self) -> TailParameters:
        for name in self.algorithm:
            if self.form not in ALGORITHMS[name].forms:
                able = ", ".join(other for other, item in ALGORITHMS.items() if self.form in item.forms)
                raise ValueError(
                    f"form {self.form!r} does not fit algorithm {name!r}; it is for {able}; use form plain, or make "
                    "two tasks"
                )
        if self.form == "reversed_digits" and self.modules:
            raise ValueError(
                f"form 'reversed_digits' is a baseline without states, and modules is {list(self.modules)}; set "
                "modules: []"
            )
        return self

    @model_validator(mode="after")
    def _sizes_fit(self) -> TailParameters:
        for name in self.algorithm:
            algorithm = ALGORITHMS[name]
            ranges = sizes_of(algorithm, self.sizes)
            least, most = algorithm.limits
            before = least - 1
            for size, (low, high) in ranges.items():
                if not before < low <= high <= most:
                    raise ValueError(
                        f"size {size} of {name!r} is {low} to {high}; it must lie within {least} and {most} and "
                        f"above {before}, so that a longer size is longer throughout; give sizes of all of s, m and l "
                        "where the table's do not fit together"
                    )
                before = high
        return self

    @model_validator(mode="after")
    def _marks_fit(self) -> TailParameters:
        if self.marks is None:
            return self
        if self.form != "index_hint":
            raise ValueError(f"marks {self.marks} is for form index_hint, and form is {self.form!r}; leave it out")
        for name in self.algorithm:
            _, most = sizes_of(ALGORITHMS[name], self.sizes)["l"]
            if self.marks < most:
                raise ValueError(
                    f"marks {self.marks} are too few for size l of {name!r}, which is up to {most}; raise it to that, "
                    "or shorten sizes"
                )
        return self

    @model_validator(mode="after")
    def _some_inputs_left(self) -> TailParameters:
        if self.validation_share + self.iid_share + self.longer_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share} + iid_share {self.iid_share} + longer_share "
                f"{self.longer_share} leave no inputs for training; their sum must be below 1"
            )
        return self


def sizes_of(algorithm: Algorithm, sizes: dict[Size, tuple[int, int]]) -> dict[Size, tuple[int, int]]:
    """The ranges of n in use, s first."""
    return {**algorithm.sizes, **sizes}
