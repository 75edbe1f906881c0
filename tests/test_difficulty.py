"""What `rlreason difficulty` says of cells, for a model that is nobody's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlreason.cli import app
from rlreason.difficulty import measure
from rlreason.engines.scratch import make_model
from rlreason.recipe.schema import Architecture
from rlreason.tasks import build_task

LOOKUP = build_task("lookup", "lookup", {"people": 8, "facts": [4, 8]})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = Architecture(layers=1, width=64, heads=2, max_positions=256)
    return make_model(tmp_path_factory.mktemp("model"), shape, LOOKUP.words(), seed=0)


def test_a_model_without_training_is_measured_beside_a_guesser(model):
    four, eight = measure(LOOKUP, "iid", ["lookup/4", "lookup/8"], model=model, problems=5, max_new_tokens=6)
    assert (four.chance, eight.chance) == (1 / 4, 1 / 8)
    assert four.problems == 5 and four.right is not None and 0 <= four.right <= 1
    # random weights seldom say the end token: the budget ends them
    assert four.tokens is not None and 1 <= four.tokens <= 6
    assert four.cut_off is not None and (four.cut_off == 1) == (four.tokens == 6)


def test_without_a_model_nobody_is_asked_and_interpolation_is_its_own_control():
    rule = build_task("rules", "rules", {"rule": "rule90", "sizes": [1]})
    (cell,) = measure(rule, "zero_shot", [rule.cells[0].name], model=None, problems=32, interpolation=True)
    assert cell.right is None and cell.tokens is None
    assert cell.interpolation == 0.0, "nearest neighbours, a kernel and a perceptron all follow what is near"


def test_the_command_prints_a_table_and_json(model):
    asked = ["difficulty", "lookup", "--set", "people=8", "--cell", "lookup/4", "--problems", "3", "--no-interpolation"]
    table = CliRunner().invoke(app, [*asked, "--model", str(model), "--max-new-tokens", "4"])
    assert table.exit_code == 0 and "every step right" in table.output and "25.0%" in table.output
    bare = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert [(row["cell"], row["problems"], row["right"], row["chance"]) for row in bare] == [
        ("lookup/4", 3, None, 0.25)
    ]


def test_a_cell_has_success_length_chance_and_interpolation_where_nothing_is_left_out(model):
    asked = ["difficulty", "lookup", "--set", "people=8", "--cell", "lookup/4", "--problems", "3", "--json"]
    (row,) = json.loads(CliRunner().invoke(app, [*asked, "--model", str(model), "--max-new-tokens", "4"]).stdout)
    assert None not in [row[name] for name in ("right", "tokens", "chance", "answer_space", "interpolation")]
    assert 0 <= row["interpolation"] <= 1


def test_a_directory_that_is_no_model_is_named():
    result = CliRunner().invoke(app, ["difficulty", "lookup", "--model", "no/such"])
    assert "--model 'no/such'" in str(result.exception)
