import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.tasks import Task, build_task
from rlreason.tasks.equations import Checker, Execution
from rlreason.tasks.equations.checker import MAX_STEPS
from rlreason.types import Problem


def add(left: str) -> Execution | None:
    """Left sides are sums of two digits, "2 + 3"."""
    first, sign, second = [*left.split(), "", "", ""][:3]
    if sign != "+" or len(left.split()) != 3 or not (first.isdecimal() and second.isdecimal()):
        return None
    return Execution((first, second), str(int(first) + int(second)))


CHECKER = Checker(add)
# ((1 + 2) + 4) + 9
PROBLEM = Problem(
    id="train/sums-3/0",
    task="sums",
    cell="sums/3",
    level="train",
    prompt="",
    answer="16",
    target="",
    detail={"given": ["1", "2", "4", "9"], "equations": [["1 + 2", "3"], ["3 + 4", "7"], ["7 + 9", "16"]]},
)
ONE, TWO, THREE, END = "1 + 2 = 3 .", "3 + 4 = 7 .", "7 + 9 = 16 .", "So, the answer is: 16"


def check(*parts: str):
    return CHECKER.check(PROBLEM, " " + " ".join(parts))


def test_the_gold_derivation_is_right_at_every_step():
    result = check(ONE, TWO, THREE, END)
    assert (result.answer, result.answer_correct, result.derivation_correct) == ("16", True, True)
    assert [(step.verdict, step.kind, step.score) for step in result.steps] == [("right", "", 1.0)] * 3
    assert (result.first_error, result.first_error_kind) == (None, "")


def test_spans_cover_the_lines_and_spaces_do_not_matter():
    text = f"  1  + 2=3. {TWO}\n{THREE} So, the answer is:16."
    result = CHECKER.check(PROBLEM, text)
    assert [text[step.start : step.end] for step in result.steps] == ["1  + 2=3.", TWO, THREE]
    assert result.derivation_correct


@pytest.mark.parametrize(
    ("parts", "verdicts", "error", "kind"),
    [
        (["1 + 2 = 4 .", TWO, THREE, END], "wrong unsupported right", 0, "value"),
        ([ONE, "3 + 4 = 8 .", "8 + 9 = 17 .", END], "right wrong wrong", 1, "value"),
        ([TWO, ONE, THREE, END], "unsupported wrong right", 0, "order"),  # swapped
        ([ONE, THREE, END], "right unsupported", 1, "order"),  # skipped
        ([ONE, "4 + 3 = 7 .", TWO, THREE, END], "right wrong right right", 1, "order"),  # true, not asked for
        ([ONE, "4 + 3 = 8 .", TWO, THREE, END], "right wrong right right", 1, "value"),
        ([ONE, "6 + 3 = 9 .", TWO, THREE, END], "right unsupported right right", 1, "premise"),
        ([ONE, "6 + 3 = 8 .", TWO, THREE, END], "right unsupported right right", 1, "premise"),
        ([ONE, ONE, TWO, THREE, END], "right repeated right right", 1, "repeated"),
        ([ONE, TWO, THREE, "1 + 4 = 5 .", END], "right right right wrong", 3, "stop"),
        ([ONE, TWO, THREE, "5 + 4 = 9 .", END], "right right right unsupported", 3, "stop"),
        ([ONE, "3 plus 4 .", TWO, THREE, END], "right wrong right right", 1, "format"),
        ([ONE, "3 + 4 = 7 = 7 .", TWO, THREE, END], "right wrong right right", 1, "format"),
        ([ONE, TWO, END], "right right", 2, "stop"),  # ends early
        ([ONE, TWO, THREE], "right right right", 3, "stop"),  # no answer
        ([END], "", 0, "stop"),
        ([], "", 0, "stop"),
        ([ONE, TWO, THREE, "So, the answer is: 17"], "right right right", 3, "answer"),
        ([ONE, TWO, THREE, END + ".", "Or is it?"], "right right right wrong", 3, "stop"),
        ([ONE, "3 + 4"], "right wrong", 1, "format"),  # cut off
    ],
)
def test_each_fault_is_found_where_it_is(parts: list[str], verdicts: str, error: int, kind: str):
    result = check(*parts)
    assert " ".join(step.verdict for step in result.steps) == verdicts
    assert (result.first_error, result.first_error_kind) == (error, kind)
    assert not result.derivation_correct
    assert all((step.score == 1.0) == (step.verdict == "right") for step in result.steps)


