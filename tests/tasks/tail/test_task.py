"""The TAIL task as recipes see it: cells, levels, splits, wordings, forms, words, and what is refused."""

import json
from itertools import pairwise

import pytest

from rlreason.errors import TaskError
from rlreason.tasks import build_task, task_spec
from rlreason.tasks.tail.algorithms import ALGORITHMS
from rlreason.tasks.tail.notation import MARKS
from rlreason.tasks.tail.parameters import WORDINGS
from rlreason.tasks.tail.task import LEVELS
from rlreason.tasks.tail.text import canonical

NAMES = pytest.mark.parametrize("name", ALGORITHMS)


def tail(**parameters):
    return build_task("tail", "tail", parameters)


def test_a_cell_is_an_algorithm_at_a_size_and_needs_the_shorter_one():
    task = tail(algorithm=["addition", "lcs"])
    assert [cell.name for cell in task.cells] == [f"{name}/{size}" for name in ("addition", "lcs") for size in "sml"]
    assert [cell.difficulty for cell in task.cells] == [1, 2, 3] * 2
    assert [cell.prerequisites for cell in task.cells[:3]] == [(), ("addition/s",), ("addition/m",)]
    assert [cell.name for cell in task.match_cells(["*/s"])] == ["addition/s", "lcs/s"]


@NAMES
def test_problems_have_the_size_of_their_cell_or_of_their_level(name: str):
    task, sizes = tail(algorithm=name), ALGORITHMS[name].sizes
    asked = {("train", "s"): "s", ("iid", "m"): "m", ("medium", "s"): "m", ("long", "s"): "l", ("long", "m"): "l"}
    for (level, cell), size in asked.items():
        numbers = [task.problem(level, f"{name}/{cell}", index).detail["size"] for index in range(5)]
        low, high = sizes[size]
        assert all(low <= number <= high for number in numbers), (level, cell)


@NAMES
def test_no_input_is_in_two_parts(name: str):
    # small sizes, so that every input is drawn many times over
    task = tail(algorithm=name, question_wordings=3, iid_share=0.3, longer_share=0.2, validation_share=0.1)
    seen: dict[str, set[str]] = {}
    for level in LEVELS:
        for cell in task.cells:
            try:
                task.problem(level, cell.name, 0)
            except TaskError:
                continue
            given = (task.problem(level, cell.name, index).detail["given"] for index in range(25))
            seen.setdefault(level, set()).update(json.dumps(one, sort_keys=True) for one in given)
    assert list(seen) == list(LEVELS)
    parts = [seen["train"], seen["validation"], seen["iid"], seen["medium"] | seen["long"]]
    assert all(not one & other for index, one in enumerate(parts) for other in parts[index + 1 :])


def test_an_input_and_its_twin_are_in_the_same_part():
    task = tail(sizes={"s": [1, 1], "m": [2, 2], "l": [3, 3]})
    levels = {"train": set(), "iid": set()}
    for level, pairs in levels.items():
        for index in range(400):
            given = task.problem(level, "addition/s", index).detail["given"]
            pairs.add((given["first"], given["second"]))
    assert len(levels["train"]) > 40 and len(levels["iid"]) > 3
    assert not {(second, first) for first, second in levels["iid"]} & levels["train"]


def test_a_part_without_any_input_is_refused_with_a_remedy():
    # sums of two digits: 55 inputs, of which a share of 0.001 holds none
    task = tail(sizes={"s": [1, 1]}, iid_share=0.001)
    with pytest.raises(TaskError, match=r"n = 1 to 1 has no input for level 'iid' .*raise iid_share"):
        task.problem("iid", "addition/s", 0)


def test_a_policy_trained_on_a_cell_is_asked_longer_problems_only():
    task = tail()
    with pytest.raises(TaskError, match=r"cell 'addition/m' has no level 'medium'.*'addition/s'"):
        task.problem("medium", "addition/m", 0)
    with pytest.raises(TaskError, match=r"cell 'addition/l' has no level 'long'"):
        task.problem("long", "addition/l", 0)


