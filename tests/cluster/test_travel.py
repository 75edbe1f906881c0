"""What travels is what lies beside the recipe; what the cluster would look for in vain is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rlreason.cluster import travel
from rlreason.errors import RecipeError, UserError
from rlreason.recipe import LoadedRecipe, load_recipe

RECIPE = """
name: mine
model: {model}
tasks:
  people: {{type: complementary}}
rewards:
  parts: [{{spec: "{reward}:score"}}]
stages:
  sft: {{type: sft, data: [{{cells: ["*"]}}], updates: 1, optimizer: {{learning_rate: 1.0e-3}}}}
arms:
  sft: [sft]
evaluation: {{levels: [iid]}}
"""


def load(folder: Path, reward: str = "own/mine.py", model: str = "{scratch: {}}") -> LoadedRecipe:
    folder.mkdir(exist_ok=True)
    (folder / "mine.yaml").write_text(RECIPE.format(reward=reward, model=model))
    return load_recipe(folder / "mine.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recipe" / "own").mkdir(parents=True)
    (tmp_path / "recipe" / "own" / "mine.py").write_text("def score(problem, completion, derivation): return 1.0\n")
    (tmp_path / "recipe" / "own" / "other.py").write_text("")
    return tmp_path / "recipe"


def packed(loaded: LoadedRecipe, target: Path) -> list[str]:
    target.mkdir()
    travel.pack(loaded, "/mnt/runs", target)
    return sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())


def test_the_recipe_travels_resolved_with_the_files_it_names_and_no_others(folder: Path, tmp_path: Path):
    loaded = load(folder)
    assert packed(loaded, tmp_path / "packed") == ["own/mine.py", "recipe.yaml"]
    assert load_recipe(tmp_path / "packed" / "recipe.yaml").recipe == loaded.recipe
    assert travel.packed_texts(loaded, "/mnt/runs").keys() == {"recipe.yaml", "own/mine.py"}


def test_a_recipe_that_extends_another_travels_as_one(folder: Path, tmp_path: Path):
    load(folder)
    (tmp_path / "over").mkdir()
    (tmp_path / "over" / "changed.yaml").write_text(f"extends: {folder / 'mine.yaml'}\nseeds: [7]\n")
    loaded = load_recipe(tmp_path / "over" / "changed.yaml")
    assert packed(loaded, tmp_path / "packed") == ["own/mine.py", "recipe.yaml"]
    assert load_recipe(tmp_path / "packed" / "recipe.yaml").recipe.seeds == (7,)


def test_frozen_rules_travel_with_their_recipe(folder: Path, tmp_path: Path):
    (folder / "mine.frozen.json").write_text("{}")
    assert packed(load(folder), tmp_path / "packed") == ["mine.frozen.json", "own/mine.py", "recipe.yaml"]


def test_what_ships_with_rlreason_stays(folder: Path, tmp_path: Path):
    loaded = load(folder, reward="rewards/answer_and_steps.py", model="{path: models/tiny-base}")
    assert packed(loaded, tmp_path / "packed") == ["recipe.yaml"]
    assert packed(load_recipe("quickstart"), tmp_path / "quickstart") == ["recipe.yaml"]


def test_what_lies_on_the_storage_stays_whether_this_machine_sees_it_or_not(folder: Path, tmp_path: Path):
    loaded = load(folder, model="{path: /mnt/runs/models/large}")
    assert packed(loaded, tmp_path / "packed") == ["own/mine.py", "recipe.yaml"]
    assert travel.is_known_there_alone(loaded, "/mnt/runs")
    assert not travel.is_known_there_alone(load(folder), "/mnt/runs")


@pytest.mark.parametrize("reward", ["../outside.py", "/mnt/run/outside.py", "/mnt/runs/../outside.py", "here.py"])
def test_a_file_outside_of_what_travels_is_named(
    reward: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)  # where a relative path is looked for too, and which does not travel
    (tmp_path / "here.py").write_text("")
    (tmp_path / "outside.py").write_text("")
    with pytest.raises(RecipeError) as refused:
        travel.travellers(load(folder, reward=reward), "/mnt/runs")
    assert f"rewards.parts[0].spec: '{reward}'" in str(refused.value)
    assert str(folder) in str(refused.value)
    assert "/mnt/runs/..." in str(refused.value)


def test_all_files_that_lie_outside_are_named_at_once(folder: Path):
    with pytest.raises(RecipeError, match=r"model.path: '/else/model'\n  rewards.parts\[0\].spec: '/else/x.py'"):
        travel.travellers(load(folder, reward="/else/x.py", model="{path: /else/model}"), "/mnt/runs")


def test_too_much_to_travel_is_refused_with_its_size(folder: Path, monkeypatch: pytest.MonkeyPatch):
    model = folder / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"x" * 3 * 2**20)
    loaded = load(folder, model="{path: model}")
    assert [each.there for each in travel.travellers(loaded, "/mnt/runs")] == ["model", "own/mine.py"]
    monkeypatch.setattr(travel, "MOST_BYTES", 2**20)
    with pytest.raises(RecipeError, match=r"have 3 MiB, and 1 MiB may travel; put 'model' \(3 MiB\)"):
        travel.travellers(loaded, "/mnt/runs")


def test_a_config_map_holds_text_and_not_too_much_of_it(folder: Path):
    (folder / "model").mkdir()
    with pytest.raises(RecipeError, match="'model' is not a text file"):
        travel.packed_texts(load(folder, model="{path: model}"), "/mnt/runs")
    (folder / "own" / "mine.py").write_text("#" * 1_000_000)
    with pytest.raises(RecipeError, match="a ConfigMap holds 900,000"):
        travel.packed_texts(load(folder), "/mnt/runs")


def test_a_storage_that_nodes_could_not_find_is_refused(folder: Path):
    with pytest.raises(UserError, match="--storage 'runs' is not an absolute path"):
        travel.travellers(load(folder), "runs")


def test_a_task_takes_the_files_that_it_names_along(folder: Path, tmp_path: Path):
    load(folder)
    (folder / "rows.jsonl").write_text("{}\n")
    (folder / "own" / "more.jsonl").write_text("{}\n")
    values = yaml.safe_load((folder / "mine.yaml").read_text())
    values["tasks"]["people"] = {"type": "files", "levels": {"train": "rows.jsonl", "iid": "own/more.jsonl"}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(values))
    loaded = load_recipe(folder / "mine.yaml")
    assert packed(loaded, tmp_path / "packed") == ["own/mine.py", "own/more.jsonl", "recipe.yaml", "rows.jsonl"]
