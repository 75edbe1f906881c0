"""scripts/results_tables.py: the tables of docs/results.md are the report's own, and are put where they belong."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from tests.report.synthetic import finished_run
from tests.script_modules import load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("results_tables")


def test_a_run_is_told_with_its_command_code_machine_and_figures(script, tmp_path, capsys):
    assert script.main([str(finished_run(tmp_path / "tiny").path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "## tiny\n\n`rlreason run tiny`: commit 0123abc; seeds 0; cores 2; 1 min 40 s, its stages 1 min 36 s.\n"
    )
    # 5 of 10 problems against 10 of 10, in tests/report/synthetic.py; 4 of 4 of the probe
    assert "| sft (SFT only) | 50.0% (23.7 to 76.3) | 10.0% (1.8 to 40.4) |" in said
    assert "**Probes**\n\n| arm | contextual |" in said and "100.0% (51.0 to 100.0)" in said
    assert "**Differences, in points: zero_shot**" in said and "| sft_rl vs sft (its base) | " in said
    assert "| **+80.0** (" in said


def test_tables_take_the_place_of_those_before_and_leave_the_rest_of_the_page(script, tmp_path, capsys):
    run, page = finished_run(tmp_path / "tiny").path, tmp_path / "results.md"
    page.write_text("before\n<!-- other -->\nkept\n<!-- /other -->\n<!-- tiny -->\nold\n<!-- /tiny -->\nafter\n")
    for _ in range(2):  # the second time over the tables of the first
        assert script.main([str(run), "--into", str(page)]) == 0
        before, _, rest = page.read_text().partition("<!-- tiny -->\n")
        tables, _, after = rest.partition("<!-- /tiny -->")
        assert (before, after) == ("before\n<!-- other -->\nkept\n<!-- /other -->\n", "\nafter\n")
        assert tables.startswith("`rlreason run tiny`") and "old" not in tables and tables.count("points: iid**") == 1
    assert capsys.readouterr().out == ""


def test_the_report_and_the_pictures_that_a_page_shows_stand_beside_it(script, tmp_path):
    run, page = finished_run(tmp_path / "tiny").path, tmp_path / "results.md"
    page.write_text("<!-- tiny -->\n<!-- /tiny -->\n")
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    (tmp_path / "results" / "tiny" / "before.svg").write_text("of a run before")
    assert script.main([str(run), "--into", str(page)]) == 0
    beside = tmp_path / "results" / "tiny"
    assert {path.name for path in beside.iterdir()} == {"report.md", "levels.svg", "paired_zero_shot.svg"}
    shown = re.findall(r"\]\((\S+)\)", page.read_text())
    assert len(shown) == 3 and all((tmp_path / path).is_file() for path in shown)
    assert "# tiny" in (beside / "report.md").read_text() and "zero_shot" in (beside / "levels.svg").read_text()


def test_a_page_without_a_place_for_a_run_is_refused_and_left_alone(script, tmp_path, capsys):
    run, page = finished_run(tmp_path / "tiny").path, tmp_path / "results.md"
    page.write_text("nothing\n")
    assert script.main([str(run), "--into", str(page)]) == 1
    assert "0 places from <!-- tiny --> to <!-- /tiny -->" in capsys.readouterr().err
    assert page.read_text() == "nothing\n"


def test_a_folder_that_is_no_run_is_refused_by_name(script, tmp_path, capsys):
    assert script.main([str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