def test_going_on_from_an_own_error_is_told_apart_from_inventing():
    result = check("1 + 2 = 4 .", "4 + 4 = 8 .", "5 + 4 = 9 .", "8 + 9 = 17 .")
    # 4 is given as well, so the second is about known numbers; 8 is its claim, and 5 is from nowhere
    assert [step.kind for step in result.steps] == ["value", "order", "premise", "carried"]
    assert [step.verdict for step in result.steps] == ["wrong", "wrong", "unsupported", "wrong"]


def test_a_right_answer_from_wrong_steps_is_told_apart():
    result = check("9 + 7 = 16 .", END)
    assert result.answer_correct and not result.derivation_correct


@given(st.text() | st.text(alphabet="0123 +=.\nSo,theanswris:") | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_hostile_text_is_judged_and_never_raises(text: str):
    for task in TASKS:
        problem = task.problem("train", task.cells[-1].name, 0)
        result = task.check(problem, text)
        assert not result.derivation_correct
        assert all(0 <= step.start < step.end <= len(text) for step in result.steps)


TASKS: list[Task] = [
    build_task("functions", "functions", {}),
    *(build_task(rule, "rules", {"rule": rule}) for rule in ("rule90", "operators", "modular", "grammar")),
]


@pytest.mark.parametrize(
    "text",
    [
        "." * 2_000_000,
        " = " * 1_000_000,
        "func_24 ( " + "a " * 480 + ") = a ." * 100,
        "func_14 ( " + "a " * 400 + ") = " * 100,
        ("next ( " + "0 1 " * 240 + ") = 1 . ") * 1_000,
        "9" * 3_000_000,
        ("9" * 400 + " fal " + "9" * 400 + " = 1 . ") * 1_000,
        "func_1 ( a , 9 ) = a . " * 100_000,
        "So, the answer is: " * 200_000,
        "\x00\ud800\U0001f600 = 1 ." * 50_000,
        "kiv dax ( __import__('os') , a ) = a .",
    ],
)
def test_huge_text_costs_little(text: str):
    for task in TASKS:
        problem = task.problem("train", task.cells[0].name, 0)
        begun = time.process_time()
        result = task.check(problem, text)
        assert time.process_time() - begun < 1.0
        assert not result.derivation_correct
        assert len(result.steps) <= 2 * MAX_STEPS


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("mutation", ["value", "skip", "swap", "invent", "repeat", "answer"])
def test_a_corrupted_step_of_a_real_problem_is_caught_at_its_position(task: Task, mutation: str):
    cell = max(task.cells, key=lambda cell: cell.difficulty)
    for index in range(25):
        problem = task.problem("train", cell.name, index)
        *lines, conclusion = problem.target.strip().split(" . ")
        place = index % len(lines)
        expected: tuple[int, str] = (place, "order")
        if mutation == "value":
            left = lines[place].partition(" = ")[0]
            lines[place] = f"{left} = {problem.detail['given'][0]}"
            expected = (place, "value")
        elif mutation == "skip":
            del lines[place]
            expected = (place, "order" if place < len(lines) else "stop")
        elif mutation == "swap":
            place = min(place, len(lines) - 2)
            lines[place : place + 2] = lines[place + 1], lines[place]
            expected = (place, "order")
        elif mutation == "invent":
            lines.insert(place, INVENTED[task.name])
            expected = (place, "premise")
        elif mutation == "repeat":
            lines.insert(place + 1, lines[place])
            expected = (place + 1, "repeated")
        else:
            conclusion = f"So, the answer is: {problem.detail['given'][0]}"
            expected = (len(lines), "answer")
        result = task.check(problem, " . ".join([*lines, conclusion]))
        assert (result.first_error, result.first_error_kind) == expected, problem.target


INVENTED = {
    "functions": "func_17 ( q q q q q q q q q q q q ) = q q q q q q q q q q q q",
    "rule90": "next ( 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 ) = 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
    "operators": "98765 bim 2 = 98767",
    "modular": "1234 + 1 mod 11 = 3",
    "grammar": "fep blick ( a a , b ) = a a b",
}
