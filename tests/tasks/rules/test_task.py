import itertools
import re

import pytest

from rlreason.errors import TaskError
from rlreason.tasks import build_task, task_spec

NAMES = ("rule90", "operators", "modular", "grammar")
TASKS = {rule: build_task(rule, "rules", {"rule": rule}) for rule in NAMES}


@pytest.mark.parametrize("rule", NAMES)
def test_a_task_rebuilt_from_its_spec_gives_the_same_problems(rule):
    again = build_task(**task_spec(TASKS[rule]))
    for cell in again.cells:
        assert again.problem("train", cell.name, 11) == TASKS[rule].problem("train", cell.name, 11)
    other = build_task(rule, "rules", {"rule": rule, "world_seed": 1})
    assert other.problem("train", cell.name, 11).prompt != again.problem("train", cell.name, 11).prompt


@pytest.mark.parametrize("rule", NAMES)
def test_train_validation_and_iid_share_no_question(rule):
    task = TASKS[rule]
    for cell in task.cells:
        prompts = [
            {task.problem(level, cell.name, index).prompt for index in range(150)}
            for level in ("train", "validation", "iid")
        ]
        assert len(set.union(*prompts)) == sum(map(len, prompts))


@pytest.mark.parametrize("rule", NAMES)
def test_words_cover_every_text_of_every_level(rule):
    task, known = TASKS[rule], set(TASKS[rule].words())
    for level in ("train", "zero_shot"):
        for index in range(40):
            cell = task.cells[-1].name if rule != "rule90" else "rule90/1"
            problem = task.problem(level, cell, index)
            assert set(re.sub(r"([:,])(?= |$)", r" \1", problem.prompt + problem.target).split()) <= known


@pytest.mark.parametrize("rule", NAMES)
def test_each_cell_needs_the_next_smaller(rule):
    cells = TASKS[rule].cells
    assert cells[0].prerequisites == ()
    assert all(cell.prerequisites == (before.name,) for before, cell in itertools.pairwise(cells))
    assert 0 < TASKS[rule].chance("iid", cells[-1].name) <= TASKS[rule].chance("iid", cells[0].name) < 0.1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "rule is missing: rule90, operators"),
        ({"rule": "rule9"}, "did you mean 'rule90'"),
        ({"rule": ["rule90"]}, "not one of rule90"),
        ({"rule": "modular", "width": 20}, "width belongs to rule 'rule90', but rule is 'modular'; drop it"),
        ({"rule": "rule90", "width": 4}, "width 4: .*greater than or equal to 5"),
        ({"rule": "rule90", "sizes": [7]}, r"sizes \[7\]: rule 'rule90' takes different sizes from 1 to 6"),
        ({"rule": "grammar", "sizes": [1, 1]}, "different sizes from 1 to 7"),
        ({"rule": "operators", "sizes": []}, "at least one"),
        ({"rule": "operators", "lrgest": 50}, "did you mean 'largest'"),
        ({"rule": "operators", "iid_share": 1}, "iid_share 1"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(parameters, message):
    with pytest.raises(TaskError, match=message):
        build_task("it", "rules", parameters)
