"""The recipes about tasks, run whole at toy size in this process: they end, and their reports have every row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rlreason.errors import TaskError
from rlreason.recipe import LoadedRecipe, Recipe, load_recipe
from rlreason.recipe.own_samples import Rft
from rlreason.recipe.stages import OnPolicy
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from rlreason.report import build_report
from rlreason.stages.binding import bind
from rlreason.stages.runner import run_recipe
from tests.stages.small import Recorder

TOY = (
    *["resources.generator=torch", "resources.learner=torch", "resources.accelerator=cpu", "resources.threads=1"],
    *["model.scratch.layers=1", "model.scratch.width=64", "model.scratch.heads=2"],
    *["evaluation.problems=3", "evaluation.samples=1", "evaluation.k=[1]", "evaluation.sampling.max_new_tokens=4"],
    "evaluation.interpolation.train_problems=30",
)
RULES = ("rules", "rules-operators", "rules-modular", "rules-grammar")


def toy(name: str, *overrides: str) -> LoadedRecipe:
    """A shipped recipe with its stages shrunk to one update of a few sequences."""
    recipe = load_recipe(name).recipe
    shrunk = [each for stage in recipe.stages for each in shrink(stage, recipe)]
    probes = [f"evaluation.probes.{probe}.problems=2" for probe in recipe.evaluation.probes]
    return load_recipe(name, [*TOY, *shrunk, *probes, *overrides])


def shrink(name: str, recipe: Recipe) -> list[str]:
    stage = recipe.stages[name]
    settings: dict[str, Any] = {"updates": 1, "optimizer.warmup_updates": 0}
    if isinstance(stage, OnPolicy):
        settings |= {"prompts_per_update": 2, "group_size": 2, "sampling.max_new_tokens": 4}
    elif isinstance(stage, Rft):
        settings |= {"rounds": 1, "samples": 2, "sampling.max_new_tokens": 4, "batch_rows": 1}
    else:
        settings |= {"batch_rows": 1}
    return [f"stages.{name}.{key}={value}" for key, value in settings.items()]


def run(name: str, folder: Path, *overrides: str) -> dict[str, Any]:
    """report.json of a toy run."""
    run_recipe(toy(name, *overrides), folder, allow_change=False, progress=Recorder())
    return json.loads(build_report(RunFolder(folder)).with_name("report.json").read_text())


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ablation")
    return RunFolder(folder), run("tail-ablation", folder)


@pytest.mark.parametrize("name", ["tail", *RULES])
def test_a_recipe_runs_and_asks_every_arm_and_control_at_every_level(name: str, tmp_path: Path):
    loaded = toy(name)
    run_recipe(loaded, tmp_path, allow_change=False, progress=Recorder())
    rows = read_table(RunFolder(tmp_path), "evaluations")
    greedy = rows[rows["greedy"]].groupby(["stage", "level"]).size()
    stages = [stage.id for stage in bind(loaded).plan.stages if stage.type in ("evaluate", "interpolate")]
    assert greedy.to_dict() == {(stage, level): 3 for stage in stages for level in loaded.recipe.evaluation.levels}
    assert len(stages) == len(loaded.recipe.arms) + 3


def assert_whole(name: str, report: dict[str, Any]) -> None:
    """Every arm and control has its problems at every level."""
    recipe = load_recipe(name).recipe
    for row in [*report["arms"].values(), *report["controls"].values()]:
        assert {level: found["n"] for level, found in row["levels"].items()} == dict.fromkeys(
            recipe.evaluation.levels, 3
        )
    assert list(report["arms"]) == list(recipe.arms)
    fitted = {name: found["train_problems"] for name, found in report["controls"].items()}
    assert fitted == {"nearest": 30, "kernel": 30, "mlp": 30}
    assert report["missing"] == []


def test_functions_compares_depths_as_probes_and_controls_too(tmp_path: Path):
    # an untrained policy gives no right sample to fine-tune on, so the toy leaves that arm out
    report = run("functions", tmp_path, "arms.rft_depth_2=null", "stages.rft_depth_2=null")
    assert report["missing"] == []
    for row in [*report["arms"].values(), *report["controls"].values()]:
        assert list(row["levels"]) == ["iid", "zero_shot"]
        assert list(row["probes"]) == ["single", "depth_1", "depth_3", "depth_4", "depth_3_zero_shot"]


def test_rejection_fine_tuning_has_the_samples_that_rl_has():
    plan = bind(load_recipe("functions")).plan
    rft = next(stage for stage in plan.stages if stage.type == "rft")
    assert rft.match is not None and (rft.match.name, rft.match.by) == ("rl_depth_2", "samples")
    assert plan.stage(rft.match.stage).parent == rft.parent


def test_an_arm_is_asked_its_own_form_of_the_same_problems(ablation: tuple[RunFolder, dict[str, Any]]):
    problems = read_table(ablation[0], "problems")
    evaluations = problems[problems["stage"].str.startswith("evaluate")]
    asked = {task: rows.set_index("problem") for task, rows in evaluations.groupby("task")}
    assert set(asked) == {"full", "no_expansion", "no_atomic_state", "no_tape_review"}
    full = asked.pop("full")
    for rows in asked.values():
        pd.testing.assert_frame_equal(rows[["prompt", "answer"]], full[["prompt", "answer"]])
        assert (rows["target"] != full["target"]).any()  # some of a state or two are the same in both


def test_the_report_has_every_arm_and_says_that_their_forms_differ(ablation: tuple[RunFolder, dict[str, Any]]):
    assert_whole("tail-ablation", ablation[1])
    assert any("differ in task" in caution for caution in ablation[1]["cautions"])


def test_controls_leave_the_identity_of_evaluations_as_it_was():
    with_controls, without = (bind(toy("tail", f"evaluation.interpolation={value}")).plan for value in ("{}", "null"))
    assert {stage.id for stage in without.stages} == {
        stage.id for stage in with_controls.stages if stage.type != "interpolate"
    }
    assert [stage.name for stage in with_controls.stages if stage.type == "interpolate"] == ["nearest", "kernel", "mlp"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["arms.short.task=ful"], r"arms\.short\.task: task 'ful' is not one of substring"),
        (["evaluation.interpolation.methods=[knn]"], r"evaluation\.interpolation\.methods.*nearest"),
        (["evaluation.interpolation.methods=[mlp, mlp]"], "'mlp' is listed twice"),
    ],
)
def test_names_in_a_recipe_that_are_not_there_are_refused(overrides: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        load_recipe("tail", overrides)


def test_an_arm_may_not_be_asked_other_problems():
    other = "tasks.other={type: tail, algorithm: [any_substring, lcs]}"
    data = ["stages.short.data[0].task=substring", *(f"stages.mix.data[{at}].task=substring" for at in range(3))]
    asked = ["evaluation.task=substring", "evaluation.cells=['*/s']", "arms.short.task=other"]
    with pytest.raises(TaskError, match=r"arms\.short\.task 'other' has other cells than task 'substring'"):
        bind(load_recipe("tail", [other, *data, *asked]))
