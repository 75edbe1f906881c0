"""What every task type promises, held against all of them: gold derivations, faults, splits, determinism, guessers.

A new type is added to `SPECS`; the first test fails until it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from math import sqrt

import pytest

from rlreason.errors import TaskError
from rlreason.rewards import builtin
from rlreason.tasks import Task, build_task, task_types
from rlreason.tasks.tail.algorithms import ALGORITHMS
from rlreason.types import Problem
from tests.tasks.own_files import chain_files

SPECS: dict[str, dict] = {
    "complementary": {"type": "complementary"},
    "lookup": {"type": "lookup"},
    "functions": {"type": "functions"},
    "files": {"type": "files", "levels": chain_files(), "columns": {"derivation": "way"}, "grade": "number"},
    **{f"rules-{rule}": {"type": "rules", "rule": rule} for rule in ("rule90", "operators", "modular", "grammar")},
    **{f"tail-{name}": {"type": "tail", "algorithm": name} for name in ALGORITHMS},
    "wason": {"type": "wason"},
}
FROM_ELSEWHERE = {"verifiers", "reasoning_gym"}
"""Types whose problems other people wrote, without gold derivations; tests of their own hold them to what they say."""
EVERY = pytest.mark.parametrize("name", SPECS)
WORD = re.compile(r"\w+")

PARTLY_ORDERED = {"rules-grammar"}
"""Derivations with two branches, either of which may be told first: a step left out is missed where it is needed, and
two steps that do not need each other may change places."""
CHOSEN = {"wason"}
"""Steps that are choices: another one may be as good as the one it stands for, but none before it is blamed."""


@cache
def task_of(name: str) -> Task:
    parameters = dict(SPECS[name])
    return build_task("task", parameters.pop("type"), parameters)


def problems(name: str, level: str, cell: str, count: int) -> list[Problem]:
    """The first problems; none where the cell has no such level."""
    try:
        return [task_of(name).problem(level, cell, index) for index in range(count)]
    except TaskError:
        return []


def small_cells(name: str) -> list[str]:
    """For faults and guessers: of a tail task the shortest cell, of others all."""
    return [cell.name for cell in task_of(name).cells if not name.startswith("tail") or cell.difficulty == 1]


def test_every_registered_type_is_held_against_the_contract():
    assert set(task_types()) - FROM_ELSEWHERE <= {spec["type"] for spec in SPECS.values()}


@EVERY
def test_a_gold_derivation_earns_everything(name: str):
    task, judged = task_of(name), 0
    for level in task.levels:
        for cell in task.cells:
            for problem in problems(name, level, cell.name, 3):
                check = task.check(problem, problem.target)
                assert (problem.level, problem.cell, problem.task) == (level, cell.name, "task")
                assert (check.answer, check.answer_correct, check.derivation_correct) == (problem.answer, True, True)
                assert {(step.verdict, step.kind, step.score) for step in check.steps} <= {("right", "", 1.0)}
                assert (check.first_error, check.first_error_kind) == (None, "")
                for reward in (builtin.answer, builtin.derivation, builtin.format):
                    assert reward(problem, problem.target, check) == 1.0
                judged += 1
    assert judged >= 3 * len(task.cells)


def faults(problem: Problem, spans: list[tuple[int, int]], others: list[str], rng: random.Random) -> Iterator:
    """(what was done, text, index of the first step that is not right), for every step."""
    gold = problem.target
    steps = [gold[start:end] for start, end in spans]
    for index, (start, end) in enumerate(spans):
        before, step, after = gold[:start], steps[index], gold[end:]
        yield "left out", before.rstrip() + after, index
        gap = gold[spans[index - 1][1] if index else 0 : start]
        yield "said twice", before + step + gap + step + after, index + 1
        foreign = rng.choice([other for other in others if other != step and other not in steps])
        yield "from another problem", before + foreign + after, index
        if index + 1 < len(spans):
            following, rest = spans[index + 1], steps[index + 1]
            yield "after the next", before + rest + gold[end : following[0]] + step + gold[following[1] :], index
        words = list(WORD.finditer(step))
        for word in rng.sample(words, min(3, len(words))):
            said = {other.group() for other in WORD.finditer(gold) if other.group().isdigit() == word.group().isdigit()}
            for other in rng.sample(sorted(said - {word.group()}), 1 if len(said) > 1 else 0):
                changed = step[: word.start()] + other + step[word.end() :]
                yield f"{word.group()} made {other}", before + changed + after, index
        for word in rng.sample(words, min(2, len(words))):
            known = set(WORD.findall(problem.prompt + gold))
            new = [other for line in others for other in WORD.findall(line) if other not in known]
            for other in [other for other in rng.sample(new, len(new)) if other.isdigit() == word.group().isdigit()][
                :1
            ]:
                changed = step[: word.start()] + other + step[word.end() :]
                yield f"{word.group()} made {other}, which nobody gave", before + changed + after, index
        pairs = [(one, two) for one in words for two in words if one.start() < two.start()]
        pairs = [(one, two) for one, two in pairs if one.group() != two.group()]
        for one, two in rng.sample(pairs, min(3, len(pairs))):
            middle = step[one.end() : two.start()]
            swapped = step[: one.start()] + two.group() + middle + one.group() + step[two.end() :]
            yield f"{one.group()} and {two.group()} swapped", before + swapped + after, index


@EVERY
def test_a_fault_is_found_at_the_step_where_it_is(name: str):
    task, rng = task_of(name), random.Random(0)
    for cell in small_cells(name):
        drawn = problems(name, "train", cell, 6)
        derivations = [[(step.start, step.end) for step in task.check(one, one.target).steps] for one in drawn]
        others = [one.target[a:b] for one, spans in zip(drawn, derivations, strict=True) for a, b in spans]
        for problem, spans in zip(drawn, derivations, strict=True):
            for done, text, position in faults(problem, spans, others, rng):
                check = task.check(problem, text)
                if name in PARTLY_ORDERED and done == "after the next":
                    continue
                if name in CHOSEN and done not in ("left out", "said twice"):
                    assert check.first_error is None or check.first_error >= position
                    continue
                assert not check.derivation_correct, (cell, done, text)
                missed_later = name in PARTLY_ORDERED and done == "left out" and check.first_error > position
                assert check.first_error == position or missed_later, (cell, done, check.first_error, position, text)


@EVERY
def test_no_question_is_at_two_levels(name: str):
    task = task_of(name)
    seen: dict[str, str] = {}
    ids: set[str] = set()
    for level in task.levels:
        for cell in small_cells(name):
            for problem in problems(name, level, cell, 80):
                assert seen.setdefault(problem.prompt, level) == level, problem.prompt
                assert problem.id not in ids
                ids.add(problem.id)


DIGEST = """
import hashlib, json, sys
from rlreason.tasks import build_task
for name, spec in json.load(sys.stdin).items():
    task, digest = build_task("task", spec.pop("type"), spec), hashlib.sha256()
    for cell in task.cells:
        for index in (2, 0):
            digest.update(repr(task.problem("train", cell.name, index)).encode())
    digest.update(repr(list(task.words())).encode())
    print(name, digest.hexdigest())
