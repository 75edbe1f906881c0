"""The forms of a report beside its page: tables and figures as files, the schema, the first line, the sections."""

import json
import shlex
import xml.etree.ElementTree as ET
from dataclasses import replace

import jsonschema
import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml

from rlreason.errors import RecordsError, UserError
from rlreason.records import RunFolder, write_text
from rlreason.report import sections
from rlreason.report.exports import as_frame, export, find_table, latex_table, latex_text
from rlreason.report.figures import Chart, new_figure
from rlreason.report.render import Report, make_report, markdown_table, render
from rlreason.report.schema import make_schema, published_schema
from rlreason.report.static_figures import _figure
from rlreason.report.tables import NOTHING, Cell, Table
from tests.report.synthetic import finished_run, write_plan


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    return make_report(finished_run(tmp_path_factory.mktemp("run")))


def test_tables_for_programs_hold_unrounded_numbers_and_intervals(report):
    frame = as_frame(report.named_tables()["levels"])
    levels = [f"{level}{end}" for level in ("iid", "zero_shot") for end in ("", " low", " high")]
    assert list(frame) == ["arm", "arm detail", *levels]
    assert frame["arm"].tolist() == ["sft", "sft_rl", "guessing"]
    assert frame["iid"].tolist() == [0.5, 1.0, 0.125]
    assert frame["iid low"].tolist()[:2] == pytest.approx([0.2366, 0.7225], abs=1e-4)
    assert frame["iid low"].isna().tolist() == [False, False, True]


def test_what_says_nothing_is_empty_and_text_stays_text():
    rows = ((Cell("x"), NOTHING, Cell("1 → 2")), (Cell("y"), Cell("3", value=3), Cell("4", "d")))
    frame = as_frame(Table(("", "a", "a"), rows))
    assert list(frame) == ["name", "a", "a 2", "a 2 detail"]
    assert frame["a"].isna().tolist() == [True, False]
    assert frame["a 2"].tolist() == ["1 → 2", "4"]


def test_every_chart_can_be_drawn(report):
    for chart in report.charts:
        axes = _figure(chart).axes[0]
        assert axes.get_title() == chart.title
        assert axes.has_data()


def test_every_table_and_figure_comes_in_every_format(report):
    report = replace(report, charts=report.charts[:2])
    written = export(report, figures=["svg", "pdf", "png"], tables=["csv", "parquet", "latex", "markdown"])
    assert len(written) == 3 * len(report.charts) + 4 * len(report.named_tables())
    assert all(path.stat().st_size for path in written)
    tables = report.folder.report / "tables"
    csv, parquet = pd.read_csv(tables / "levels.csv"), pd.read_parquet(tables / "levels.parquet")
    csv["arm detail"] = csv["arm detail"].fillna("")
    pd.testing.assert_frame_equal(csv, parquet, check_dtype=False)
    for path in (report.folder.report / "figures").iterdir():
        start = path.read_bytes()[:8]
        if path.suffix == ".svg":
            assert ET.parse(path).getroot().tag.endswith("svg")
        else:
            assert start.startswith({".pdf": b"%PDF", ".png": b"\x89PNG"}[path.suffix])
    # the same again
    first = {path: path.read_bytes() for path in written if path.suffix in (".svg", ".csv", ".tex")}
    export(report, figures=["svg"], tables=["csv", "latex"])
    assert {path: path.read_bytes() for path in first} == first


def test_unknown_formats_and_tables_are_refused_before_anything_is_written(report):
    with pytest.raises(UserError, match=r"format 'jpg' is not one of svg, pdf, png.*--figures"):
        export(report, figures=["svg", "jpg"])
    with pytest.raises(UserError, match=r"format 'excel' is not one of csv, parquet, latex, markdown"):
        export(report, tables=["excel"])
    with pytest.raises(UserError, match=r"table 'level' is not one of .*did you mean 'levels'\?"):
        find_table(report, "level")


