"""scripts/steps_written.py: steps written beside steps needed."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from rlreason.records import RunFolder
from tests.report.synthetic import write_plan
from tests.report.wrong_run import Told, write_told
from tests.script_modules import load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("steps_written")


@pytest.fixture
def run(tmp_path) -> Path:
    folder = RunFolder(tmp_path)
    write_plan(folder)
    answered = {
        "iid": [
            Told("iid/a", True, "rr"),
            Told("iid/b", False, "rw", "premise", 1),
            Told("iid/c", False, "r", "stop", 1),
            Told("iid/d", True, "r"),
            Told("iid/e", None, "rr"),  # not judged: not counted
        ],
        "contextual": [Told("contextual/a", False, "rrrrr", "stop", 4), Told("contextual/b", False, "rr", "stop", 2)],
    }
    needed = {"iid/a": 2, "iid/b": 2, "iid/c": 2, "iid/d": 1, "iid/e": 2, "contextual/a": 4, "contextual/b": 4}
    details = {problem: {"gold_steps": steps} for problem, steps in needed.items()}
    write_told(folder, "evaluate-sft-0", answered, details, probes=("contextual",))
    return tmp_path


def test_derivations_are_counted_by_level_and_by_the_steps_they_need(script, run, capsys):
    assert script.main([str(run), "--arms", "sft", "--json"]) == 0
    rows = [tuple(row.values()) for row in json.loads(capsys.readouterr().out)]
    # arm, level, needed, derivations, fewer, as many, more, median, every step right
    assert rows == [
        ("sft", "iid", 1, 1, 0, 1, 0, 1.0, 1),
        ("sft", "iid", 2, 3, 1, 2, 0, 2.0, 1),
        ("sft", "contextual", 4, 2, 1, 0, 1, 3.5, 0),
    ]
    assert script.main([str(run)]) == 0
    assert "| sft | iid | 2 | 3 | 33% | 67% | 0% | 2 | 33% |" in capsys.readouterr().out


def test_grouped_derivations_need_no_more_than_the_first_level_or_more(script, run, capsys):
    assert script.main([str(run), "--grouped", "--arms", "sft", "--json"]) == 0
    rows = [tuple(row.values())[1:4] for row in json.loads(capsys.readouterr().out)]
    assert rows == [("iid", "1 to 2", 4), ("contextual", "4", 2)]


def test_an_arm_that_the_run_lacks_is_named(script, run, capsys):
    assert script.main([str(run), "--arms", "other"]) == 2
    assert "other not in" in capsys.readouterr().err


def test_derivations_without_a_gold_one_are_refused(script, tmp_path, capsys):
    folder = RunFolder(tmp_path)
    write_plan(folder)
    write_told(folder, "evaluate-sft-0", {"iid": [Told("iid/a", True, "r")]})
    assert script.main([str(tmp_path), "--arms", "sft"]) == 2
    assert "no checked derivations" in capsys.readouterr().err


def test_an_evaluation_that_cannot_be_read_is_named_and_not_left_out(script, run, capsys):
    RunFolder(run).mark_done("evaluate-rl-0", {"seconds": 1.0, "completed": "2025-01-01T00:00:20+00:00"})
    assert script.main([str(run)]) == 2
    said = capsys.readouterr()
    assert "evaluations, stage evaluate-rl-0: it has finished and has no records" in said.err and said.out == ""
