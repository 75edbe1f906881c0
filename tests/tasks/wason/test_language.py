import ast
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.tasks.wason.language import DEEPEST, LONGEST, Grid, read_rule

GRID = Grid(9)


def holds(text: str) -> np.ndarray:
    read = read_rule(text, GRID)
    assert read is not None, text
    return read[1]


def test_every_triple_stands_where_it_is_said_to():
    for place in range(GRID.size):
        triple = GRID.triple(place)
        assert GRID.place(triple) == place
        assert triple == tuple(GRID.columns[name][place] for name in "abc")


@pytest.mark.parametrize(
    ("text", "fitting", "others"),
    [
        ("a < b < c", (2, 4, 6), (2, 4, 4)),
        ("a < b and not b < c", (2, 4, 4), (2, 4, 6)),
        ("a == 1 or a == 2", (2, 0, 0), (3, 0, 0)),
        ("b - a == c - b", (2, 4, 6), (2, 4, 7)),
        ("(a + b + c) % 3 == 0", (1, 1, 1), (1, 1, 2)),
        ("(a - b) % 3 == 2", (0, 1, 0), (0, 2, 0)),  # the remainder of -1 by 3 is 2, of -2 it is 1
        ("-a + b > 0", (1, 2, 0), (2, 2, 0)),
        ("max(a, b) <= min(b, c) * 1", (1, 2, 4), (1, 3, 2)),
        ("max(a, b, c) - min(a, b, c) == 4", (2, 4, 6), (2, 4, 7)),
    ],
)
def test_rules_worked_by_hand(text, fitting, others):
    found = holds(text)
    assert found[GRID.place(fitting)] and not found[GRID.place(others)]


def test_rules_that_say_the_same_are_the_same_however_written():
    assert np.array_equal(holds("a < b < c"), holds("not (b <= a or c <= b)"))
    assert np.array_equal(holds("a == b"), holds("  (a) ==b and a*2 == b+b "))
    assert not np.array_equal(holds("a < b"), holds("a <= b"))
    assert read_rule(" (a<b)  and c %2==0 ", GRID)[0] == "a < b and c % 2 == 0"  # type: ignore[index]


numbers = st.sampled_from(["a", "b", "c", "0", "1", "7"])
sums = st.recursive(
    numbers,
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: "({} {} {})".format(*parts))
        | st.tuples(inner, st.integers(1, 9)).map(lambda parts: "({} % {})".format(*parts))
        | st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda parts: "{}({}, {})".format(*parts))
    ),
    max_leaves=4,
)
comparisons = st.tuples(sums, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), sums).map(" ".join)
rules = st.recursive(
    comparisons,
    lambda inner: (
        inner.map("not ({})".format)
        | st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: "({}) {} ({})".format(*parts))
    ),
    max_leaves=3,
)


@given(rules, st.integers(0, GRID.size - 1))
def test_a_rule_holds_where_python_says_so(text, place):
    read = read_rule(text, GRID)
    if read is None:
        assert len(text) > LONGEST or text.count("(") > DEEPEST
        return
    # the texts are this test's own, so Python itself may judge them
    values = dict(zip("abc", GRID.triple(place), strict=True))
    assert read[1][place] == eval(text, {"min": min, "max": max}, values)
    assert ast.dump(ast.parse(read[0])) == ast.dump(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a + b",
        "True",
        "1",
        "d < a",
        "a < b c",
        "a = b",
        "a ** 9 > 1",
        "a ** b ** c == 0",
        "9999 * 9999 * 9999 * 9999 > a",
        "a * 9999 * 9999 * 9999 > 1",
        "a % b == 0",
        "a % 0 == 0",
        "a / 2 > 1",
        "a // 2 > 1",
        "a < b if b else c",
        "(a, b) < (b, c)",
        "[a for a in b] == c",
        "a.real < b",
        "max(a) < b",
        "max(a, b, key=c) < b",
        "abs(a) < b",
        "__import__('os')",
        "min.__class__ < a",
        "min < max",
        "(lambda: a)() < b",
        "a < b; c",
        "a < b\nb < c",
        "a < b #",
        "a < 'b'",
        "a < 1_0",
        "a < 0x10",
        "a < 10.5",
        "a < 1e9",
        "a < 99999",
        "a < 007",
        "a < b and",
        "not",
        "a < \u0663",
        "a < b\x00",
        "\udcff < a",
        "(a < b) < c",
        "a < (b < c)",
        "(a := b) < c",
        "a @ b == c",
        "a and b",
        "-(a < b)",
        "~a < b",
        "a is b",
        "a < *b",
        "a < b" + " and a < b" * 20,
        "(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1) + " < b",
        "(" * 150,
        "((" * 4 + "a < " + "not " * 40,
        "- " * 90 + "a < b",
    ],
)
def test_what_is_not_of_the_language_is_no_rule(text):
    begun = time.monotonic()
    read = read_rule(text, GRID)
    assert time.monotonic() - begun < 5
    if text.startswith("- "):
        assert read is not None and np.array_equal(read[1], holds("a < b"))
    else:
        assert read is None


@given(st.text(max_size=60) | st.text("abc()<>=!+-*% 0123456789andorotmix,.", max_size=80))
def test_no_text_does_any_harm(text):
    read = read_rule(text, GRID)
    assert read is None or (read[1].dtype == bool and read[1].shape == (GRID.size,))
