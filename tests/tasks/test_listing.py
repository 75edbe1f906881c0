"""What `rlreason tasks` tells of every type: cells with what a guesser gets, and parameters with what they allow."""

import json

import pytest
from typer.testing import CliRunner

from rlreason.cli import app
from rlreason.display_tasks import allowed
from rlreason.tasks import task_types
from rlreason.tasks.functions import Functions
from rlreason.tasks.listing import show_type
from rlreason.tasks.lookup import Lookup
from rlreason.tasks.rules import Rules
from rlreason.tasks.tail import Tail
from rlreason.tasks.tail.algorithms import ALGORITHMS


def test_a_type_whose_parameter_chooses_a_family_shows_all_of_them():
    shown = show_type("tail", Tail)
    assert [cell.name for cell in shown.cells] == [f"{name}/{size}" for name in ALGORITHMS for size in "sml"]
    lcs = next(cell for cell in shown.cells if cell.name == "lcs/m")
    assert (lcs.settings, lcs.prerequisites, lcs.difficulty) == ({"algorithm": "lcs"}, ("lcs/s",), 2)
    assert list(lcs.levels) == ["train", "validation", "iid", "long"], "medium would be no longer"
    families = dict.fromkeys(cell.family for cell in show_type("rules", Rules).cells)
    assert list(families) == ["rule90", "operators", "modular", "grammar"]


def test_a_cell_shows_what_the_task_says_of_chance_and_answers():
    cells = {cell.name: cell for cell in show_type("rules", Rules).cells}
    assert cells["rule90/1"].levels["zero_shot"].chance == 0.5**16
    assert cells["operators/2"].levels["iid"].answer_space == 100
    assert "zero_shot" not in cells["operators/1"].levels and "zero_shot" not in cells["rule90/2"].levels


def test_a_type_that_needs_parameters_says_why_it_shows_no_cells(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Lookup, "shown_as", ({"facts": [0]},))
    shown = show_type("lookup", Lookup)
    assert shown.cells == () and "facts [0] must lie within" in shown.without
    assert "facts" in shown.parameters["properties"]


def test_the_json_of_all_types_has_parameters_cells_and_levels():
    listed = {each["type"]: each for each in json.loads(CliRunner().invoke(app, ["tasks", "--json"]).stdout)}
    assert set(listed) == set(task_types())
    functions = listed["functions"]
    assert functions["levels"] == ["train", "validation", "iid", "zero_shot"]
    assert functions["parameters"]["properties"]["train_functions"]["exclusiveMaximum"] == 25
    assert functions["description"].startswith("String functions")
    (composite,) = (cell for cell in functions["cells"] if cell["name"] == "composite/2")
    assert composite["prerequisites"] == ["atomic/1", "composite/1"] and 0 < composite["levels"]["iid"]["chance"] < 1
    alone = json.loads(CliRunner().invoke(app, ["tasks", "functions", "--json"]).stdout)
    assert alone == functions


def test_the_tables_fit_100_columns(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "100")
    for arguments in (["tasks"], ["tasks", "tail"], ["tasks", "complementary"]):
        lines = CliRunner().invoke(app, arguments).output.splitlines()
        assert lines and max(map(len, lines)) <= 100
    assert "and 15 more" in CliRunner().invoke(app, ["tasks"]).output
    assert "addition/m" in CliRunner().invoke(app, ["tasks", "tail"]).output


def test_what_a_parameter_allows_is_said_in_words():
    schema = Functions.Parameters.model_json_schema()
    said = {name: allowed(each, schema.get("$defs", {})) for name, each in schema["properties"].items()}
    assert said["longest"] == "integer, 12 to 64"
    assert said["train_functions"] == "integer, at least 1, below 25"
    assert said["depths"] == "list of integer, 1 to 6"
    rules = Rules.Parameters.model_json_schema()["properties"]
    assert allowed(rules["rule"], {}) == "rule90, operators, modular, grammar"
    assert allowed(rules["sizes"], {}) == "list of integer, at least 1 or none"
    assert allowed({"$ref": "#/$defs/Size"}, {"Size": {"type": "boolean"}}) == "true or false"