"""


def test_problems_and_words_are_the_same_in_every_process_and_in_any_order():
    expected = []
    for name in SPECS:
        task, digest = task_of(name), hashlib.sha256()
        for cell in task.cells:
            drawn = problems(name, "train", cell.name, 3)
            for index in (2, 0):
                digest.update(repr(drawn[index]).encode())
        digest.update(repr(list(task.words())).encode())
        expected.append(f"{name} {digest.hexdigest()}")
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", DIGEST],
            input=json.dumps(SPECS),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.split("\n")[:-1] == expected


@EVERY
def test_the_answer_depends_on_the_question(name: str):
    task = task_of(name)
    for cell in small_cells(name):
        drawn = problems(name, "train", cell, 40)
        assert len({problem.prompt for problem in drawn}) > 10
        assert len({problem.answer for problem in drawn}) > 1
        # the answer of one is wrong for another
        one, other = next((one, two) for one in drawn for two in drawn if one.answer != two.answer)
        assert not task.check(one, other.target).answer_correct


def tolerance(chance: float, count: int) -> float:
    """Three standard errors of a share of `count`, and a little for what counts as near."""
    return 3 * sqrt(chance * (1 - chance) / count) + 0.03


def asked_level(name: str, cell: str) -> list[Problem]:
    return problems(name, "iid", cell, 120)


@EVERY
def test_the_most_frequent_answer_is_right_as_often_as_chance_says(name: str):
    task = task_of(name)
    for cell in small_cells(name):
        ((guess, _),) = Counter(problem.answer for problem in problems(name, "train", cell, 300)).most_common(1)
        asked = asked_level(name, cell)
        score = sum(problem.answer == guess for problem in asked) / len(asked)
        chance = task.chance("iid", cell)
        assert 0 < chance < 1 and score <= chance + tolerance(chance, len(asked)), (cell, score, chance)
        space = task.answer_space("iid", cell)
        assert space is None or space > 1


def features(prompt: str) -> set[tuple[str, str]]:
    """Words in pairs of neighbours."""
    words = WORD.findall(prompt)
    return set(pairwise(words))


@EVERY
def test_copying_from_the_most_similar_training_question_is_no_better_than_chance(name: str):
    task = task_of(name)
    for cell in small_cells(name):
        known = [(features(problem.prompt), problem.answer) for problem in problems(name, "train", cell, 300)]
        asked = asked_level(name, cell)
        right = 0
        for problem in asked:
            here = features(problem.prompt)
            _, copied = max(known, key=lambda one: len(one[0] & here) / len(one[0] | here))
            right += copied == problem.answer
        score, chance = right / len(asked), task.chance("iid", cell)
        assert score <= chance + tolerance(chance, len(asked)), (cell, score, chance)