@NAMES
def test_there_are_25_wordings_of_every_question_and_its_words_are_known(name: str):
    task = tail(algorithm=name, question_wordings=WORDINGS)
    words, asked = set(task.words()), set()
    for index in range(400):
        problem = task.problem("train", f"{name}/s", index)
        values = problem.detail["given"]
        assert set(canonical(problem.prompt + problem.target).split()) <= words
        asked.add(wording(problem.prompt, values))
    assert len(asked) >= 20


def wording(prompt: str, given: dict) -> tuple[str, ...]:
    """The words of a prompt that are no value of its input."""
    values = set(canonical(json.dumps(given)).split())
    return tuple(word for word in canonical(prompt).split() if word not in values and not word.isdigit())


def test_the_first_wordings_are_the_plainest_and_the_words_are_those_in_use():
    plain = tail(algorithm="addition")
    assert {wording(plain.problem("train", "addition/s", index).prompt, {}) for index in range(20)} == {
        ("Question", ":", "What", "is", "+", "?", "Answer", ":")
    }
    assert "sum" in plain.words() and "plus" not in plain.words()
    assert "plus" in tail(question_wordings=4).words()


@NAMES
def test_every_choice_of_modules_and_forms_writes_derivations_that_check(name: str):
    modules = ["linear_expansion", "atomic_state", "tape_review"]
    choices = [[other for other in modules if other != one] for one in modules]
    lengths = []
    for form in ALGORITHMS[name].forms:
        for some in [modules, *choices, []] if form != "reversed_digits" else [[]]:
            task = tail(algorithm=name, modules=some, form=form)
            words = set(task.words())
            targets = []
            for index in range(8):
                problem = task.problem("long", f"{name}/s", index)
                assert task.check(problem, problem.target).derivation_correct
                assert set(canonical(problem.prompt + problem.target).split()) <= words
                targets.append(len(problem.target))
            lengths.append((form, len(some), sum(targets)))
    full = lengths[0][2]
    assert all(total < full for form, count, total in lengths if form == "plain" and count < 3)


def test_baselines_write_the_answer_alone_in_their_notation():
    for form, prompt, answer in (
        ("index_hint", "What is bak 7 + bak 5 ?", "bek 1 bak 2"),
        ("reversed_digits", "What is 7 + 5 ?", "2 1"),
    ):
        task = tail(form=form, modules=[], sizes={"s": [1, 1]})
        problems = (task.problem(level, "addition/s", index) for index in range(900) for level in LEVELS[:3])
        found = next(one for one in problems if one.detail["given"] == {"first": 7, "second": 5})
        assert found.prompt == f"Question: {prompt} Answer:"
        assert found.target == f"\nSo, the answer is: {answer}"
        assert task.check(found, found.target).derivation_correct


def test_chance_is_of_the_better_guesser():
    task = tail(algorithm=["compare_numbers", "addition", "bubble_sort"])
    assert 1 / 3 <= task.chance("iid", "compare_numbers/s") < 0.45
    assert task.chance("long", "addition/s") < 1e-39
    assert task.chance("iid", "bubble_sort/s") == pytest.approx((1 / 2 + 1 / 6 + 1 / 24) / 3)
    assert task.answer_space("medium", "bubble_sort/s") == 720  # six numbers in any order
    assert task.answer_space("iid", "compare_numbers/l") == 3


def test_longer_problems_have_longer_derivations():
    for name in ALGORITHMS:
        task = tail(algorithm=name)
        means = []
        for level in ("iid", "medium", "long"):
            lengths = [len(task.problem(level, f"{name}/s", index).target) for index in range(40)]
            means.append(sum(lengths) / len(lengths))
        if name != "prime_search":  # a larger number has more divisors to try, but not many more
            assert all(longer > shorter for shorter, longer in pairwise(means)), name


