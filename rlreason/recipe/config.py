"""The base of every section of a recipe but `tasks`, whose parameters are the task's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Config(BaseModel):
    """Base of a section: frozen, unknown keys refused, field docstrings kept as descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


def type_where_unsaid(type: str) -> BeforeValidator:
    """For a union on `type`: a section that leaves it out is of this one."""

    def fill(section: Any) -> Any:
        return {"type": type, **section} if isinstance(section, Mapping) else section

    return BeforeValidator(fill)
