"""A recipe with files: where they are looked for, and what of them is in a stage's identity."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlreason.errors import TaskError
from rlreason.recipe import load_recipe
from rlreason.selection import find_task
from rlreason.stages.binding import bind
from rlreason.tasks import task_spec
from tests.tasks.own_files import write_lines

RECIPE = """
model: {scratch: {layers: 1, width: 64, heads: 2}}
tasks:
  own: {type: files, levels: {train: rows/train.jsonl, test: [rows/test.jsonl]}}
stages:
  teach: {type: sft, data: [{cells: ["own/*"]}], updates: 1, optimizer: {learning_rate: 1.0e-3}}
arms: {taught: [teach]}
evaluation: {levels: [test], problems: 2, samples: 1, k: [1]}
"""


def write(folder: Path, answer: str = "2") -> Path:
    (folder / "rows").mkdir(parents=True)
    write_lines(folder / "rows" / "train.jsonl", [{"question": "1+1?", "answer": answer}])
    write_lines(folder / "rows" / "test.jsonl", [{"question": "2+2?", "answer": "4"}])
    (folder / "mine.yaml").write_text(RECIPE)
    return folder / "mine.yaml"


def ids(recipe: Path, *overrides: str) -> list[str]:
    return [stage.id for stage in bind(load_recipe(recipe, overrides)).plan.stages]


def test_files_are_found_beside_the_recipe_and_workers_get_whole_paths(tmp_path, monkeypatch):
    recipe = write(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    task = bind(load_recipe(recipe)).tasks["own"]
    assert task.problem("test", "own/all", 0).answer == "4"
    said = task_spec(task)["parameters"]["levels"]
    assert all(os.path.isabs(path) for path in (said["train"], *said["test"]))
    assert find_task(str(recipe), None, []).problem("train", "own/all", 0).answer == "2"


def test_an_identity_follows_what_is_in_the_files_and_not_where_they_lie(tmp_path):
    recipe = write(tmp_path / "a")
    before = ids(recipe)
    assert ids(write(tmp_path / "elsewhere")) == before
    absolute = tmp_path / "a" / "rows" / "train.jsonl"
    assert ids(recipe, f"tasks.own.levels.train={absolute}") == before
    assert not set(ids(write(tmp_path / "b", answer="3"))) & set(before)


def test_the_resolved_recipe_keeps_paths_as_they_were_written(tmp_path):
    loaded = load_recipe(write(tmp_path / "a"))
    assert bind(loaded).loaded.resolved["tasks"]["own"]["levels"]["train"] == "rows/train.jsonl"


def test_a_file_that_is_not_there_is_named_with_where_it_was_looked_for(tmp_path):
    recipe = write(tmp_path / "a")
    message = r"levels\.test\[0\] 'rows/tset\.jsonl': there is no such file .*looked for .*did you mean 'rows/test"
    with pytest.raises(TaskError, match=message):
        ids(recipe, "tasks.own.levels.test=[rows/tset.jsonl]")
    with pytest.raises(TaskError, match=r"tasks\.own\.levels\.train"):
        ids(recipe, "tasks.own.levels.train=3")


def test_an_overlap_is_refused_before_anything_starts(tmp_path):
    recipe = write(tmp_path / "a")
    with pytest.raises(TaskError, match=r"1 of the 1 questions of 'train' and 1 of the 1 of 'test' are the same"):
        ids(recipe, "tasks.own.levels.test=rows/train.jsonl")
