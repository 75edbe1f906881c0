import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlreason.errors import TaskError
from rlreason.tasks import task_spec
from rlreason.tasks.complementary import Complementary
from rlreason.tasks.complementary.chains import Chain
from rlreason.types import Problem
from tests.tasks.complementary.worlds import TWINS, complementary, pair, reverse_pair, reverse_path

FAMILIES = ("parametric", "contextual", "complementary")

worlds = st.fixed_dictionaries(
    {
        "people": st.integers(10, 40),
        "new_people": st.integers(0, 6),
        "world_seed": st.integers(0, 50),
        "parametric_relations": st.integers(4, 8),
        "contextual_relations": st.integers(4, 8),
        "parametric_values": st.integers(0, 2),
        "contextual_values": st.integers(0, 2),
        "hops": st.sampled_from([{1: 1, 2: 1}, {1: 1, 2: 1, 3: 2}, {2: 1, 3: 1}]),
        "contexts": st.sampled_from(["relation_unique", "strict"]),
        "context_facts": st.sampled_from(["fresh", "world"]),
        "distractors": st.integers(0, 1),
        "held_out_relations": st.integers(1, 2),
        "held_out_from": st.sampled_from(["composites", "all_questions"]),
        "held_out_paths": st.sampled_from([0.1, 0.3]),
        "held_out_starts": st.sampled_from([0.1, 0.3]),
        "validation_starts": st.sampled_from([0.05, 0.2]),
        "question_templates": st.integers(1, 4),
        "wording": st.just("sentences"),
        "sentence_templates": st.integers(1, 5),
    }
) | st.fixed_dictionaries(
    {
        "people": st.integers(10, 40),
        "parametric_relations": st.integers(4, 8),
        "contextual_relations": st.integers(4, 8),
        "parametric_values": st.integers(0, 2),
        "contextual_values": st.integers(0, 2),
        "hops": st.just({1: 1, 2: 1, 3: 1}),
        "distractors": st.integers(0, 1),
        "contexts": st.just("relation_unique"),
        "held_out_from": st.just("composites"),
        "held_out_relations": st.just(1),
        "wording": st.just("triples"),
    }
)


def built(parameters: dict[str, Any]) -> Complementary:
    try:
        return complementary(**parameters)
    except TaskError:
        assume(False)
        raise


def problems(task: Complementary, level: str, cell: str) -> Iterator[Problem]:
    return (task.problem(level, cell, index) for index in count())


def asked(task: Complementary, level: str, cell: str, number: int) -> list[Problem]:
    """Up to `number` problems; none where the level is (rightly) refused for this cell or turned out empty."""
    try:
        return list(islice(problems(task, level, cell), number))
    except TaskError:
        return []


def fixed(task: Complementary, problem: Problem) -> bool:
    return task.parameters.context_facts == "world" or "contextual" not in problem.detail["groups"]


@settings(max_examples=25)
@given(parameters=worlds, family=st.sampled_from(FAMILIES), position=st.integers(0, 2))
def test_levels_keep_their_promises(parameters: dict[str, Any], family: str, position: int):
    task = built(parameters)
    cells = [cell.name for cell in task.cells if cell.family == family]
    cell = cells[position % len(cells)]
    train = asked(task, "train", cell, 400)
    assume(train)
    paths = {tuple(problem.detail["path"]) for problem in train}
    pairs = {pair(problem) for problem in train}
    prompts = {problem.prompt for problem in train}
    stream = problems(task, "train", cell)

    for level in ("iid", "validation"):
        for problem in asked(task, level, cell, 15):
            path = tuple(problem.detail["path"])
            while path not in paths:  # rare paths need more than 400 draws to be seen
                paths.add(tuple(next(stream).detail["path"]))
            assert pair(problem) not in pairs
            assert not fixed(task, problem) or reverse_pair(problem) not in pairs
            assert problem.prompt not in prompts
    validation = {pair(problem) for problem in asked(task, "validation", cell, 15)}
    assert validation.isdisjoint(pair(problem) for problem in asked(task, "iid", cell, 15))

    trained = {name for path in paths for name in path}
    for problem in asked(task, "composition", cell, 15):
        path = problem.detail["path"]
        while not trained.issuperset(path):
            trained.update(next(stream).detail["path"])
        assert tuple(path) not in paths
        assert tuple(reverse_path(path) or path) not in paths
        assert problem.prompt not in prompts

    for problem in asked(task, "zero_shot", cell, 15):
        assert not trained.issuperset(problem.detail["path"])
        assert problem.prompt not in prompts


