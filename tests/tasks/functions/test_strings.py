import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.tasks.functions.strings import BY_NAME, FUNCTIONS, NAMES, SYMBOLS

EXAMPLES = [
    ("func_0", ("abcde",), "acebd"),
    ("func_1", ("abc", 2), "abcabc"),
    ("func_2", ("banAna",), "bnn"),
    ("func_3", ("caB1",), "1Bac"),
    ("func_4", ("banana",), "nanaba"),  # ba na na
    ("func_4", ("catdog",), "gtdoca"),  # ca tdo g
    ("func_5", ("abc", "xy"), "xyabc"),
    ("func_6", ("abc", "xy"), "abcxy"),
    ("func_7", ("abcd", "xy"), "axbycd"),
    ("func_7", ("a", "xyz"), "axyz"),
    ("func_8", ("abcde", 2), "cdeab"),
    ("func_8", ("ab", 3), "ba"),  # once round, and one on
    ("func_9", ("abc",), "abccba"),
    ("func_10", ("abCd1",), "AbCd1"),
    ("func_11", ("ayZ-", 2), "caB-"),
    ("func_12", ("bedUoi",), "b2d543"),
    ("func_13", ("abc",), "a-b-c"),
    ("func_14", ("ab",), "aabb"),
    ("func_15", ("ab",), "<{ab}>"),
    ("func_16", ("aabccc",), "a2bc3"),
    ("func_17", ("abc",), "cba"),
    ("func_18", ("abc", 2), "abcbc"),
    ("func_18", ("abc", 3), "abcbcc"),
    ("func_19", ("xyab",), "abxy"),
    ("func_19", ("xyz",), "xyz"),
    ("func_20", ("abc", "xy"), "aybxc"),
    ("func_21", ("a1-b<",), "ab"),
    ("func_22", ("abc",), "abcc"),
    ("func_22", ("abcd",), "abcd"),
    ("func_23", ("abc", 3), "abc321"),
    ("func_24", ("abb",), "abba"),
    ("func_24", ("abc",), "abcba"),
    ("func_24", ("aba",), "aba"),
]


@pytest.mark.parametrize(("name", "arguments", "value"), EXAMPLES)
def test_each_function_does_what_its_line_says(name, arguments, value):
    assert BY_NAME[name].apply(*arguments) == value


def test_there_are_25_functions_all_with_examples_and_different_definitions():
    assert len(FUNCTIONS) == 25 == len({function.definition for function in FUNCTIONS})
    assert {name for name, _, _ in EXAMPLES} == set(NAMES)


def test_no_two_functions_of_the_same_arguments_are_the_same():
    for kinds, samples in (
        (("text",), [("abce",), ("aab1",), ("xyaB",)]),
        (("text", "text"), [("abcd", "xyz"), ("ab", "xy")]),
        (("text", "count"), [("abcde", 2), ("abc", 3)]),
    ):
        group = [function for function in FUNCTIONS if function.takes == kinds]
        assert len({tuple(function.apply(*sample) for sample in samples) for function in group}) == len(group)


@given(
    st.sampled_from(NAMES), st.text(SYMBOLS, min_size=1, max_size=40), st.text(SYMBOLS, min_size=1), st.integers(0, 9)
)
def test_functions_are_total_and_stay_within_their_symbols(name, text, other, count):
    function = BY_NAME[name]
    arguments = [{"text": other, "count": count}[kind] for kind in function.takes[1:]]
    assert set(function.apply(text, *arguments)) <= set(SYMBOLS)
