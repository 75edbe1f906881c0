"""scripts/first_errors.py: where the first wrong step stands, by what relation is asked there."""

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
    return load_script("first_errors")


def asking(**groups: str) -> dict:
    return {"path": list(groups), "groups": list(groups.values())}


@pytest.fixture
def run(tmp_path) -> Path:
    folder = RunFolder(tmp_path)
    write_plan(folder)
    known, told = {"boss": "parametric"}, {"friend": "contextual"}
    details = {
        "iid/a": asking(**known, **told), "iid/b": asking(**known, **told),
        "zero_shot/a": asking(**told, rival="parametric"), "zero_shot/b": asking(rival="parametric", **known),
    }  # fmt: skip
    answered = {
        "iid": [Told("iid/a", True, "rr"), Told("iid/b", False, "ww", "premise", 0)],
        "zero_shot": [
            Told("zero_shot/a", False, "rw", "premise", 1),
            Told("zero_shot/b", False, "rrw", "format", 2),  # after the last hop: at no relation
        ],
        "recall": [Told("recall/a", False, "w", "premise", 0)],
    }
    write_told(folder, "evaluate-sft-0", answered, details, probes=("recall",))
    return tmp_path


def test_first_errors_are_counted_at_the_relation_that_is_asked_there(script, run, capsys):
    assert script.main([str(run), "--arms", "sft", "--json"]) == 0
    rows = {(row["level"], row["kind"]): (row["asked"], row["wrong"]) for row in json.loads(capsys.readouterr().out)}
    # rival is asked at zero_shot alone; both of its problems ask for it, and one goes wrong there
    assert rows == {
        ("iid", "seen known"): (2, 1),
        ("iid", "seen told"): (2, 0),
        ("zero_shot", "new known"): (2, 1),
        ("zero_shot", "seen known"): (1, 0),
        ("zero_shot", "seen told"): (1, 0),
    }
    assert script.main([str(run), "--arms", "sft"]) == 0
    assert "| sft | zero_shot | new known | 2 | 1 (50%) |" in capsys.readouterr().out


def test_an_arm_that_the_run_lacks_is_named(script, run, capsys):
    assert script.main([str(run), "--arms", "sft,other"]) == 2
    assert "other not in" in capsys.readouterr().err


def test_another_task_is_refused(script, tmp_path, capsys):
    folder = RunFolder(tmp_path)
    write_plan(folder)
    write_told(folder, "evaluate-sft-0", {"iid": [Told("iid/a", True, "r")]})
    assert script.main([str(tmp_path), "--arms", "sft"]) == 2
    assert "has no path of relations" in capsys.readouterr().err
