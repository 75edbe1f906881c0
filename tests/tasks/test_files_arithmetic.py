"""Equations and answers read out of a text, by hand and against other implementations."""

from __future__ import annotations

import operator
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.tasks.files.answers import find_answer, number_in, same_mathematics, same_number, same_text
from rlreason.tasks.files.arithmetic import equations, numbers, value_of


def read(text: str) -> list[tuple[str, bool]]:
    return [(text[one.start : one.end], one.holds) for one in equations(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<<48/2=24>>24", [("<<48/2=24>>", True)]),
        ("48/2 = <<48/2=24>>24", [("<<48/2=24>>", True)]),
        (
            "<<10/3=3.33>> <<10/3=3.3>> <<10/3=3.34>> <<10/3=3>>",
            [("<<10/3=3.33>>", True), ("<<10/3=3.3>>", True), ("<<10/3=3.34>>", False), ("<<10/3=3>>", False)],
        ),
        ("<<80*25%=20>> <<1/8=12.5%>>", [("<<80*25%=20>>", True), ("<<1/8=12.5%>>", True)]),
        ("<<$1,200/4=300>>", [("<<$1,200/4=300>>", True)]),
        (
            "<<x=5>> <<2**3=8>> <<5>> <<7//2=3>>",
            [("<<x=5>>", False), ("<<2**3=8>>", False), ("<<5>>", False), ("<<7//2=3>>", False)],
        ),
        ("<<1/0=0>>", [("<<1/0=0>>", False)]),
        ("<<2*3=6=12/2>>", [("<<2*3=6=12/2>>", True)]),
        (
            "3 x $5 = $15, 7 \u00d7 2 = 14 and 9 \u2212 4 = 5.",
            [("3 x $5 = $15", True), ("7 \u00d7 2 = 14", True), ("9 \u2212 4 = 5", True)],
        ),
        ("(2 + 3) * 4 = 20.", [("(2 + 3) * 4 = 20", True)]),
        ("2 + 2 = 5", [("2 + 2 = 5", False)]),
        ("5 = 5", []),
        ("x - 3 + 5 = 2", []),  # a piece of a formula with a letter
        ("2^3 + 1 = 9", []),
        ("4 + 1 = 5x", []),
        ("6 - 2 = 4 + y", []),
        ("on 2024-05-06", []),
    ],
)
def test_equations_are_found_and_judged(text, found):
    assert read(text) == found


@given(st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 99)), min_size=1, max_size=8), st.integers(1, 99))
def test_a_chain_is_worth_what_python_says(chain, first):
    # Python's own integers and precedence, every number made a Fraction
    written = str(first) + "".join(f" {operation} {number}" for operation, number in chain)
    made = f"Fraction({first})" + "".join(f" {operation} Fraction({number})" for operation, number in chain)
    assert value_of(written) == eval(made, {"Fraction": Fraction})


@given(st.integers(-999, 999), st.sampled_from([operator.add, operator.sub, operator.mul]), st.integers(0, 999))
def test_a_wrong_result_never_holds(left, operation, right):
    sign = {operator.add: "+", operator.sub: "-", operator.mul: "*"}[operation]
    result = operation(left, right)
    assert [one.holds for one in equations(f"<<{left}{sign}{right}={result}>>")] == [True]
    assert [one.holds for one in equations(f"<<{left}{sign}{right}={result + 1}>>")] == [False]


def test_numbers_of_a_question_include_what_a_percentage_means():
    assert numbers("25% of 1,200 and .5") == {
        Fraction(25),
        Fraction(1, 4),
        Fraction(100),
        Fraction(1200),
        Fraction(1, 2),
    }


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{4} then \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("#### 42", "42"),
        ("The answer is 7 apples.\nBye", "7 apples"),
        ("Answer: **12**", "12"),
        ("The answer is:\n5", "5"),
        ("The answer is $\\boxed{5}$.", "5"),
        ("\\boxed{3}. So the answer is 4.", "4"),
        ("\\boxed{3} and then \\boxed{", "3"),
        ("\\boxed{a \\} b}", "a \\} b"),
        ("#### 3.", "3"),
        ("answers vary", None),
        ("####", None),
        ("#### " + "9" * 501, None),
    ],
)
def test_the_final_answer_is_the_last_that_is_announced(text, answer):
    assert find_answer(text) == answer


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("1,234", 1234),
        ("$5.50", Fraction(11, 2)),
        ("-3", -3),
        ("x = 3/4", Fraction(3, 4)),
        ("50 %", 50),
        ("12 to 15", None),
        ("3/0", None),
        ("none", None),
        ("2 + 3 = 5", 5),
        ("\u22124", -4),
        ("1" * 600, None),
    ],
)
def test_the_one_number_of_an_answer(answer, value):
    assert number_in(answer) == value


def test_answers_are_compared_as_the_recipe_says():
    assert same_text(" Blue  whale.", "Blue whale") and same_text("$x$", "x") and not same_text("A", "a")
    assert same_number("1,000", "1000.0 litres") and not same_number("5", "5 or 6") and not same_number("few", "few")
    assert same_mathematics("\\frac{2}{4}", "0.5") and same_mathematics("x^2-1", "(x-1)(x+1)")
    assert not same_mathematics("\\frac{1}{2}", "\\frac{1}{3}")


@pytest.mark.parametrize("piece", ["1+", "(", "<<", "<<1", "answer is ", "\\boxed{", "1,", "9-9=", "#", "-", "1 x "])
def test_hostile_texts_take_no_time(piece):
    begun = time.process_time()
    text = piece * (100_000 // len(piece))
    list(equations(text))
    find_answer(text)
    numbers(text)
    assert time.process_time() - begun < 1.0