def test_latex_is_escaped_and_has_booktabs_rules():
    table = Table(("a_b", "100%"), ((Cell("x & y"), Cell("\N{MINUS SIGN}1 → {2}", "~", strong=True)),), "T#1")
    assert latex_table(table, "t").splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{T\#1}",
        r"\label{tab:t}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a\_b & 100\% \\",
        r"\midrule",
        r"x \& y & \textbf{$-$1 $\rightarrow$ \{2\}} {\footnotesize \textasciitilde{}} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    assert latex_text("\\input{/etc/passwd}\n%") == r"\textbackslash{}input\{/etc/passwd\} \%"


def test_bars_of_a_static_figure_have_the_heights_of_the_chart(report):
    chart = next(chart for chart in report.charts if chart.name == "levels")
    axes = _figure(chart).axes[0]
    assert sorted(bar.get_height() for bar in axes.patches) == pytest.approx([0.1, 0.5, 0.9, 1.0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["iid", "zero_shot"]
    # two arms, each beside the place of its level
    assert sorted(round(bar.get_x() + bar.get_width() / 2, 2) for bar in axes.patches) == [-0.2, 0.2, 0.8, 1.2]


def test_stacked_bars_areas_and_heat_maps_are_drawn():
    bars = new_figure(height=200)
    for name, length in (("one", 2.0), ("two", 3.0)):
        bars.add_bar(name=name, orientation="h", y=["a"], x=[length])
    bars.update_layout(barmode="stack")
    patches = _figure(Chart("s", "n", "t", "a", bars)).axes[0].patches
    assert [(bar.get_x(), bar.get_width()) for bar in patches] == [(0.0, 2.0), (2.0, 3.0)]
    heat = new_figure(height=200)
    scale = [[0, "#000000"], [1, "rgb(255,255,255)"]]
    heat.add_heatmap(z=[[0.0, None], [0.5, 1.0]], x=["a", "b"], y=["c", "d"], colorscale=scale, texttemplate="%{z:.0%}")
    assert [text.get_text() for text in _figure(Chart("s", "n", "t", "a", heat)).axes[0].texts] == ["0%", "50%", "100%"]
    heat.update_traces(text=[["x", ""], ["y", "z"]], texttemplate="%{text}")
    assert [text.get_text() for text in _figure(Chart("s", "n", "t", "a", heat)).axes[0].texts] == ["x", "y", "z"]


def test_a_kind_of_trace_that_is_not_drawn_is_refused_by_name():
    with pytest.raises(ValueError, match="a trace of the type 'pie' cannot be drawn"):
        _figure(Chart("s", "n", "t", "a", go.Figure(go.Pie(values=[1])).update_layout(height=200)))


def test_report_json_is_what_the_published_schema_says(report):
    assert published_schema() == make_schema()
    told = json.loads(json.dumps(report.as_json()))
    jsonschema.validate(told, published_schema())
    told["arms"]["sft"]["levels"]["iid"]["pass_at_1"] = 1.5
    with pytest.raises(jsonschema.ValidationError, match=r"1\.5 is greater than the maximum of 1"):
        jsonschema.validate(told, published_schema())


def test_an_unfinished_run_too_has_a_report_of_the_schema(tmp_path):
    folder = RunFolder(tmp_path)
    write_plan(folder)
    jsonschema.validate(json.loads(json.dumps(make_report(folder).as_json())), published_schema())


def test_parts_that_cannot_be_made_are_named_and_the_rest_stands(tmp_path, monkeypatch):
    def broken(folder, summary):
        raise RecordsError("a part.parquet is not whole")

    for name in sections.BUILDERS:
        monkeypatch.setitem(sections.BUILDERS, name, broken)
    report = make_report(finished_run(tmp_path))
    said = tuple(f"the section {name!r} could not be made: a part.parquet is not whole" for name in sections.BUILDERS)
    assert report.missing == said
    page = render(report)
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert text.count("a part.parquet is not whole") == len(said)
        assert "50.0%" in text
    assert json.loads(page.with_suffix(".json").read_text())["missing"] == list(said)


def test_a_run_without_clean_provenance_says_so_first(tmp_path):
    folder = finished_run(tmp_path)
    page = render(make_report(folder))
    assert "not clean" not in page.read_text() + page.with_suffix(".md").read_text()
    write_text(folder.manifest_path, folder.manifest_path.read_text().replace('"0123abc"', "null"))
    (folder.records / "evaluations/evaluate-rl-0/part-000000.parquet").write_bytes(b"PAR1")
    page = render(make_report(folder))
    first = page.with_suffix(".md").read_text().splitlines()[0]
    said = "The commit of the code that ran is not known. Records that could not be read: 1; they are listed below."
    assert first == f"> **The provenance of this report is not clean.** {said}"
    body = page.read_text().partition("<body>")[2]
    assert body.index("not clean") < body.index("<h1>")
    assert " ".join(json.loads(page.with_suffix(".json").read_text())["unclean"]) == said


def test_provenance_has_the_recipe_incidents_and_a_command_for_each_table(tmp_path):
    folder = finished_run(tmp_path / "a run")
    write_text(folder.recipe_path, yaml.safe_dump({"name": "tiny</pre><script>"}))
    report = make_report(folder)
    page = render(report).read_text()
    assert "name: tiny&lt;/pre&gt;&lt;script&gt;" in page
    [incidents] = report.tables["incidents"]
    [row] = incidents.rows
    assert [cell.text for cell in row] == ["atomic → evaluate", "iid", "PluginTimeout", "1"]
    for name in report.named_tables():
        command = shlex.join(["rlreason", "report", str(folder.path), "--table", name])
        assert f"<code>{command.replace(chr(39), '&#39;')}</code>" in page


def test_a_table_alone_is_the_one_of_the_report(report):
    printed = markdown_table(find_table(report, "levels"))
    assert "| sft (SFT only) | 50.0% (23.7 to 76.3) | 10.0% (1.8 to 40.4) |" in printed
    assert printed in (render(report).with_suffix(".md")).read_text()
