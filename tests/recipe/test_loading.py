"""Finding, extending, overriding, dumping; and that each recipe that ships loads and has a plan."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlreason.errors import RecipeError
from rlreason.recipe import build_plan, dump_recipe, fingerprint_model, load_recipe
from rlreason.recipe.loading import plain
from rlreason.recipe.schema import Recipe
from rlreason.recipe.shipped import shipped_folder, shipped_recipes


@pytest.mark.parametrize("name", [name for name, _ in shipped_recipes()])
def test_every_shipped_recipe_loads_and_has_a_plan(name: str) -> None:
    loaded = load_recipe(name)
    plan = build_plan(loaded.recipe, model_fingerprint="x")
    assert set(plan.arms) == set(loaded.recipe.arms)
    assert loaded.recipe.description, "rlreason recipes shows one line each"


def test_quickstart_ships() -> None:
    assert "quickstart" in [name for name, _ in shipped_recipes()]
    assert load_recipe("quickstart").source == shipped_folder("recipes") / "quickstart.yaml"


def test_a_file_is_taken_before_a_shipped_name(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any
) -> None:
    write(small, "quickstart")
    monkeypatch.chdir(tmp_path)
    loaded = load_recipe("quickstart")
    assert loaded.recipe.name == "small"
    assert loaded.folder == tmp_path


def test_an_unknown_name_lists_what_ships_and_the_near_one() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'quickstrat'.*what ships is .*did you mean quickstart\?"):
        load_recipe("quickstrat")


def test_an_unknown_path_names_the_near_file_beside_it(write: Any, small: dict[str, Any]) -> None:
    path = write(small, "tiny.yaml")
    with pytest.raises(RecipeError, match=r"did you mean .*tiny\.yaml\?"):
        load_recipe(path.with_name("tinny.yaml"))


def test_a_recipe_without_a_name_has_that_of_its_file(write: Any, small: dict[str, Any]) -> None:
    del small["name"]
    assert load_recipe(write(small, "mine.yaml")).recipe.name == "mine"


class TestExtends:
    """Each test writes a base and a child that changes one thing."""

    @pytest.fixture
    def child(self, write: Any, small: dict[str, Any]) -> Any:
        write({**small, "description": "the base"}, "base.yaml")
        return lambda text: load_recipe(write(f"extends: base.yaml\n{text}", "child.yaml")).recipe

    def test_mappings_merge_deeply(self, child: Any) -> None:
        recipe = child("stages: {rl: {optimizer: {weight_decay: 0.5}}}")
        assert recipe.stages["rl"].optimizer.weight_decay == 0.5
        assert recipe.stages["rl"].optimizer.learning_rate == 1e-3
        assert recipe.stages["atomic"].updates == 10

    def test_lists_replace(self, child: Any) -> None:
        recipe = child("stages: {atomic: {data: [{texts: true}]}}")
        assert [entry.texts for entry in recipe.stages["atomic"].data] == [True]

    def test_null_removes_what_was_inherited(self, child: Any) -> None:
        recipe = child("arms: {sft_rl: null}\nstages: {rl: null, atomic: {updates: 3}}\nevaluation: {problems: null}")
        assert list(recipe.arms) == ["sft"]
        assert list(recipe.stages) == ["atomic"]
        assert recipe.evaluation.problems == 128, "the default, not the base's 4"

    def test_null_where_nothing_was_inherited_stays_null(self, child: Any) -> None:
        with pytest.raises(RecipeError, match=r"child\.yaml \(extends base\.yaml\): stages\.rll: should be a mapping"):
            child("stages: {rll: null}")

    def test_another_type_replaces_the_whole_section(self, child: Any) -> None:
        recipe = child("stages: {rl: {type: sft, data: [{texts: true}], updates: 1, optimizer: {learning_rate: 1e-3}}}")
        assert recipe.stages["rl"].type == "sft"

    def test_name_is_not_inherited_but_description_is(self, child: Any) -> None:
        recipe = child("seeds: [1]")
        assert (recipe.name, recipe.description) == ("child", "the base")

    def test_a_key_that_the_child_misspells_names_both_files(self, child: Any) -> None:
        with pytest.raises(
            RecipeError, match=r"child\.yaml \(extends base\.yaml\): evaluation\.sampels: key 'sampels'"
        ):
            child("evaluation: {sampels: 3}")


def test_extending_goes_on_and_looks_beside_each_file(write: Any, small: dict[str, Any], tmp_path: Path) -> None:
    write(small, "deep/base.yaml")
    write("extends: base.yaml\nseeds: [1]\nstages: {rl: {updates: 7}}", "deep/middle.yaml")
    loaded = load_recipe(write("extends: deep/middle.yaml\nseeds: [2]", "top.yaml"))
    assert (loaded.recipe.seeds, loaded.recipe.stages["rl"].updates) == ((2,), 7)
    assert loaded.folders == (tmp_path, tmp_path / "deep")


def test_a_shipped_recipe_can_be_extended_by_name(write: Any) -> None:
    loaded = load_recipe(write("extends: quickstart\nseeds: [5]", "mine.yaml"))
    assert loaded.recipe.seeds == (5,)
    assert loaded.folders[1] == shipped_folder("recipes")


def test_recipes_that_extend_each_other_are_refused_with_the_circle(write: Any, tmp_path: Path) -> None:
    write("extends: b.yaml", "a.yaml")
    write("extends: c.yaml", "b.yaml")
    write("extends: b.yaml", "c.yaml")
    with pytest.raises(RecipeError) as error:
        load_recipe(tmp_path / "a.yaml")
    assert f"in a circle: {tmp_path}/b.yaml -> {tmp_path}/c.yaml -> {tmp_path}/b.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("bsae.yaml", r"mine\.yaml: extends: there is no recipe 'bsae\.yaml'.*base\.yaml"),
        ("[a]", "should be one recipe"),
    ],
)
def test_a_bad_extends_names_the_file_that_says_it(
    write: Any, small: dict[str, Any], extends: str, message: str
) -> None:
    write(small, "base.yaml")
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(f"extends: {extends}", "mine.yaml"))


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("stages.rl.updates=12", lambda recipe: recipe.stages["rl"].updates == 12),
        ("stages.rl.optimizer.learning_rate=1e-4", lambda recipe: recipe.stages["rl"].optimizer.learning_rate == 1e-4),
        ("stages.atomic.data[0].weight=2", lambda recipe: recipe.stages["atomic"].data[0].weight == 2.0),
        (
            "stages.atomic.data[1]={cells: [x], texts: null}",
            lambda recipe: recipe.stages["atomic"].data[1].cells == ("x",),
        ),
        ("evaluation.levels=[iid, zero_shot]", lambda recipe: recipe.evaluation.levels == ("iid", "zero_shot")),
        ("evaluation={problems: 9}", lambda recipe: recipe.evaluation.problems == 9 and recipe.evaluation.samples == 4),
        ("tasks.people.hops.1=3", lambda recipe: recipe.tasks["people"].parameters["hops"] == {1: 3}),
        ("tasks.people.note=on", lambda recipe: recipe.tasks["people"].parameters["note"] == "on"),
        ("arms.sft_rl=null", lambda recipe: list(recipe.arms) == ["sft"]),
        ("evaluation.problems=null", lambda recipe: recipe.evaluation.problems == 128),
        ("description=a=b", lambda recipe: recipe.description == "a=b"),
        ("arms[x.y].stages=[atomic]", lambda recipe: recipe.arms["x.y"].stages == ("atomic",)),
        ("rewards.parts=[{spec: 'a.py:f'}]", lambda recipe: recipe.rewards.parts[0].spec == "a.py:f"),
    ],
)
def test_an_override_is_typed_by_yaml_and_reaches_any_depth(load: Any, override: str, read: Any) -> None:
    assert read(load(override).recipe)


def test_the_last_of_two_overrides_wins(load: Any) -> None:
    assert load("seeds=[1]", "seeds=[2]").recipe.seeds == (2,)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds", "write KEY.PATH=VALUE"),
        ("=3", "write KEY.PATH=VALUE"),
        ("a..b=1", "write KEY.PATH=VALUE"),
        ("stages.rl.updates=", "no value; write stages.rl.updates=null"),
        ("extends=quickstart", "write `extends` in the recipe file"),
        ("stages.atomic.data[9].weight=1", "list index out of range"),
        ("stages.atomic.data.first=1", "stages.atomic.data.first cannot be set"),
        ("description=[a", "line 1, column 3: not valid YAML"),
        ("description='${HOME}'", "holds `${`"),
        ("stages.rl.updatess=3", "did you mean 'updates'"),
    ],
)
def test_a_bad_override_is_named_as_it_was_written(load: Any, override: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load(override)
    assert str(error.value).startswith(f"--set {override}: ")
    assert message in str(error.value)


def test_an_override_that_spoils_its_section_is_named_with_the_file(load: Any) -> None:
    with pytest.raises(RecipeError, match=r"small\.yaml with --set evaluation\.samples=2: evaluation: k 4 exceeds"):
        load("evaluation.samples=2")


def test_nothing_is_interpolated(write: Any, small: dict[str, Any]) -> None:
    small["evaluation"]["levels"] = ["iid", "${oc.env:HOME}"]
    with pytest.raises(RecipeError, match=r"evaluation\.levels\[1\]: .* a recipe interpolates nothing"):
        load_recipe(write(small))


def test_every_shipped_recipe_dumped_is_the_same_recipe(tmp_path: Path) -> None:
    for name, _ in shipped_recipes():
        loaded = load_recipe(name)
        copy = tmp_path / "recipe.yaml"
        copy.write_text(dump_recipe(loaded.recipe), encoding="utf-8")
        again = load_recipe(copy)
        assert again.recipe == loaded.recipe
        assert again.resolved == loaded.resolved


_words = st.text(st.characters(exclude_categories=("Cs",)), max_size=8).filter(lambda text: "${" not in text)
_parameters = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1e6, 1e6) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words | st.integers(0, 9), inner, max_size=3),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(parameters=_parameters, rate=st.floats(1e-9, 1.0), title=_words, clip=st.floats(0.01, 0.99))
def test_any_recipe_survives_dump_and_load(
    load: Any, tmp_path: Path, parameters: Any, rate: float, title: str, clip: float
) -> None:
    values = plain(load().recipe)
    values["tasks"]["people"]["parameter"] = parameters
    values["stages"]["rl"]["optimizer"]["learning_rate"] = rate
    values["stages"]["rl"]["loss"]["clip_low"] = clip
    values["arms"]["sft"]["title"] = title
    recipe = Recipe.model_validate(values)
    path = tmp_path / "dumped.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8", newline="")
    assert load_recipe(path).recipe == recipe


def test_the_fingerprint_of_a_new_model_follows_its_shape_and_the_words_of_its_tasks(load: Any) -> None:
    base = fingerprint_model(None, load().recipe)
    assert fingerprint_model(None, load("stages.rl.updates=9", "model.dtype=float32").recipe) == base
    assert fingerprint_model(None, load("model.scratch.layers=3").recipe) != base
    assert fingerprint_model(None, load("tasks.people.people=9").recipe) != base


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = (
        "import sys, rlreason.recipe, rlreason.recipe.describe, rlreason.recipe.sizes, rlreason.recipe.compare\n"
        "heavy = {'torch', 'pandas', 'ray', 'transformers', 'omegaconf', 'scipy', 'numpy', 'rlreason.tasks'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
