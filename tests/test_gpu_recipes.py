"""The recipes for GPUs: planned without their models, at the scale that they say."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from rlreason.cli import app
from rlreason.errors import ModelError
from rlreason.recipe import load_recipe
from rlreason.recipe.stages import Rl, Supervised
from rlreason.stages.binding import bind

PAPER, LARGER, SMALLER = "complementary-qwen2.5-0.5b", "complementary-qwen2.5-1.5b", "complementary-smollm2-135m"
QUESTIONS = {"parametric": 88_031, "contextual": 2_651, "complementary": 180_919}


def planned(name: str, *options: str) -> str:
    """What `rlreason plan` prints."""
    outcome = CliRunner().invoke(app, ["plan", name, *options], catch_exceptions=False)
    assert outcome.exit_code == 0
    return outcome.stdout


@pytest.mark.parametrize(
    ("name", "parameters"), [(PAPER, 494_032_768), (LARGER, 1_543_714_304), (SMALLER, 134_515_008)]
)
def test_each_is_planned_without_its_model_and_fits_one_gpu(name: str, parameters: int):
    plan = json.loads(planned(name, "--gpus", "1", "--gpu-memory", "141", "--json"))
    assert plan["memory"]["parameters"] == parameters
    assert (plan["fits"], plan["model_absent"], plan["hours"]["tokens"]) == (True, True, "assumed")
    assert plan["hours"]["device_hours"] > 0
    assert {stage["name"] for stage in plan["stages"].values()} >= {"biographies", "atomic", "rl_composite", "rft"}


def test_what_is_assumed_is_said_and_measured_rates_take_its_place(tmp_path):
    text = planned(SMALLER, "--gpus", "1")
    assert "models/smollm2-135m is not here" in text
    assert "generating: ASSUMED; learning: ASSUMED" in text
    rates = {
        "about": "measured by hand",
        "model": {"parameters": 134_515_008},
        "lengths": {"type": "constant", "tokens": 48},
        "prompt_tokens": 700,
        "decoding": {
            "type": "measured",
            "points": [{"sequences": 512, "tokens_per_s": 10_000}],
            "prefill_tokens_per_s": 1e5,
        },
        "learning": {"tokens_per_s": 100_000},
        "syncing": {"latency_s": 0.1},
    }
    file = tmp_path / "rates.json"
    file.write_text(json.dumps(rates))
    text = planned(SMALLER, "--rates", str(file), "--set", "seeds=[0]")
    assert "rates: measured by hand" in text
    assert "generating: measured; learning: measured" in text
    hours = json.loads(planned(SMALLER, "--gpus", "1", "--rates", str(file), "--json"))["hours"]
    composite = next(own for id, own in hours["stages"].items() if id.startswith("pretrain"))
    # 250 updates of 16 rows of 2,048 tokens at 100,000 tokens/s
    assert composite["learn_hours"] == pytest.approx(250 * 16 * 2048 / 1e5 / 3600)


def test_on_a_cpu_nothing_is_estimated_without_rates():
    assert json.loads(planned("quickstart", "--gpus", "0", "--json"))["hours"] is None


def test_a_run_needs_the_model():
    with pytest.raises(ModelError, match=r"model\.path 'models/qwen2\.5-0\.5b'"):
        bind(load_recipe(PAPER))


def test_a_model_that_is_not_known_by_name_is_refused_in_a_plan_too():
    with pytest.raises(ModelError, match=r"models/qwen9"):
        bind(load_recipe(PAPER, ["model.path=models/qwen9"]), may_lack_model=True)


def test_the_base_is_the_published_scale():
    recipe = load_recipe(PAPER).recipe
    task = bind(load_recipe(PAPER), may_lack_model=True).tasks["people"]
    assert len(task.world.known) == 10_000 and len(task.world.everyone) == 20_000
    assert [len(task.relations.in_group(group)) for group in ("parametric", "contextual")] == [20, 19]
    assert {cell.difficulty for cell in task.cells} == {2, 3, 4, 5}
    mixture = recipe.stages["mixture"]
    assert isinstance(mixture, Supervised)
    for family, questions in QUESTIONS.items():
        shares = [entry.weight for entry in mixture.data if entry.cells and entry.cells[0].startswith(family)]
        assert sum(shares) == pytest.approx(questions / 1000, rel=0.01)
        assert [share / sum(shares) for share in shares] == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.005)
    for name in ("rl_composite", "rl_atomic"):
        stage = recipe.stages[name]
        assert isinstance(stage, Rl)
        assert stage.updates * stage.prompts_per_update == 12_800


def test_updates_are_three_passes_over_the_questions():
    tokens = {"parametric": 60, "contextual": 1030, "complementary": 755, "texts": 205}
    counts = {**QUESTIONS, "texts": 10_000}
    stages = load_recipe(PAPER).recipe.stages
    for name, families in (
        ("atomic", ["parametric", "contextual", "texts"]),
        ("composite", ["complementary", "texts"]),
        ("mixture", list(counts)),
    ):
        stage = stages[name]
        assert isinstance(stage, Supervised)
        needed = 3 * sum(tokens[family] * counts[family] for family in families) / 0.93
        assert stage.updates * stage.batch_rows * stage.row_tokens == pytest.approx(needed, rel=0.03)


def test_the_small_one_is_an_eighth_of_it():
    base, small = load_recipe(PAPER).recipe, load_recipe(SMALLER).recipe
    for key in ("people", "new_people"):
        assert small.tasks["people"].parameters[key] * 8 == base.tasks["people"].parameters[key]
    for name in ("biographies", "atomic", "composite", "mixture"):
        assert small.stages[name].updates * 8 == pytest.approx(base.stages[name].updates, rel=0.01)
    for name in ("rl_composite", "rl_atomic"):
        own, whole = small.stages[name], base.stages[name]
        assert isinstance(own, Rl) and isinstance(whole, Rl)
        assert own.updates * own.prompts_per_update * 8 == whole.updates * whole.prompts_per_update
    assert set(small.arms) == set(base.arms) and len(base.arms) == 8
