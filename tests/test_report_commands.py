"""`rlreason report`, `compare` and `index` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlreason.cli import app
from rlreason.errors import UserError
from rlreason.report.compare import RunsDiffer
from rlreason.report.schema import published_schema
from tests.report.synthetic import finished_run

RUNNER = CliRunner()


def said(*arguments: str | Path) -> str:
    """What a command prints; it must succeed."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None, result.exception
    return result.output


def refusal(*arguments: str | Path) -> BaseException | None:
    """What a command is refused with."""
    return RUNNER.invoke(app, [str(argument) for argument in arguments]).exception


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished_run(tmp_path / "one").path


def test_one_table_is_printed_and_nothing_written(run: Path):
    assert said("report", run, "--table", "levels").startswith("| arm | iid | zero_shot |")
    assert not (run / "report").exists()


def test_tables_and_figures_are_asked_for_by_their_formats(run: Path):
    text = said("report", run, "--tables", "csv, latex,csv")
    assert "report: " in text
    assert {path.suffix for path in (run / "report" / "tables").iterdir()} == {".csv", ".tex"}
    error = refusal("report", run, "--figures", "gif")
    assert isinstance(error, UserError)
    assert "format 'gif' is not one of svg, pdf, png" in str(error)
    assert isinstance(refusal("report", run, "--table", "levels", "--json"), UserError)


def test_runs_are_compared_or_refused(run: Path, tmp_path: Path):
    other = finished_run(tmp_path / "two").path
    page = tmp_path / "both.html"
    assert "two/sft vs one/sft" in said("compare", run, other, "--html", page)
    assert page.exists()
    assert json.loads(said("compare", run, other, "--json"))["against"] == "one/sft"
    plan = other / "plan.json"
    plan.write_text(plan.read_text().replace('"samples": 4', '"samples": 2'))
    error = refusal("compare", run, other)
    assert isinstance(error, RunsDiffer)
    assert "evaluation.samples is 4 in one and 2 in two" in str(error)


def test_the_index_lists_runs(run: Path, tmp_path: Path):
    assert "it has no report yet" in " ".join(said("index", tmp_path).split())
    assert [each["path"] for each in json.loads(said("index", tmp_path, "--json"))["runs"]] == ["one"]


def test_the_schema_of_reports_is_printed():
    assert json.loads(said("schema", "--report")) == published_schema()