def test_a_spec_that_travelled_as_json_builds_the_same_task():
    task = tail(algorithm="knapsack", modules=["atomic_state"], sizes={"s": [2, 2]}, question_wordings=7)
    again = build_task(**json.loads(json.dumps(task_spec(task))))
    assert again.problem("long", "knapsack/s", 4) == task.problem("long", "knapsack/s", 4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"algorithm": "adition"}, "'adition' is not one of .*did you mean 'addition'"),
        ({"algorithm": ["lcs", "lcs"]}, "'lcs' is listed twice"),
        ({"algorithm": []}, "algorithm"),
        ({"modules": ["atomic_states"]}, "'atomic_states' is not one of .*did you mean 'atomic_state'"),
        ({"modules": [["x"]]}, "is not one of"),
        ({"sizes": {"l": [41, 400]}}, "size l of 'addition' is 41 to 400; it must lie within 1 and 99"),
        ({"sizes": {"s": [10, 35]}}, "size m of 'addition' is 31 to 40; .*above 35.*give sizes of all"),
        ({"sizes": {"s": [9, 8]}}, "size s of 'addition' is 9 to 8"),
        ({"sizes": {"xl": [9, 12]}}, "'s', 'm' or 'l'"),
        ({"algorithm": "dijkstra", "form": "index_hint"}, "'index_hint' does not fit algorithm 'dijkstra'"),
        ({"algorithm": "lcs", "form": "reversed_digits", "modules": []}, "it is for addition, division, compare"),
        ({"form": "reversed_digits"}, r"set modules: \[\]"),
        ({"iid_share": 0.5, "longer_share": 0.45}, "leave no inputs for training"),
        ({"question_wordings": 26}, "less than or equal to 25"),
    ],
)
def test_impossible_parameters_are_named(parameters: dict, message: str):
    with pytest.raises(TaskError, match=message):
        tail(**parameters)


def test_an_unknown_cell_or_level_names_those_there_are():
    task = tail()
    with pytest.raises(TaskError, match=r"'addition/xl' is not one of addition/s, .*did you mean"):
        task.problem("train", "addition/xl", 0)
    with pytest.raises(TaskError, match=r"'longer' is not one of .*did you mean 'long'"):
        task.problem("longer", "addition/s", 0)


MARKED = {"form": "index_hint", "marks": 12, "sizes": {"s": [2, 4], "m": [5, 8], "l": [9, 12]}}


def test_marks_begin_anywhere_so_that_short_problems_have_those_of_long_ones():
    task = tail(algorithm="count_letters", **MARKED)
    first: dict[int, set[str]] = {}
    for index in range(400):
        problem = task.problem("train", "count_letters/s", index)
        row = problem.prompt.partition("occur in ")[2].split()[0:-2:2]
        size = problem.detail["size"]
        start = MARKS.index(row[0])
        assert row == list(MARKS[start : start + size]) and start + size <= 12
        assert task.check(problem, problem.target).derivation_correct
        first.setdefault(size, set()).add(row[0])
    # a row of n has room to begin at 13 - n of the 12 marks, and begins at every one of them
    assert {size: len(found) for size, found in first.items()} == {2: 11, 3: 10, 4: 9}


def test_where_marks_begin_is_the_same_whatever_modules_a_derivation_has():
    whole, bare = (tail(algorithm="count_letters", **MARKED, **more) for more in ({}, {"modules": ["atomic_state"]}))
    for index in range(20):
        one, other = (task.problem("long", "count_letters/s", index) for task in (whole, bare))
        assert one.prompt == other.prompt


@pytest.mark.parametrize("name", [name for name, found in ALGORITHMS.items() if "index_hint" in found.forms])
def test_no_algorithm_has_more_places_than_its_size_has_marks_and_a_sum_one_more(name: str):
    longest = ALGORITHMS[name].limits[1]
    low, _ = ALGORITHMS[name].sizes["s"]
    sizes = {"s": [low, low + 1], "m": [low + 2, low + 3], "l": [low + 4, min(low + 6, longest)]}
    task = tail(algorithm=name, form="index_hint", marks=sizes["l"][1], sizes=sizes)
    for level in ("train", "long"):
        for index in range(20):
            problem = task.problem(level, f"{name}/s", index)
            used = [MARKS.index(word) for word in (problem.prompt + problem.target).split() if word in MARKS]
            assert max(used, default=0) < sizes["l"][1] + (name == "addition")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"marks": 12}, "marks 12 is for form index_hint, and form is 'plain'"),
        ({**MARKED, "marks": 11}, "marks 11 are too few for size l of 'count_letters', which is up to 12"),
    ],
)
def test_marks_that_cannot_be_used_or_do_not_suffice_are_refused(parameters: dict, message: str):
    with pytest.raises(TaskError, match=message):
        tail(algorithm="count_letters", **parameters)
