import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.tasks.complementary.checker import MAX_STEPS, Checker
from rlreason.types import Problem
from tests.tasks.complementary.worlds import complementary

# A world of six, written out. Biographies: spouse and city. The prompt: mentor of Bob is Carol, rival of Dan is Eve.
CHECKER = Checker(
    {"spouse": "parametric", "city": "parametric", "mentor": "contextual", "rival": "contextual"},
    {
        "spouse": {"Alice": "Bob", "Bob": "Alice", "Carol": "Dan", "Dan": "Carol"},
        "city": {"Alice": "Oslo", "Bob": "Lima", "Carol": "Oslo", "Dan": "Lima"},
    },
)
PROBLEM = Problem(
    id="train/complementary-3/0",
    task="people",
    cell="complementary/3",
    level="train",
    prompt="",
    answer="Dan",
    target="",
    detail={
        "path": ["spouse", "mentor", "spouse"],
        "visited": ["Alice", "Bob", "Carol", "Dan"],
        "facts": [["Dan", "rival", "Eve"], ["Bob", "mentor", "Carol"]],
    },
)
ONE, TWO, THREE = "The spouse of Alice is Bob.", "The mentor of Bob is Carol.", "The spouse of Carol is Dan."
END = "So, the answer is: Dan"


def check(*parts: str):
    return CHECKER.check(PROBLEM, " " + " ".join(parts))


def test_the_gold_derivation_is_right_at_every_step():
    result = check(ONE, TWO, THREE, END)
    assert (result.answer, result.answer_correct, result.derivation_correct) == ("Dan", True, True)
    assert [(step.verdict, step.kind, step.score) for step in result.steps] == [("right", "", 1.0)] * 3
    assert (result.first_error, result.first_error_kind) == (None, "")


def test_spans_cover_the_sentences():
    text = f"  {ONE} {TWO}\n{THREE} {END}"
    result = CHECKER.check(PROBLEM, text)
    assert [text[step.start : step.end] for step in result.steps] == [ONE, TWO, THREE]


def test_other_forms_of_a_fact_and_a_closing_full_stop_are_right_too():
    assert check("Bob is the spouse of Alice.", "Bob has Carol as mentor.", THREE, END + ".").derivation_correct


@pytest.mark.parametrize(
    ("parts", "verdicts", "error", "kind"),
    [
        (["The spouse of Alice is Dan.", TWO, THREE, END], "wrong right right", 0, "parametric_hop"),
        ([ONE, "The mentor of Bob is Eve.", THREE, END], "right wrong right", 1, "context_hop"),
        ([ONE, "The mentor of Bob is Nobody.", THREE, END], "right wrong right", 1, "context_hop"),
        ([TWO, ONE, THREE, END], "wrong wrong right", 0, "order"),  # swapped
        ([ONE, THREE, END], "right wrong", 1, "order"),  # skipped
        ([ONE, "The rival of Dan is Eve.", TWO, THREE, END], "right wrong right right", 1, "order"),  # true, not needed
        ([ONE, "The city of Bob is Oslo.", TWO, THREE, END], "right wrong right right", 1, "order"),
        ([ONE, "The rival of Carol is Dan.", TWO, THREE, END], "right unsupported right right", 1, "premise"),
        ([ONE, "The rival of Zorro is Dan.", TWO, THREE, END], "right unsupported right right", 1, "premise"),
        ([ONE, "The rival of Eve is Dan.", TWO, THREE, END], "right unsupported right right", 1, "premise"),  # implied
        ([ONE, ONE, TWO, THREE, END], "right repeated right right", 1, "repeated"),
        ([ONE, TWO, TWO, THREE, END], "right right repeated right", 2, "repeated"),
        ([ONE, TWO, THREE, "The city of Dan is Lima.", END], "right right right wrong", 3, "stop"),
        ([ONE, TWO, THREE, "The rival of Carol is Dan.", END], "right right right unsupported", 3, "stop"),
        ([ONE, "Let me think.", TWO, THREE, END], "right wrong right right", 1, "format"),
        ([ONE, "The enemy of Bob is Dan.", TWO, THREE, END], "right wrong right right", 1, "format"),
        ([ONE, TWO, END], "right right", 2, "stop"),  # ends early
        ([ONE, TWO, THREE], "right right right", 3, "stop"),  # no answer
        ([END], "", 0, "stop"),
        ([], "", 0, "stop"),
        ([ONE, TWO, THREE, "So, the answer is: Carol"], "right right right", 3, "answer"),
        ([ONE, TWO, THREE, END + ".", "Or is it?"], "right right right wrong", 3, "stop"),  # goes on after the answer
        ([ONE, TWO, THREE, END + ".", "So, the answer is: Eve"], "right right right wrong", 3, "stop"),
        ([ONE, "The mentor of"], "right wrong", 1, "format"),  # cut off
    ],
)
def test_each_fault_is_found_where_it_is(parts: list[str], verdicts: str, error: int, kind: str):
    result = check(*parts)
    assert " ".join(step.verdict for step in result.steps) == verdicts
    assert (result.first_error, result.first_error_kind) == (error, kind)
    assert not result.derivation_correct
    assert all((step.score == 1.0) == (step.verdict == "right") for step in result.steps)


