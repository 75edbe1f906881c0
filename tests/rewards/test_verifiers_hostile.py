"""Text that is made to break a grader: each answers with a plain verdict, soon."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_grader import verdict

from rlreason.rewards import reading, units

TESTS = {"tests": [["aab", "b"], ["", "a"]], "object": {"a": 1, "b": [True]}, "aliases": ["x"]}
GRADERS = [
    ("normalised_text.py:score", "Paris", {"accepted": "aliases"}),
    ("multiple_choice.py:score", "B", {}),
    ("number.py:score", "0.5 m", {"relative": 0.1}),
    ("number.py:score", "0.5", {"answer_in": "last_number"}),
    ("sets_and_lists.py:score", "1, 2", {"credit": "f1"}),
    ("json_fields.py:score", "", {"gold": "object", "credit": "fields"}),
    ("regular_expression.py:score", "5", {"pattern": r"answer: (\S+)", "group": 1}),
    ("string_rewrite.py:score", "", {"credit": "share", "answer_in": ["answer_tag", "whole"]}),
    ("format_tags.py:score", "", {}),
    ("length.py:band", "", {"shortest": 1, "longest": 9, "slack": 9}),
    ("length.py:soft_overlong", "", {"longest": 9, "cache": 3, "unit": "characters"}),
]
IDS = [f"{spec}-{kwargs.get('answer_in', '')}" for spec, _, kwargs in GRADERS]

MARKS = [
    *(
        "\\boxed{",
        "\\fbox{",
        "{",
        "}",
        "\\{",
        "\\}",
        "\\",
        "$",
        "$$",
        "\\text{",
        "\\frac{",
        "\\left(",
        "\\times",
        "\\,",
    ),
    *("<answer>", "</answer>", "<think>", "</think>", "answer is ", "answer: ", "#### ", "**", "_", "`", "'", '"'),
    *("(", ")", "[", "]", "(B)", "B.", "A", " ", "\n", "\r", "\t", "->", "->.", "\u2192", ",", ";", ":", "="),
    *("0", "1", "9", "1,234", ".", "-", "+", "\u2212", "/", "%", "e9", "1e999999999", "10**10**10", "x10^", "1/0"),
    *("km", "m/s", "\u00b0C", "\u00b2", " per ", '{"a": ', '"a"', ": 1", "true", "null", "NaN", "1e999", "\\u0000"),
    *("\x00", "\ud800", "\udfff", "\u202e", "\u200f", "\ufeff", "\u0301", "\ufdfa", "\u0660", "\u00bd", "\U0001f600"),
]
HOSTILE = st.lists(st.sampled_from(MARKS) | st.text(max_size=3), max_size=40).map("".join)

MONSTERS = {
    "open brackets": "(" * 1_000_000,
    "nested braces": "{" * 50_000 + "}" * 50_000,
    "open boxes": "\\boxed{" * 15_000,
    "nested boxes": "\\boxed{" * 15_000 + "}" * 15_000,
    "backslashes": "\\" * 100_001,
    "open fractions": "\\frac{" * 17_000,
    "digits": "1" * 100_000,
    "threes": "1,111" + ",111" * 25_000 + "1",
    "numbers": "1 " * 50_000,
    "signs": "-" * 100_000,
    "fractions": "1/" * 50_000,
    "spaces": "answer" + " " * 100_000 + "1" + " " * 100_000,
    "phrases": "answer is " * 10_000,
    "lines": "\n" * 100_000,
    "open tags": "<answer>" * 12_000,
    "closed tags": "</answer>" * 12_000,
    "quotes": '{"' * 50_000,
    "escaped quotes": '{"' + '\\"' * 50_000,
    "objects": '{"a":' * 20_000,
    "small objects": "{a}" * 30_000,
    "lists": "[" * 100_000,
    "options": "(A" * 50_000,
    "arrows": "->" * 50_000,
    "rules": "aaaa -> aaaaa\n" * 7_000,
    "accents": "a" + "\u0301\u0327" * 50_000,
    "ligatures": "\ufdfa" * 30_000,
    "units": "1 " + "m/" * 50_000,
    "zeros": "\x00" * 100_000,
    "surrogates": "\ud800" * 100_000,
    "right to left": "\u202e" * 100_000,
}


@pytest.mark.parametrize(("spec", "answer", "kwargs"), GRADERS, ids=IDS)
@settings(max_examples=80, deadline=None)
@given(text=HOSTILE)
def test_no_text_makes_a_grader_raise(spec, answer, kwargs, text):
    for completion in (text, f"\\boxed{{{text}}}", f"<answer>{text}</answer>"):
        score = verdict(spec, completion, answer, TESTS, **kwargs)
        assert -1 <= score.reward <= 1


@settings(max_examples=60, deadline=None)
@given(inside=st.text(alphabet="{}[]()1x,.;+-=<>|&$%\\ \x00\ud800\u202e'\"", max_size=12))
def test_no_text_makes_the_mathematics_raise(inside):
    for completion in (f"\\boxed{{{inside}}}", f"\\boxed{{\\frac{{{inside}}}{{2}} \\text{{{inside}}}}}"):
        assert verdict("boxed_math.py:score", completion, "12").correct in (True, False)


@pytest.mark.parametrize(("spec", "answer", "kwargs"), GRADERS, ids=IDS)
def test_a_monstrous_text_takes_a_moment(spec, answer, kwargs):
    for name, text in MONSTERS.items():
        for completion in (text, f"\\boxed{{{text[: reading.LONGEST_ANSWER]}}}"):
            began = time.process_time()
            assert -1 <= verdict(spec, completion, answer, TESTS, **kwargs).reward <= 1
            assert time.process_time() - began < 2, name


@pytest.mark.parametrize("place", reading.PLACES)
def test_twice_the_text_takes_about_twice_as_long(place):
    for name, text in MONSTERS.items():
        once, eight_times = (_fastest(place, text[:12_000] * times) for times in (1, 8))
        assert eight_times < 30 * once + 0.02, name  # quadratic time would be 64 times as long


def _fastest(place, text):
    seconds = []
    for _ in range(3):
        began = time.process_time()
        reading.PLACES[place](text)
        seconds.append(time.process_time() - began)
    return min(seconds)


@given(text=HOSTILE)
def test_reading_gives_a_piece_of_the_text_or_nothing(text):
    for place, read in reading.PLACES.items():
        answer = read(text)
        assert answer is None or answer in text, place
    reading.plain(text)
    assert 0 <= units.parse(text)[1] <= len(text)


@given(inside=st.text().filter(lambda text: not set(text) & set("{}\\")), around=HOSTILE)
def test_a_box_at_the_end_is_always_found(inside, around):
    assert reading.boxed(f"{around} \\boxed{{{inside}}}") == inside


@settings(max_examples=40)
@given(
    value=st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)),
    before=st.text().filter(lambda text: "{" not in text),
)
def test_any_json_object_equals_itself_in_any_layout(value, before):
    gold = {**value, "key": 1}
    for layout in ({}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}):
        text = f"{before}{json.dumps(gold, **layout)} and so on"
        assert verdict("json_fields.py:score", text, "", {"object": gold}, gold="object").correct is True


@given(items=st.lists(st.integers(-99, 99), min_size=1), other=st.lists(st.integers(-99, 99), min_size=1))
def test_sets_agree_with_pythons(items, other):
    score = verdict("sets_and_lists.py:score", str(other), ", ".join(map(str, items)), credit="f1")
    gold, found = set(items), set(other)
    assert score.correct is (gold == found)
    assert score.reward == pytest.approx(2 * len(gold & found) / (len(gold) + len(found)))
