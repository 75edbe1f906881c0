"""What is wrong with a recipe, in sentences: pydantic's findings with key, value, allowed values and the nearest one.

Follows each finding through the models to name the key as the user wrote it (pydantic's location also holds the tags
of unions) and to know which keys and values its section allows. Raises nothing; `recipe.loading` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rlreason.errors import one_of

_WANTS_MAPPING = {"model_type", "model_attributes_type", "dict_type", "dataclass_type", "mapping_type"}
_WANTS_LIST = {"tuple_type", "list_type"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where (`stages.rl.data[0].cells`; "" for the whole file) and the sentence about it."""

    path: str
    sentence: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a location ends: its path, its last key, the section that holds that key, and the type allowed there."""

    path: str
    key: str
    section: type[BaseModel] | None
    allowed: Any


def explain(error: ValidationError, model: type[BaseModel], more_keys: Sequence[str] = ()) -> list[Finding]:
    """One finding a problem, in the order of the models' fields.

    Args:
        error: what `model.model_validate` raised.
        model: that model.
        more_keys: keys allowed at the top beside the model's own, such as `extends`.
    """
    return [_finding(details, _follow(model, details["loc"]), model, more_keys) for details in error.errors()]


def _finding(details: ErrorDetails, place: _Place, model: type[BaseModel], more_keys: Sequence[str]) -> Finding:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    path = place.path
    if kind == "extra_forbidden" and place.section is not None:
        extra = more_keys if place.section is model else ()
        sentence = one_of("key", place.key, [*place.section.model_fields, *extra])
    elif kind == "missing" and place.section is not None:
        field = place.section.model_fields.get(place.key)
        told = f" ({field.description})" if field is not None and field.description else ""
        sentence = f"is required{told}; add it"
    elif kind == "union_tag_invalid":
        path = f"{path}.type"
        sentence = one_of("type", context["tag"], _tagged(place.allowed))
    elif kind == "union_tag_not_found":
        sentence = f"needs a `type`: one of {', '.join(_tagged(place.allowed))}"
    elif kind == "literal_error":
        sentence = one_of(place.key, value, _literals(place.allowed))
    elif kind == "value_error":
        sentence = str(context["error"])
    elif kind == "string_pattern_mismatch":
        sentence = (
            f"{value!r} is not a name; a name holds letters, digits, `_`, `-`, `.` and starts with a letter or digit"
        )
    elif kind in _WANTS_MAPPING:
        sentence = f"should be a mapping (`key: value`); got {_short(value)}"
    elif kind in _WANTS_LIST:
        sentence = f"should be a list (`[a, b]`); got {_short(value)}"
    else:
        told = re.sub(r"^(Input|Tuple|Dictionary|String|List|Value) ", "", details["msg"])
        sentence = f"{told}; got {_short(value)}"
    return Finding(path, sentence)


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _follow(model: type[BaseModel], location: Sequence[int | str]) -> _Place:
    """Walk a location through the types; the tag of a union is a step of the location but not of the path."""
    path, key = "", ""
    section: type[BaseModel] | None = None
    allowed: Any = model
    for part in location:
        members = _tagged(allowed)
        if part in members:
            allowed = members[str(part)]
            continue
        if part == "[key]":  # pydantic's mark for "the key itself is wrong"
            continue
        holder = _bare(allowed)
        key, section = str(part), None
        if isinstance(holder, type) and issubclass(holder, BaseModel):
            section = holder
            field = holder.model_fields.get(key)
            allowed = field.annotation if field is not None else None
            path = f"{path}.{key}" if path else key
        elif get_origin(holder) is dict:
            allowed = get_args(holder)[1]
            path = f"{path}.{key}" if path else key
        else:
            allowed = next(iter(get_args(holder)), None)
            path = f"{path}[{key}]"
    return _Place(path, key, section, allowed)


def _bare(annotation: Any) -> Any:
    """The type without `Annotated[...]` and without `| None`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return _bare(members[0])
    return annotation


def _tagged(annotation: Any) -> Mapping[str, type[BaseModel]]:
    """`type` -> model of a union of models; empty for anything else."""
    union = _bare(annotation)
    if get_origin(union) not in (Union, UnionType):
        return {}
    return {
        tag: member
        for member in map(_bare, get_args(union))
        if isinstance(member, type) and issubclass(member, BaseModel) and "type" in member.model_fields
        for tag in _literals(member.model_fields["type"].annotation)
    }


def _literals(annotation: Any) -> tuple[Any, ...]:
    bare = _bare(annotation)
    return get_args(bare) if get_origin(bare) is Literal else ()
