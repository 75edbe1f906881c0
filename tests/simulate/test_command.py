"""`rlreason simulate`, from the command line and from the records of a run that was written here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rlreason.cli import app
from rlreason.errors import UserError
from rlreason.recipe import dump_recipe, load_recipe
from rlreason.recipe.plan import build_plan
from rlreason.records.run_folder import RunFolder, write_json, write_text
from rlreason.records.tables import write_part
from rlreason.simulate_commands import measured_stages, parse_gpus

FEW = ["--set", "stages.rl.prompts_per_update=8", "--updates", "3"]


def told(*arguments: str) -> str:
    """What the command prints; what it raises is raised here too."""
    outcome = CliRunner().invoke(app, ["simulate", *arguments], catch_exceptions=False)
    assert outcome.exit_code == 0
    return outcome.stdout


def write_run(folder: Path, *overrides: str) -> Path:
    """A run whose rl stage took 1 s to generate and 2 s to learn in each of 6 updates of 2 prompts x 4 completions."""
    loaded = load_recipe("quickstart", ["stages.rl.prompts_per_update=2", "stages.rl.group_size=4", *overrides])
    run = RunFolder(folder)
    plan = build_plan(loaded.recipe, model_fingerprint="none")
    write_text(run.recipe_path, dump_recipe(loaded.recipe))
    write_json(run.plan_path, plan.to_json())
    stage = next(stage.id for stage in plan.stages if stage.type == "rl")
    seconds = {"generate": 1.0, "score": 0.1, "learn": 2.0, "sync": 0.3, "other": 0.2}
    random = np.random.default_rng(0)
    for update in range(1, 7):
        lengths = random.integers(10, 14, 8).tolist()
        text = dict.fromkeys(
            ["stage", "problem", "cell", "text", "finish_reason", "steps", "failure", "task", "prompt", "gold", "parts",
             "step_scores"], [""] * 8
        )  # fmt: skip
        numbers = dict.fromkeys(["sample", "policy_version", "seed"], [0] * 8)
        floats = dict.fromkeys(["logprob", "reward", "advantage", "learner_mismatch"], [0.0] * 8)
        empty = dict.fromkeys(
            ["correct", "derivation_correct", "answer", "first_error", "first_error_kind"], [None] * 8
        )
        tokens = {"tokens": lengths, "prompt_tokens": [[1] * 30] * 8, "completion_tokens": [[1]] * 8}
        logprobs = {"generator_logprobs": [[0.0]] * 8, "update": [update] * 8}
        write_part(run, "rollouts", stage, update, {**text, **numbers, **floats, **empty, **tokens, **logprobs})
        rows = {
            "stage": [stage] * 5,
            "update": [update] * 5,
            "metric": [f"seconds_{phase}" for phase in seconds],
            "value": list(seconds.values()),
        }
        write_part(run, "updates", stage, update, rows)
    return folder


def test_ranges_double_and_lists_stay():
    assert parse_gpus("8..64") == [8, 16, 32, 64]
    assert parse_gpus("8..40") == [8, 16, 32, 40]
    assert parse_gpus("64,8,8") == [8, 64]
    assert parse_gpus("4..4") == [4]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quickstart"], "one of --rates .* and --from-run"),
        (["quickstart", "--rates", "assumed_h200", "--gpus", "many"], "'many' is neither a range such as 8..4096"),
        (["quickstart", "--rates", "assumed_h200", "--gpus", "64..8"], "a range goes upwards"),
        (["quickstart", "--rates", "assumed_h200", "--gpus", "0,8"], "numbers are 1 to"),
        (["quickstart", "--rates", "assumed_h200", "--stage", "r1"], "--stage 'r1' is not one of rl"),
        (["quickstart", "--rates", "assumed_h200", "--pipeline", "async"], "--pipeline 'async' is not one of synch"),
        (["quickstart", "--rates", "assumed_h200", "--plot", "nowhere/at/all.html"], "there is no folder"),
        (["quickstart", "--rates", "assumed_h200", "--check", "x"], "give --from-run instead of --rates"),
        (["tiny-base", "--rates", "assumed_h200"], "no stage of type rl or distill"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(arguments: list[str], said: str):
    with pytest.raises(UserError, match=said):
        told(*arguments, "--updates", "2", *([] if "--gpus" in arguments else ["--gpus", "4"]))


def test_assumed_rates_give_a_table_and_a_page(tmp_path: Path):
    page = tmp_path / "page.html"
    shown = told("quickstart", "--rates", "assumed_h200", "--gpus", "4", "--plot", str(page), *FEW)
    assert "assumed (data sheet of an H200" in shown
    assert "where the GPU-seconds go" in shown
    assert "Plotly.newPlot" in page.read_text()


def test_the_rates_of_a_run_give_its_own_updates_again(tmp_path: Path):
    run = write_run(tmp_path / "run")
    one = ["--gpus", "1", "--pipeline", "synchronous, co-located", "--updates", "4", "--json"]
    overrides = ["--set", "stages.rl.prompts_per_update=2", "--set", "stages.rl.group_size=4"]
    (outcome,) = json.loads(told("quickstart", "--from-run", str(run), *one, *overrides))["outcomes"]
    assert outcome["seconds_an_update"] == pytest.approx(3.6, rel=0.05)
    smooth = told("quickstart", "--from-run", str(run), "--lengths", "lognormal", *one, *overrides)
    assert json.loads(smooth)["outcomes"][0]["seconds_an_update"] == pytest.approx(3.6, rel=0.1)
    (check,) = json.loads(told("quickstart", "--from-run", str(run), "--check", str(run), "--json"))
    assert check["measured_s"] == pytest.approx(3.6)
    assert check["ratio"] == pytest.approx(1, abs=0.05)


def test_a_run_of_several_generators_gives_no_rates_of_one(tmp_path: Path):
    run = write_run(tmp_path / "run", "resources.generators=2")
    with pytest.raises(UserError, match="had 2 generators and 1 learner ranks"):
        measured_stages(run)


def test_a_run_that_only_drew_more_gives_no_rates(tmp_path: Path):
    run = write_run(tmp_path / "run", "stages.rl.dynamic_sampling={max_rounds: 2}")
    with pytest.raises(UserError, match="dynamic_sampling draws more often"):
        measured_stages(run)
