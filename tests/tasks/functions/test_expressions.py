import random
from string import ascii_lowercase

import pytest

from rlreason.tasks.functions import expressions, strings
from rlreason.tasks.functions.expressions import Call, draw_question, execute, read, write


def test_calls_are_written_with_spaces_and_nest():
    inner = Call("func_1", ("abc", 2))
    assert write(Call("func_7", ("xy", inner))) == "func_7 ( x y , func_1 ( a b c , 2 ) )"


def test_a_written_call_on_literals_is_read_back():
    for call in (Call("func_1", ("abc", 2)), Call("func_7", ("xy", "ab")), Call("func_17", ("<{a-1",))):
        assert read(write(call)) == call


@pytest.mark.parametrize(
    "left",
    [
        "",
        "func_17",
        "func_17 ( )",
        "func_17 (  )",
        "func_17 ( abc )",  # symbols stand apart
        "func_17 ( a b",
        "func_25 ( a b )",
        "func_17 ( a , b )",  # takes one
        "func_1 ( a b , c )",  # takes a count
        "func_1 ( a b , 1 2 )",
        "func_1 ( a b , 22 )",
        "func_17 ( func_17 ( a b ) )",
        "func_17 ( a é )",
        "func_1 ( a b , ² )",
    ],
)
def test_what_is_no_call_on_literals_is_not_executed(left):
    assert execute(left) is None


def test_texts_are_operands_and_counts_are_not():
    assert execute("func_1 ( a b , 2 )") == (("a b",), "a b a b")
    assert execute("func_7 ( a b , x )") == (("a b", "x"), "a x b")


def test_a_draw_follows_the_path_innermost_first():
    questions = [draw_question(["func_17", "func_9"], 24, random.Random(seed)) for seed in range(30)]
    question = next(question for question in questions if question is not None)
    assert question.expression.startswith("func_9 ( func_17 ( ")
    text = question.given[0].replace(" ", "")
    assert [equation.right.replace(" ", "") for equation in question.equations] == [text[::-1], text[::-1] + text]


def test_an_operation_that_leaves_the_text_or_returns_to_an_earlier_one_is_rejected():
    # twice from last to first is where one started
    assert not any(draw_question(["func_17", "func_17"], 24, random.Random(seed)) for seed in range(50))


def test_a_value_over_the_limit_is_rejected():
    assert not any(draw_question(["func_9", "func_9", "func_9"], 20, random.Random(seed)) for seed in range(50))


def test_an_answer_that_does_not_depend_on_the_input_is_rejected(monkeypatch: pytest.MonkeyPatch):
    constant = strings.Function("( x ) writes q .", ("text",), lambda text: "q")
    monkeypatch.setitem(expressions.BY_NAME, "func_2", constant)
    assert not any(draw_question(["func_2"], 24, random.Random(seed)) for seed in range(50))
    # also where the call after it adds something that differs from question to question
    assert not any(draw_question(["func_2", "func_6"], 24, random.Random(seed)) for seed in range(50))


def test_inputs_are_3_to_10_lower_case_letters_except_where_only_other_symbols_make_a_difference():
    for name in ("func_9", "func_21"):
        drawn = [draw_question([name], 64, random.Random(seed)) for seed in range(300)]
        texts = [question.given[0].replace(" ", "") for question in drawn if question is not None]
        assert {len(text) for text in texts} <= set(range(3, 11))
        plain = all(set(text) <= set(ascii_lowercase) for text in texts)
        assert plain == (name == "func_9")
