"""YAML text to plain values and back, read by the rules of YAML 1.2 and with duplicate keys refused.

PyYAML follows YAML 1.1, which reads `1e-3` as text, `on` and `no` as booleans, `010` as eight, `1:30` as ninety and
2026-01-01 as a date. Here numbers are what they look like, only true and false are booleans, and the rest is text.
What the values mean, `extends:` and overrides belong to `recipe.loading`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from rlreason.errors import RecipeError

_BOOL = r"^(?:true|True|TRUE|false|False|FALSE)$"
_NULL = r"^(?:~|null|Null|NULL|)$"
_INT = r"^[-+]?[0-9]+$|^0o[0-7]+$|^0x[0-9a-fA-F]+$"
_FLOAT = (
    r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$|^[-+]?[0-9]+[eE][-+]?[0-9]+$"
    r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
_SCALARS = (  # (tag, pattern, first characters of the texts it can match)
    ("bool", _BOOL, "tTfF"),
    ("null", _NULL, ["~", "n", "N", ""]),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("merge", r"^<<$", "<"),
)


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars that refuses a key given twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own way; filled below)

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:
        """A dict; every written key once, merged-in keys (`<<`) may be overridden."""
        assert isinstance(node, yaml.MappingNode)
        first: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str | int | float | bool | None):
                raise RecipeError(f"line {line}: a key must be a plain word or number, not {key!r}")
            if key in first:
                raise RecipeError(
                    f"line {line}: key {key!r} is given twice (first on line {first[key]}); keep one of the two"
                )
            first[key] = line
        return super().construct_mapping(node, deep=deep)

    def _construct_int(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node))
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes exactly the texts that `_Loader` would read as something else."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value out each time: `&id001` says nothing to a reader."""
        return True


for _tag, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader._construct_int)


def parse_yaml(text: str, where: str) -> Any:
    """The value of one YAML document.

    Args:
        text: the document.
        where: what errors call it: a file, or an override.
    Raises:
        RecipeError: it does not parse, or a key is given twice; names `where` and the line.
    """
    try:
        value = yaml.load(text, Loader=_Loader)  # a SafeLoader
        json.dumps(value)  # refuses what is not plain: `!!binary`, `!!set`, an alias inside its own anchor
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise RecipeError(f"{where}: {line}not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not valid YAML: {error}") from None
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise RecipeError(f"{where}: only texts, numbers, lists and mappings can stand here: {error}") from None
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        RecipeError: it cannot be read, does not parse, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read as a recipe: {error}") from None
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise RecipeError(f"{path} holds {found}; a recipe is a mapping: `name:`, `model:`, `tasks:` ... at the margin")
    return value


def to_yaml(value: Any) -> str:
    """YAML text that `parse_yaml` reads back as the same plain values, keys in their own order."""
    # allow_unicode would write U+0085 and U+2028 bare, and they read back as spaces
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=100)
