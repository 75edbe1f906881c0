"""What an evaluation records of its problems beside the problems themselves, for reports on where it goes wrong."""

import json
from types import SimpleNamespace

import pytest

from rlreason.records import RunFolder, read_table
from rlreason.stages.evaluate import Asked, write_problems, write_trained_paths
from rlreason.tasks.complementary.task import Complementary
from rlreason.tasks.functions.task import Functions

SMALL = {"people": 12, "parametric_relations": 4, "contextual_relations": 4, "hops": {1: 1, 2: 1}}


@pytest.fixture
def written(tmp_path):
    """A task and cells -> the tables that an evaluation of two problems a cell at level iid writes."""

    def write(task, *cells):
        folder = RunFolder(tmp_path)
        context = SimpleNamespace(folder=folder, task=lambda name: task)
        stage = SimpleNamespace(id="evaluate-1", config=SimpleNamespace(task=None))
        items = [Asked(task.problem("iid", cell, number), "iid", probe=False) for cell in cells for number in range(2)]
        write_problems(context, stage, items)
        write_trained_paths(context, stage, items)
        return read_table(folder, "problems"), read_table(folder, "trained_paths")

    return write


def test_gold_steps_are_the_steps_of_the_target(written):
    task = Complementary("people", Complementary.Parameters(**SMALL))
    problems, _ = written(task, "complementary/2", "parametric/1")
    details = [json.loads(detail) for detail in problems["detail"]]
    assert [detail["gold_steps"] for detail in details] == [2, 2, 1, 1]
    assert [len(detail["path"]) for detail in details] == [2, 2, 1, 1]


def test_trained_paths_are_those_that_training_problems_of_the_cell_ask_for(written):
    task = Complementary("people", Complementary.Parameters(**SMALL))
    _, paths = written(task, "complementary/2")
    recorded = {tuple(path) for path in paths["path"]}
    assert set(paths["cell"]) == {"complementary/2"}
    asked = {
        level: {tuple(task.problem(level, "complementary/2", number).detail["path"]) for number in range(80)}
        for level in ("train", "iid", "composition", "zero_shot")
    }
    assert asked["train"] | asked["iid"] <= recorded
    assert recorded.isdisjoint(asked["composition"] | asked["zero_shot"])


def test_a_task_without_paths_records_none(written):
    task = Functions("strings", Functions.Parameters(depths=(2,)))
    problems, paths = written(task, "composite/2")
    assert len(paths) == 0
    assert [json.loads(detail)["gold_steps"] for detail in problems["detail"]] == [2, 2]