def test_the_answer_is_the_first_one_and_all_of_it():
    assert check(ONE, TWO, THREE, "So, the answer is: Eve. So, the answer is: Dan").answer == "Eve"
    everybody = check(ONE, TWO, THREE, "So, the answer is: Alice Bob Carol Dan Eve")
    assert (everybody.answer, everybody.answer_correct) == ("Alice Bob Carol Dan Eve", False)
    assert check("So, the answer is:").answer is None
    assert check("So, the answer is: .").answer is None


def test_a_right_answer_from_wrong_steps_is_told_apart():
    result = check("The spouse of Alice is Dan.", END)
    assert result.answer_correct and not result.derivation_correct


@given(
    st.text() | st.text(alphabet="TheSpouse of.Alice is\n :Dan,") | st.binary().map(lambda raw: raw.decode("latin-1"))
)
def test_hostile_text_is_judged_and_never_raises(text: str):
    result = CHECKER.check(PROBLEM, text)
    assert not result.derivation_correct
    assert all(0 <= step.start < step.end <= len(text) for step in result.steps)


@pytest.mark.parametrize(
    "text",
    [
        "." * 5_000_000,
        " " * 5_000_000,
        "a" * 5_000_000,
        "The " * 1_000_000,
        f"{ONE} " * 200_000,
        "So, the answer is: " * 200_000,
        END + "x" * 5_000_000,
        "\x00\ud800\U0001f600" * 100_000,
        "The spouse of __import__('os').system('true') is Bob.",
    ],
)
def test_huge_text_costs_little(text: str):
    begun = time.perf_counter()
    result = CHECKER.check(PROBLEM, text)
    assert time.perf_counter() - begun < 1.0
    assert not result.derivation_correct
    assert len(result.steps) <= 2 * MAX_STEPS
    assert result.answer is None or len(result.answer) <= 200


@settings(max_examples=60)
@given(
    cell=st.sampled_from(["parametric/1", "parametric/3", "contextual/2", "complementary/2", "complementary/3"]),
    contexts=st.sampled_from(["relation_unique", "strict"]),
    index=st.integers(0, 1000),
    position=st.integers(0, 2),
    mutation=st.sampled_from(["value", "swap", "skip", "invent", "repeat", "answer"]),
)
def test_a_corrupted_step_of_a_real_problem_is_caught_at_its_position(cell, contexts, index, position, mutation):
    task = complementary(contexts=contexts, parametric_values=1, contextual_values=1)
    problem = task.problem("train", cell, index)
    *steps, conclusion = problem.target.strip().split(". ")
    hop = position % len(steps)
    kinds = {"parametric": "parametric_hop", "contextual": "context_hop"}
    if mutation == "value":
        steps[hop] = steps[hop].rsplit(" ", 1)[0] + " " + problem.detail["start"]
        expected = (hop, kinds[problem.detail["groups"][hop]])
    elif mutation == "swap":
        if len(steps) == 1:
            return
        hop = min(hop, len(steps) - 2)
        steps[hop], steps[hop + 1] = steps[hop + 1], steps[hop]
        expected = (hop, "order")
    elif mutation == "skip":
        del steps[hop]
        expected = (hop, "order" if hop < len(steps) else "stop")
    elif mutation == "invent":
        steps.insert(hop, "The rival of Zorro is Alice")
        expected = (hop, "premise")
    elif mutation == "repeat":
        steps.insert(hop + 1, steps[hop])
        expected = (hop + 1, "repeated")
    else:
        conclusion = f"So, the answer is: {problem.detail['start']}"
        expected = (len(steps), "answer")
    result = task.check(problem, ". ".join([*steps, conclusion]))
    assert (result.first_error, result.first_error_kind) == expected


def test_a_check_needs_only_what_survives_json():
    import json

    task = complementary()
    problem = task.problem("train", "complementary/3", 5)
    travelled = replace(problem, detail=json.loads(json.dumps(dict(problem.detail))))
    assert task.check(travelled, problem.target).derivation_correct
