"""How `rlreason tasks` looks: the list of types, and one type with its parameters and cells.

What is shown comes from `rlreason.tasks.listing`; the forms of tables and JSON from `rlreason.display`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rlreason.display import print_note, print_table
from rlreason.tasks.listing import ShownCell, ShownType

_FAMILIES = 3
"""Families of cells that the list of types names; a type's own page has them all."""
_AS_IID = ("train", "validation")
"""Levels that a type's page leaves out, since a guesser gets the same there as at iid; JSON has them."""


def print_types(types: Iterable[ShownType]) -> None:
    """A line a type: what it is, its cells by family, its levels."""
    rows = [(shown.type, shown.description, _families(shown.cells), ", ".join(shown.levels)) for shown in types]
    print_table(("task", "what it is", "cells", "levels"), rows)


def print_type(shown: ShownType) -> None:
    """A type's parameters, then its cells with what a guesser gets at each level."""
    print_note(shown.description)
    properties = shown.parameters.get("properties", {})
    required = shown.parameters.get("required", ())
    rows = [
        (
            name,
            "required" if name in required else _value(said.get("default")),
            allowed(said, shown.parameters.get("$defs", {})),
            " ".join(said.get("description", "").split()),
        )
        for name, said in properties.items()
    ]
    print_table(("parameter", "default", "allowed", "meaning"), rows)
    if shown.without:
        print_note(f"\nIts cells depend on its parameters: {shown.without}")
        return
    levels = [level for level in shown.levels if level not in _AS_IID]
    print_note("\nCells, and the chance of guessing right at each level:")
    print_table(
        ("cell", "after", *levels, "answers"),
        [
            (cell.name, ", ".join(cell.prerequisites), *(_chance(cell, level) for level in levels), _answers(cell))
            for cell in shown.cells
        ],
    )


def print_rates(figures: Mapping[str, Any]) -> None:
    """The table of `rlreason bench tasks`: a line a family of cells, the slow ones named below."""
    rows = [
        (each["cell"], f"{each['problems_per_s']:,.0f}", f"{each['checks_per_s']:,.0f}") for each in figures["cells"]
    ]
    print_table(("cell", "problems/s", "checks/s"), rows)
    if figures["slow"]:
        print_note(f"\nbelow 1,000 a second: {', '.join(figures['slow'])}")
    for name, why in figures["not_measured"].items():
        print_note(f"\nnot measured: {name}: {why}")


def allowed(said: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words: "integer, 1 to 64", "list of text"."""
    if "$ref" in said:
        return allowed(definitions[said["$ref"].rpartition("/")[2]], definitions)
    if "enum" in said or "const" in said:
        return ", ".join(map(str, said.get("enum", [said.get("const")])))
    if "anyOf" in said or "oneOf" in said:
        return " or ".join(allowed(one, definitions) for one in said.get("anyOf", said.get("oneOf", ())))
    kind = said.get("type")
    if kind == "array":
        items = said.get("prefixItems", [said["items"]] if said.get("items") else [])
        each = list(dict.fromkeys(allowed(one, definitions) for one in items))
        return f"list of {' , '.join(each) or 'anything'}"
    if kind == "object":
        values = said.get("additionalProperties")
        return f"map to {allowed(values, definitions)}" if isinstance(values, Mapping) else "map"
    names = {"string": "text", "boolean": "true or false", "null": "none"}
    return ", ".join(part for part in (names.get(str(kind), str(kind or "anything")), _range(said)) if part)


def _range(said: Mapping[str, Any]) -> str:
    low, high = said.get("minimum", said.get("exclusiveMinimum")), said.get("maximum", said.get("exclusiveMaximum"))
    least = "" if low is None else f"{'above' if 'exclusiveMinimum' in said else 'at least'} {low}"
    most = "" if high is None else f"{'below' if 'exclusiveMaximum' in said else 'at most'} {high}"
    if least.startswith("at") and most.startswith("at"):
        return f"{low} to {high}"
    return ", ".join(part for part in (least, most) if part)


def _families(cells: Sequence[ShownCell]) -> str:
    """The first families, such as "atomic/1, composite/1 to 3", and how many more there are."""
    families = [list(group) for _, group in groupby(cells, key=lambda cell: cell.family)]
    named = [
        group[0].name + (f" to {group[-1].name.rpartition('/')[2]}" if len(group) > 1 else "")
        for group in families[:_FAMILIES]
    ]
    more = len(families) - len(named)
    return ", ".join([*named, *([f"and {more} more"] if more else [])]) or "depend on its parameters"


def _value(default: object) -> str:
    if isinstance(default, list):
        return ", ".join(map(str, default)) or "none"
    if isinstance(default, Mapping):
        return ", ".join(f"{key}: {value}" for key, value in default.items()) or "none"
    return "none" if default is None else str(default)


def _chance(cell: ShownCell, level: str) -> str:
    return f"{100 * cell.levels[level].chance:.2g}%" if level in cell.levels else ""


def _answers(cell: ShownCell) -> str:
    """Of the first level that says."""
    spaces = [odds.answer_space for odds in cell.levels.values() if odds.answer_space is not None]
    return f"{spaces[0]:,.3g}" if spaces else ""
