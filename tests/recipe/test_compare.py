"""The lines that say what changed between two resolved recipes."""

from __future__ import annotations

from typing import Any

from rlreason.recipe.compare import diff


def test_equal_recipes_differ_in_nothing(load: Any) -> None:
    assert diff(load().resolved, load().resolved) == []


def test_an_override_is_the_one_difference(load: Any) -> None:
    assert diff(load().resolved, load("stages.rl.updates=9").resolved) == ["stages.rl.updates: 5 -> 9"]


def test_lists_of_sections_are_entered_and_lists_of_values_are_not(load: Any) -> None:
    other = load("stages.atomic.data[1].weight=0.5", "evaluation.levels=[iid, composition]").resolved
    assert diff(load().resolved, other) == [
        "stages.atomic.data[1].weight: 1.0 -> 0.5",
        "evaluation.levels: ['iid'] -> ['iid', 'composition']",
    ]


def test_what_only_one_side_has_is_absent_on_the_other() -> None:
    assert diff({"a": 1, "b": {"c": 2}}, {"b": {"d": [3]}}) == [
        "a: 1 -> (absent)",
        "b.c: 2 -> (absent)",
        "b.d: (absent) -> [3]",
    ]


def test_none_is_not_absence_and_types_count() -> None:
    assert diff({"a": None}, {}) == ["a: None -> (absent)"]
    assert diff({"a": 1}, {"a": 1.0}) == ["a: 1 -> 1.0"]
    assert diff({"a": {}}, {"a": {"b": 1}}) == ["a.b: (absent) -> 1"]
