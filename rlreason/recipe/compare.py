"""What differs between two resolved recipes, for the check before a run is resumed. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ABSENT = "(absent)"


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """ "key.path: old -> new" for every setting that differs, in the order of `old`, what only `new` has last.

    Args:
        old, new: `LoadedRecipe.resolved` of the two.
    """
    before, after = _leaves(old), _leaves(new)
    paths = dict.fromkeys([*before, *after])
    return [
        f"{path}: {_text(before, path)} -> {_text(after, path)}"
        for path in paths
        if _text(before, path) != _text(after, path)
    ]


def _text(leaves: Mapping[str, Any], path: str) -> str:
    return repr(leaves[path]) if path in leaves else _ABSENT


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Path -> value of everything that is not a mapping (an empty one is nothing); of lists, those of mappings are
    entered and others are values."""
    if isinstance(value, Mapping):
        entries = {f"{path}.{key}" if path else str(key): entry for key, entry in value.items()}
    elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
        entries = {f"{path}[{index}]": entry for index, entry in enumerate(value)}
    else:
        return {path: value}
    return {key: leaf for at, entry in entries.items() for key, leaf in _leaves(entry, at).items()}
