"""The checker on derivations written out by hand, faulty in known ways, and on hostile text."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.tasks import build_task
from rlreason.tasks.tail.algorithms import ALGORITHMS
from rlreason.tasks.tail.checker import MAX_LINES
from rlreason.tasks.tail.notation import Notation
from rlreason.tasks.tail.states import execute
from rlreason.tasks.tail.text import MODULES, Writer
from rlreason.types import Problem

# 58 + 67 = 125
PROBLEM = Problem(
    id="train/addition-s/0",
    task="tail",
    cell="addition/s",
    level="train",
    prompt="",
    answer="1 2 5",
    target="",
    detail={"algorithm": "addition", "size": 2, "given": {"first": 58, "second": 67}},
)
ONE = "place 1 : first 8 , second 7 , carry 0 ; first + second + carry gives carry 1 , digit 5 ; next place"
TWO = "place 2 : first 5 , second 6 , carry 1 ; first + second + carry gives carry 1 , digit 2 ; join"
JOIN = "join : carry 1 , digits 2 | 5 ; join carry digits gives sum 1 2 5 ; stop"
END = "So, the answer is: 1 2 5"


def check(*lines: str, **parameters):
    return build_task("tail", "tail", parameters).check(PROBLEM, "\n" + "\n".join(lines))


def test_the_gold_derivation_is_right_at_every_step():
    result = check(ONE, TWO, JOIN, END)
    assert (result.answer, result.answer_correct, result.derivation_correct) == ("1 2 5", True, True)
    assert [(step.verdict, step.kind, step.score) for step in result.steps] == [("right", "", 1.0)] * 3
    assert (result.first_error, result.first_error_kind) == (None, "")


def test_spans_cover_the_lines():
    text = f" {ONE} \n\n  {TWO}\r\n{JOIN}\n{END}"
    result = build_task("tail", "tail", {}).check(PROBLEM, text)
    assert result.derivation_correct
    assert [text[step.start : step.end] for step in result.steps] == [ONE, TWO, JOIN]


def test_spaces_and_a_closing_full_stop_do_not_matter():
    tight = "place 1:first 8,second 7, carry 0;first+second + carry  gives carry 1,digit 5;next place"
    assert check(tight, TWO, JOIN.replace("1 2 5", "125"), "So , the  answer is :125.").derivation_correct
    assert check(ONE, TWO, JOIN, "So, the answer is:\n  1 2 5").derivation_correct
    assert check(ONE, TWO, JOIN, "So, the answer is: \n").answer is None


def wrong(line: str, old: str, new: str) -> str:
    assert line.count(old) == 1
    return line.replace(old, new)


SLIP = wrong(ONE, "digit 5", "digit 4")
NO_CARRY = wrong(ONE, "carry 1 , digit 5", "carry 0 , digit 5")
AFTER_NO_CARRY = (
    "place 2 : first 5 , second 6 , carry 0 ; first + second + carry gives carry 1 , digit 1 ; join",
    "join : carry 1 , digits 1 | 5 ; join carry digits gives sum 1 1 5 ; stop",
)


@pytest.mark.parametrize(
    ("lines", "verdicts", "error", "kind"),
    [
        ([SLIP, TWO, wrong(JOIN, "| 5", "| 4"), END], "wrong right wrong", 0, "operation"),  # the sum is not 124
        # a slip is judged once: what follows from it is right
        ([NO_CARRY, *AFTER_NO_CARRY, "So, the answer is: 1 1 5"], "wrong right right", 0, "operation"),
        ([NO_CARRY, TWO, JOIN, END], "wrong wrong right", 0, "operation"),  # the second line forgets the slip
        ([wrong(ONE, "carry 0", "carry 3"), TWO, JOIN, END], "wrong right right", 0, "fetch"),  # an invented operand
        ([wrong(ONE, "first 8 , second 7", "first 7 , second 8"), TWO, JOIN, END], "wrong right right", 0, "fetch"),
        ([wrong(ONE, "first + second", "second + first"), TWO, JOIN, END], "wrong right right", 0, "operation"),
        ([ONE, wrong(TWO, "; join", "; next place"), JOIN, END], "right wrong right", 1, "control"),
        ([ONE, JOIN, END], "right wrong", 1, "skipped"),
        ([TWO, ONE, JOIN, END], "wrong wrong right", 0, "skipped"),
        ([ONE, ONE, TWO, JOIN, END], "right repeated right right", 1, "repeated"),
        ([ONE, wrong(ONE, "digit 5", "digit 6"), TWO, JOIN, END], "right wrong right right", 1, "control"),  # goes back
        ([ONE, wrong(TWO, "place 2", "place 9"), TWO, JOIN, END], "right wrong right right", 1, "control"),
        ([ONE, "Let me think.", TWO, JOIN, END], "right wrong right right", 1, "format"),
        ([ONE, "place 2 : carry 1 ; next place", TWO, JOIN, END], "right wrong right right", 1, "format"),
        ([ONE, TWO[:40]], "right wrong", 1, "format"),  # cut off
        ([ONE, TWO, JOIN, wrong(TWO, "place 2", "place 3"), END], "right right right wrong", 3, "stop"),
        ([ONE, TWO, END], "right right", 2, "stop"),  # ends early
        ([ONE, TWO, JOIN], "right right right", 3, "stop"),  # no answer
        ([END], "", 0, "stop"),
        ([], "", 0, "stop"),
        ([ONE, TWO, JOIN, "So, the answer is: 1 2 6"], "right right right", 3, "answer"),
        ([ONE, TWO, JOIN, END, "Or is it?"], "right right right wrong", 3, "stop"),
        ([ONE, TWO, JOIN, END, "So, the answer is: 7"], "right right right wrong", 3, "stop"),
    ],
)
def test_each_fault_is_found_where_it_is(lines: list[str], verdicts: str, error: int, kind: str):
    result = check(*lines)
    assert " ".join(step.verdict for step in result.steps) == verdicts
    assert (result.first_error, result.first_error_kind) == (error, kind)
    assert not result.derivation_correct
    assert all((step.score == 1.0) == (step.verdict == "right") for step in result.steps)


def test_a_right_answer_from_a_wrong_step_is_told_apart():
    result = check(wrong(ONE, "first 8 , second 7", "first 7 , second 8"), TWO, JOIN, END)
    assert result.answer_correct and not result.derivation_correct


def test_each_module_takes_its_part_of_the_line():
    lines = {
        ("atomic_state", "tape_review"): [TWO, JOIN],
        ("linear_expansion", "tape_review"): [
            "place 1 : first 8 , second 7 , carry 0 ; carry 1 , digit 5",
            "place 2 : first 5 , second 6 , carry 1 ; carry 1 , digit 2",
            "join : carry 1 , digits 2 | 5 ; sum 1 2 5",
        ],
        ("linear_expansion", "atomic_state"): [
            "place 1 : first + second + carry gives carry 1 , digit 5 ; next place",
            "place 2 : first + second + carry gives carry 1 , digit 2 ; join",
            "join : join carry digits gives sum 1 2 5 ; stop",
        ],
        ("linear_expansion",): ["place 1 : carry 1 , digit 5", "place 2 : carry 1 , digit 2", "join : sum 1 2 5"],
        ("atomic_state",): [
            "place 2 : first + second + carry gives carry 1 , digit 2 ; join",
            "join : join carry digits gives sum 1 2 5 ; stop",
        ],
        (): [],
    }
    for modules, said in lines.items():
        assert check(*said, END, modules=list(modules)).derivation_correct, modules
        for index, line in enumerate(said):
            slip = line.replace(" 1 ", " 7 ", 1) if " 1 " in line else line.replace("1", "7", 1)
            result = check(*said[:index], slip, *said[index + 1 :], END, modules=list(modules))
            assert result.first_error == index, (modules, slip)


def test_steps_where_there_are_to_be_none_are_too_many():
    result = check(ONE, END, modules=[])
    assert (result.first_error, result.first_error_kind, result.answer_correct) == (0, "format", True)


def test_a_slip_in_what_a_machine_decides_by_is_followed():
    """Dijkstra told that a farther node is the nearest goes on from that node."""
    edges = [["A", "B", 1], ["A", "C", 5], ["B", "D", 1], ["C", "D", 1]]
    given_ = {"edges": edges, "start": "A", "end": "D"}
    problem = Problem("", "tail", "dijkstra/s", "train", "", "2", "", {"algorithm": "dijkstra", "given": given_})
    shorter = "min ( known , distance + length )"
    lines = [
        "turn 1 choose : A 0 ; nearest gives node A , distance 0 ; next edge",
        f"turn 1 edge A B : distance 0 , length 1 , known none ; {shorter} gives B 1 ; next edge",
        f"turn 1 edge A C : distance 0 , length 5 , known none ; {shorter} gives C 5 ; next turn",
        "turn 2 choose : B 1 , C 5 ; nearest gives node C , distance 5 ; next edge",
        f"turn 2 edge C D : distance 5 , length 1 , known none ; {shorter} gives D 6 ; next turn",
        "turn 3 choose : B 1 , D 6 ; nearest gives node B , distance 1 ; next edge",
        f"turn 3 edge B D : distance 1 , length 1 , known 6 ; {shorter} gives D 2 ; next turn",
        "turn 4 choose : D 2 ; nearest gives node D , distance 2 ; stop",
        "So, the answer is: 2",
    ]
    task = build_task("tail", "tail", {"algorithm": "dijkstra"})
    result = task.check(problem, "\n".join(lines))
    assert [step.verdict for step in result.steps] == ["right"] * 3 + ["wrong"] + ["right"] * 4
    assert (result.first_error_kind, result.answer_correct, result.derivation_correct) == ("operation", True, False)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_after_a_slip_what_follows_from_it_is_right(name: str):
    task, rng, writer = build_task("tail", "tail", {"algorithm": name}), random.Random(0), Writer(MODULES)
    for index in range(10):
        problem = task.problem("train", f"{name}/s", index)
        given_ = problem.detail["given"]
        states, _ = execute(ALGORITHMS[name], given_, Notation())
        slipped = rng.randrange(len(states))
        numbers = [key for key, value in states[slipped].result.items() if isinstance(value, int)]
        if not numbers:
            continue
        result = {**states[slipped].result, numbers[0]: states[slipped].result[numbers[0]] + 1}
        states, answer = execute(ALGORITHMS[name], given_, Notation(), {slipped: result})
        states[slipped] = states[slipped]._replace(result=result)
        check = task.check(problem, writer.derivation(states, answer))
        assert [step.verdict == "right" for step in check.steps] == [place != slipped for place in range(len(states))]
        assert (check.answer, check.first_error, check.first_error_kind) == (answer, slipped, "operation")


@given(st.text() | st.text(alphabet="place 1:;,|gives\ncarry") | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_hostile_text_is_judged_and_never_raises(text: str):
    result = check(text)
    assert not result.derivation_correct
    assert all(0 <= step.start < step.end <= len(text) + 1 for step in result.steps)


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 5_000_000,
        " " * 5_000_000,
        "a" * 5_000_000,
        "place 1 : " * 500_000,
        f"{ONE}\n" * 50_000,
        "\n".join(wrong(ONE, "place 1", f"place {index}") for index in range(20_000)),
        "So, the answer is: " * 200_000,
        "So" + " " * 5_000_000,
        END + "x" * 5_000_000,
        "\x00\ud800\U0001f600\n" * 100_000,
        wrong(ONE, "carry 1", "carry " + "9" * 1_000),
        "place 1 : first \u0668 , second 7 , carry 0 ; __import__ gives carry 1 , digit \u0665 ; next place",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_long_and_odd_texts_are_judged_quickly(text: str):
    begun = time.process_time()
    result = check(text)
    assert not result.derivation_correct and len(result.steps) <= 2 * MAX_LINES
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("name", ALGORITHMS)
def test_made_up_results_of_every_state_are_carried_on_without_an_error(name: str):
    """Every number of a derivation raised by one: all labels stay known, and no line makes the checker fail."""
    task = build_task("tail", "tail", {"algorithm": name})
    for index in range(3):
        problem = task.problem("train", f"{name}/s", index)
        label, gives = " : ", " gives "
        raised = []
        for line in problem.target.splitlines()[1:-1]:
            head, rest = line.split(label, 1)
            before, after = rest.split(gives, 1)
            numbers = "".join("9" if char in "12345678" else char for char in after)
            raised.append(f"{head}{label}{before}{gives}{numbers}")
        result = task.check(problem, "\n".join(raised))
        assert len(result.steps) == len(raised) and not result.derivation_correct
