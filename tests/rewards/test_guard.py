"""What the guard of a worker notices, and what it lets be."""

from __future__ import annotations

import builtins
from dataclasses import replace
from types import ModuleType

import pytest
from toy_task import toy_problem

from rlreason.rewards.guard import Guard

SOURCE = """
import math
answers, model = {}, None
def score(x): return helper(x)
def helper(x): return x
class Judge:
    model = None
    def mark(self): return 1
    @property
    def rate(self): return 2
    @staticmethod
    def fixed(): return 3
"""


@pytest.fixture
def plugin() -> ModuleType:
    module = ModuleType("plugin")
    exec(SOURCE, vars(module))
    return module


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("helper = score", "plugin.helper"),
        ("del helper", "plugin.helper"),
        ("Judge = type('Judge', (), {})", "plugin.Judge"),
        ("Judge.mark = lambda self: 9", "plugin.Judge.mark"),
        ("Judge.rate = property(lambda self: 9)", "plugin.Judge.rate"),
        ("Judge.fixed = staticmethod(score)", "plugin.Judge.fixed"),
        ("len = score", "plugin.len"),
    ],
)
def test_a_function_or_class_that_was_replaced_is_named(plugin, change, named):
    guard = Guard([plugin])
    assert guard.changed() == ""
    exec(change, vars(plugin))
    assert guard.changed() == named


@pytest.mark.parametrize(
    "change",
    ["model = Judge()", "answers['a'] = 1", "answers = {}", "Judge.model = score", "late = score", "Judge.len = score"],
)
def test_values_filled_in_late_are_let_be(plugin, change):
    guard = Guard([plugin])
    exec(change, vars(plugin))
    assert guard.changed() == ""


def test_a_builtin_is_noticed_even_if_it_is_one_that_the_guard_looks_with(plugin, monkeypatch):
    guard = Guard([plugin])
    for name in ("all", "map", "len", "open"):
        monkeypatch.setattr(builtins, name, lambda *_: True)
        assert guard.changed() == f"builtins.{name}"
        monkeypatch.undo()
    assert guard.changed() == ""


def test_a_changed_detail_is_noticed_until_other_problems_are_at_hand():
    guard = Guard([])
    problem = replace(toy_problem(0), detail={"tests": [1, [2.5, None]], "name": "x"})
    guard.hold([problem, problem, toy_problem(1)])
    assert guard.changed() == ""
    problem.detail["tests"][1].append(3)
    assert guard.changed() == "the detail of problem 'train/toy/1/0'"
    guard.hold([problem])
    assert guard.changed() == ""
