"""Freezing the rules of a recipe, and what a run's plan says of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rlreason import cli
from rlreason.errors import RecipeError
from rlreason.recipe import load_recipe
from rlreason.recipe.freeze import freeze_to
from rlreason.records import RunFolder, read_plan
from rlreason.stages.binding import BoundRecipe, bind
from rlreason.stages.runner import prepare_folder

NOW = "2025-01-01T00:00:00+00:00"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: quickstart\nname: mine\n")
    return path


def bound(recipe: Path, *overrides: str) -> BoundRecipe:
    return bind(load_recipe(recipe, overrides))


def test_a_run_notes_how_its_rules_stand_to_the_frozen_ones(recipe: Path, tmp_path: Path):
    run, mine = RunFolder(tmp_path / "run"), bound(recipe)
    frozen = freeze_to(tmp_path / "mine.frozen.json", mine.recipe, NOW)
    prepare_folder(run, mine, allow_change=False)
    told = read_plan(run).registration
    assert told is not None and told.frozen is not None
    assert (told.hash, told.frozen.hash, told.frozen.at, told.frozen.changes) == (frozen.hash, frozen.hash, NOW, ())
    assert json.loads(run.frozen_path.read_text()) == frozen.model_dump()


def test_what_the_run_was_begun_with_stays_whatever_is_frozen_later(recipe: Path, tmp_path: Path):
    run, path = RunFolder(tmp_path / "run"), tmp_path / "mine.frozen.json"
    freeze_to(path, bound(recipe).recipe, NOW)
    prepare_folder(run, bound(recipe), allow_change=False)
    path.unlink()
    changed = bound(recipe, "verdict.minimal_seeds=1")
    freeze_to(path, changed.recipe, "2026-01-01T00:00:00+00:00")
    prepare_folder(run, changed, allow_change=True)
    told = read_plan(run).registration
    assert told is not None and told.frozen is not None
    assert (told.frozen.at, told.frozen.changes) == (NOW, ("verdict.minimal_seeds: 3 -> 1",))


def test_a_run_without_frozen_rules_says_so_and_one_that_was_promised_them_is_refused(recipe: Path, tmp_path: Path):
    run, mine = RunFolder(tmp_path / "run"), bound(recipe)
    with pytest.raises(RecipeError, match="cannot be read as frozen rules"):
        prepare_folder(run, mine, allow_change=False, frozen=tmp_path / "elsewhere.json")
    prepare_folder(run, mine, allow_change=False)
    told = read_plan(run).registration
    assert told is not None and told.frozen is None


def test_the_command_writes_the_file_and_refuses_to_freeze_other_rules_over_it(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def plan(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["rlreason", "plan", str(recipe), *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    assert plan("--freeze") == 0
    held = json.loads((recipe.parent / "mine.frozen.json").read_text())
    assert f"mine.frozen.json: rules frozen at {held['frozen']}, hash {held['hash']}" in capsys.readouterr().out
    assert plan("--freeze", "--set", "evaluation.problems=16") == 2
    assert "evaluation.problems: 128 -> 16" in capsys.readouterr().err
    assert plan("--output", str(recipe.parent / "other.json"), "--set", "evaluation.problems=16") == 0
    assert json.loads((recipe.parent / "other.json").read_text())["rules"]["evaluation"]["problems"] == 16
