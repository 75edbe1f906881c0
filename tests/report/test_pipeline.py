"""The part of the report on asynchronous stages."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from rlreason.records import RunFolder
from rlreason.records.tables import write_part
from rlreason.report.pipeline import busy_shares
from rlreason.report.render import make_report, render
from tests.report.synthetic import finished_run, write_updates

WORK = [
    ("generators", "generate", 0.0, 4.0),
    ("rewards", "score", 4.0, 5.0),
    ("generators", "generate", 5.0, 9.0),
    ("learners", "learn", 5.0, 7.0),
    ("learners", "sync", 6.5, 7.5),
    ("rewards", "score", 9.0, 10.0),
]


def asynchronous_run(path: Path) -> RunFolder:
    folder = finished_run(path)
    columns = dict(zip(("actor", "phase", "start", "end"), map(list, zip(*WORK, strict=True)), strict=True))
    write_part(folder, "timeline", "rl-0", 1, {"stage": ["rl-0"] * 6, "update": [1, 1, 2, 1, 1, 2], **columns})
    metrics = {"staleness_mean": [0.0, 1.0], "staleness_max": [0.0, 2.0]}
    write_updates(folder, "rl-0", metrics | {"dropped_stale": [0.0, 8.0], "reweighted_stale": [0.0, 0.0]})
    return folder


def test_shares_count_what_overlaps_once():
    frame = pd.DataFrame(WORK, columns=["actor", "phase", "start", "end"])
    # ten seconds in all: two draws of 4 s, two scorings of 1 s, and 5.0 to 7.5 with sync beginning before learn ends
    assert busy_shares(frame) == pytest.approx({"generators": 0.8, "rewards": 0.2, "learners": 0.25})
    inside = pd.DataFrame([("learners", "learn", 0.0, 10.0), ("learners", "sync", 2.0, 3.0)], columns=frame.columns[:4])
    assert busy_shares(inside)["learners"] == pytest.approx(1.0)


def test_an_asynchronous_stage_is_told_in_every_form(tmp_path):
    folder = asynchronous_run(tmp_path)
    page = render(make_report(folder))
    told = json.loads((folder.report / "report.json").read_text())["pipelines"]["rl-0"]
    assert told["busy"] == pytest.approx({"generators": 0.8, "rewards": 0.2, "learners": 0.25})
    assert (told["staleness_mean"], told["staleness_max"], told["dropped"]) == (0.5, 2.0, 8.0)
    markdown = (folder.report / "report.md").read_text()
    assert "## Pipeline" in markdown and "80%" in markdown
    assert '<section id="pipeline">' in page.read_text()


def test_stages_that_take_turns_have_no_such_part(plain_page):
    assert "pipelines" not in json.loads(plain_page.with_suffix(".json").read_text())
    assert '<section id="pipeline">' not in plain_page.read_text()
    assert "## Pipeline" not in plain_page.with_suffix(".md").read_text()