@settings(max_examples=25)
@given(parameters=worlds)
def test_held_out_relations_are_asked_for_in_zero_shot_only_and_neither_are_their_twins(parameters: dict[str, Any]):
    task = built(parameters)
    families = FAMILIES if task.parameters.held_out_from == "all_questions" else FAMILIES[2:]
    unseen: set[str] = set()
    cells = [cell.name for cell in task.cells if cell.family in families]
    for cell in cells:
        for problem in asked(task, "zero_shot", cell, 20):
            unseen.update(task.held_out.intersection(problem.detail["path"]))
    unseen |= {TWINS[name] for name in unseen}
    for cell in cells:
        for problem in asked(task, "train", cell, 150):
            assert unseen.isdisjoint(problem.detail["path"])
            target_words = set(re.findall(r"\w+", problem.target))
            assert unseen.isdisjoint(target_words)
    for group in ("parametric", "contextual"):
        held = [name for name in task.held_out if task.relations.groups[name] == group]
        assert parameters["held_out_relations"] <= len(held) <= parameters["held_out_relations"] + 1


def test_held_out_relations_are_still_told_in_biographies_and_contexts():
    task = complementary(held_out_from="all_questions")
    texts = " ".join(task.text(index) for index in range(32))
    contexts = " ".join(task.problem("train", "complementary/2", index).prompt for index in range(200))
    for name in task.held_out:
        assert name in (texts if task.relations.groups[name] == "parametric" else contexts).split()


@settings(max_examples=40)
@given(parameters=worlds, position=st.integers(0, 7), index=st.integers(0, 10**9))
def test_gold_derivations_are_right_and_visit_nobody_twice(parameters: dict[str, Any], position: int, index: int):
    task = built(parameters)
    cell = task.cells[position % len(task.cells)]
    for level in task.levels:
        try:
            problem = task.problem(level, cell.name, index)
        except TaskError:
            continue
        check = task.check(problem, problem.target)
        assert check.derivation_correct and check.answer == problem.answer
        assert len(check.steps) == cell.difficulty == problem.detail["hops"]
        visited = problem.detail["visited"]
        assert len(set(visited)) == len(visited) and visited[-1] == problem.answer
        groups = {"parametric", "contextual"} if cell.family == "complementary" else {cell.family}
        assert set(problem.detail["groups"]) == groups
        assert json.loads(json.dumps(problem.detail)) == problem.detail
        spoken = re.findall(r"\w+|[^\w\s]", problem.prompt + problem.target)
        assert set(spoken) <= set(task.words())
        if task.parameters.contexts == "relation_unique":
            assert len(set(problem.detail["path"])) == cell.difficulty


def test_a_problem_written_out():
    problem = complementary().problem("train", "complementary/2", 0)
    start, middle, end = problem.detail["visited"]
    first, second = problem.detail["path"]
    assert problem.id == "train/complementary-2/0"
    assert problem.prompt.endswith(f". Question: Who is the {second} of the {first} of {start}? Answer:")
    assert problem.target == (
        f" The {first} of {start} is {middle}. The {second} of {middle} is {end}. So, the answer is: {end}"
    )
    assert not problem.prompt.startswith(" ")


def test_triples_tell_the_same_facts_in_three_words():
    plain = complementary().problem("train", "complementary/2", 0)
    problem = complementary(wording="triples").problem("train", "complementary/2", 0)
    start, middle, end = problem.detail["visited"]
    first, second = problem.detail["path"]
    assert problem.detail == plain.detail
    assert problem.target == f" {start} {first} {middle}. {middle} {second} {end}. So, the answer is: {end}"
    told = "".join(f"{head} {relation} {tail}. " for head, relation, tail in problem.detail["facts"])
    assert problem.prompt == f"{told}Question: Who is the {second} of the {first} of {start}? Answer:"
    assert complementary().check(plain, problem.target).derivation_correct  # the checker reads every form


