"""Rates of the tasks: every type and family is measured, what is slow or cannot be is named."""

import json
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from rlreason.bench import tasks as bench
from rlreason.cli import app
from rlreason.tasks import Cell, build_task, registry
from rlreason.tasks.lookup import Lookup
from rlreason.tasks.tail.algorithms import ALGORITHMS


class Slow(Lookup):
    """Facts that take their time."""

    shown_as: ClassVar = ({"facts": [4]},)

    def problem(self, level, cell, index):
        sum(range(200_000))  # some milliseconds
        return super().problem(level, cell, index)


class Needy(Lookup):
    """Cannot be built from its defaults."""

    shown_as: ClassVar = ({"facts": [99]},)


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch):
    """The types that there are, under names of the test's choosing."""

    def only(**found):
        monkeypatch.setattr(bench, "task_types", lambda: found)
        monkeypatch.setattr(
            registry, "_specs", lambda: {name: f"{__name__}:{kind.__name__}" for name, kind in found.items()}
        )

    return only


def test_slow_types_and_those_that_cannot_be_built_are_named(types):
    types(slow=Slow, needy=Needy)
    figures = bench.bench_tasks(0.02)
    assert [(each["cell"], each["settings"]) for each in figures["cells"]] == [("lookup/4", {"facts": [4]})]
    assert figures["slow"] == ["lookup/4"]
    assert figures["cells"][0]["problems_per_s"] < 1000 < figures["cells"][0]["checks_per_s"]
    assert list(figures["not_measured"]) == ["needy"] and "facts" in figures["not_measured"]["needy"]


def test_the_easiest_cell_of_every_family_is_measured():
    assert bench.easiest(build_task("f", "functions", {"depths": [3, 2]})) == ["atomic/1", "composite/2"]
    tail = build_task("t", "tail", {"algorithm": list(ALGORITHMS)})
    assert bench.easiest(tail) == [f"{name}/s" for name in ALGORITHMS]
    assert all(isinstance(cell, Cell) for cell in tail.cells)


def test_a_stream_keeps_nothing():
    asked = ["bench", "tasks", "rules", "--set", "rule=modular", "--stream", "20000", "--json"]
    figures = json.loads(CliRunner().invoke(app, asked).stdout)
    assert figures["problems"] == 20_000 and figures["problems_per_s"] > 0
    assert figures["grew_mib"] < 20, "20,000 problems take some 30 MiB where they are kept"


def test_options_of_one_task_need_a_task():
    result = CliRunner().invoke(app, ["bench", "tasks", "--stream", "10"])
    assert "--stream is about one task; say which" in str(result.exception)