def test_problems_are_the_same_in_any_order_and_in_any_process():
    code = (
        "import hashlib, json, sys\n"
        "from rlreason.tasks import build_task\n"
        "task = build_task(**json.loads(sys.argv[1]))\n"
        "keys = [(level, cell.name, i) for level in task.levels for cell in task.cells for i in (0, 7)\n"
        "        if cell.family == 'complementary']\n"
        "text = ''.join(repr(task.problem(*key)) for key in keys) + task.text(5) + ' '.join(task.words())\n"
        "print(hashlib.sha256(text.encode()).hexdigest())\n"
    )
    task = complementary(hops={2: 1, 3: 1, 5: 1}, contexts="strict", parametric_values=12, contextual_values=11)
    cells = [cell.name for cell in task.cells if cell.family == "complementary"]
    keys = [(level, cell, index) for level in task.levels for cell in cells for index in (0, 7)]
    made = {key: task.problem(*key) for key in reversed(keys)}
    text = "".join(repr(made[key]) for key in keys) + task.text(5) + " ".join(task.words())
    spec = json.dumps(task_spec(task))
    others = [
        subprocess.run(
            [sys.executable, "-c", code, spec],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert others == [hashlib.sha256(text.encode()).hexdigest()] * 2


def test_the_world_seed_changes_world_and_problems():
    one, two = complementary(world_seed=1), complementary(world_seed=2)
    assert one.world.everyone != two.world.everyone
    assert one.problem("train", "complementary/2", 0).prompt != two.problem("train", "complementary/2", 0).prompt


def test_biographies_tell_all_parametric_facts_of_a_person_and_no_other():
    task = complementary(people=9, new_people=3, parametric_values=2, contextual_values=1)
    task_tails = task.world.tails
    for index, person in enumerate(task.world.known):
        facts = {f"The {name} of {person} is {tails[person]}." for name, tails in task_tails.items() if person in tails}
        assert set(task.text(index).replace(". ", ".|").split("|")) == facts
    assert task.text(0) != task.text(9) and sorted(task.text(0)) == sorted(task.text(9))  # another order


def test_cells_and_prerequisites():
    task = complementary(hops={1: 3, 2: 1, 3: 1})
    needs = {cell.name: cell.prerequisites for cell in task.cells}
    assert list(needs) == [
        *(f"parametric/{hops}" for hops in (1, 2, 3)),
        *(f"contextual/{hops}" for hops in (1, 2, 3)),
        *(f"complementary/{hops}" for hops in (2, 3)),
    ]
    assert needs["parametric/1"] == () and needs["contextual/3"] == ("contextual/1",)
    assert needs["complementary/2"] == ("parametric/1", "contextual/1")
    assert needs["complementary/3"] == ("parametric/1", "parametric/2", "contextual/1", "contextual/2")
    assert task.cell_weights["parametric/1"] == 0.6 and task.cell_weights["complementary/2"] == 0.5
    only_two = {cell.name: cell.prerequisites for cell in complementary(hops={2: 1}).cells}
    assert only_two["complementary/2"] == ("parametric/2", "contextual/2") and only_two["parametric/2"] == ()


def test_chance_counts_the_answers_left_open():
    task = complementary()
    assert task.chance("train", "parametric/2") == pytest.approx(1 / 32)
    # a fact and two distractors name at most three people as tails, and at least one
    assert 1 / 3 <= task.chance("train", "contextual/1") < 0.5
    values = complementary(parametric_relations=2, parametric_values=12, hops={1: 1})
    # 2 relations to 32 people, 12 to one of 12 values: (2/32 + 12/12) / 14
    assert values.chance("train", "parametric/1") == pytest.approx(1.0625 / 14, abs=0.015)


@pytest.mark.parametrize(
    ("level", "cell", "message"),
    [
        ("zeroshot", "complementary/2", r"level of task 'people' 'zeroshot' is not one of .*did you mean 'zero_shot'"),
        ("train", "complementary/4", r"cell of task 'people' 'complementary/4' is not one of .*complementary/3"),
        ("composition", "parametric/1", "a path of one hop composes nothing"),
        ("zero_shot", "parametric/2", "set held_out_from: all_questions or ask for complementary cells"),
    ],
)
def test_what_a_cell_cannot_be_asked_is_refused_with_a_remedy(level: str, cell: str, message: str):
    with pytest.raises(TaskError, match=message):
        complementary().problem(level, cell, 0)


@pytest.mark.parametrize(
    ("changes", "level", "message"),
    [
        ({"held_out_relations": 0}, "zero_shot", "set held_out_relations to at least 1"),
        ({"held_out_paths": 0}, "composition", r"no problem at level 'composition'.*raise held_out_paths \(now 0"),
        ({"held_out_starts": 0}, "iid", r"no problem at level 'iid'.*raise held_out_starts \(now 0"),
        ({"validation_starts": 0}, "validation", "raise validation_starts"),
    ],
)
def test_an_empty_level_is_refused_when_first_asked(changes: dict[str, Any], level: str, message: str):
    with pytest.raises(TaskError, match=message):
        complementary(**changes).problem(level, "complementary/2", 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"held_out_relations": 5},
            r"held_out_relations: 5 .*none of the 5 parametric .*parametric_relations to at least 6",
        ),
        ({"parametric_relations": 1}, "leaves composite training none of the 1 parametric"),
        (
            {"parametric_relations": 2, "held_out_relations": 0},
            r"hops: no training path of 3 hops in cell 'parametric/3'.*raise parametric_relations.*or drop 3 from hops",
        ),
        (
            {"distractors": 3},
            "distractors 3 beside 3 contextual hops need 6 contextual relations.*there are 5.*at most 2",
        ),
        (
            {"contexts": "strict", "distractors": 40},
            "need 43 people, but there are 32; lower distractors or raise people",
        ),
        ({"wording": "triples", "sentence_templates": 2}, "wording 'triples' has one form.*sentence_templates is 2"),
        ({"wording": "triples", "name_words": 2}, "name_words is 2; leave both out"),
        ({"wording": "triples", "people": 500, "new_people": 15}, "more than the 514 names.*wording 'sentences'"),
        ({"people": 4, "hops": {1: 1, 4: 1}}, "people 4 are too few for 4 hops"),
        ({"held_out_starts": 0.6, "validation_starts": 0.4}, "their sum must be below 1"),
        ({"hops": {9: 1}}, r"tasks.people.hops.9 '?9'?: .*less than or equal to 8"),
        ({"hops": {}}, "hops: .*at least 1"),
        ({"hops": {2: 0}}, r"tasks.people.hops.2 0: .*greater than 0"),
    ],
)
def test_impossible_splits_are_refused_at_construction(changes: dict[str, Any], message: str):
    with pytest.raises(TaskError, match=message):
        complementary(**changes)


def test_too_few_names_are_refused_when_the_task_is_built():
    with pytest.raises(TaskError, match="set name_words: 2"):
        complementary(people=600, name_words=1)


def test_iid_paths_of_cells_too_large_to_list_have_a_training_start():
    # 8 people and 80% of the starts held out: of many five-hop paths every start is
    task = complementary(
        people=8, parametric_relations=8, parametric_values=12, hops={5: 1}, held_out_starts=0.8, contexts="strict"
    )
    maker = task._chain_maker
    for problem in asked(task, "iid", "parametric/5", 60):
        path, tails = tuple(problem.detail["path"]), task.world.tails
        buckets = set()
        for person in task.world.known:
            nodes = [person]
            for name in path:
                nodes.append(tails[name][nodes[-1]])
            if len(set(nodes)) == len(nodes):
                buckets.add(maker.bucket(Chain(path, tuple(nodes))))
        assert "train" in buckets
