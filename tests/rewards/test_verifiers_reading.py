"""Where the final answer stands, and how units convert."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rlreason.errors import RewardError
from rlreason.rewards import reading, units


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{5}", "5"),
        (r"\boxed{1} and \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}} done", r"\frac{1}{2}"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed {3}", "3"),
        (r"\fbox{4}", "4"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{a \} b}", r"a \} b"),
        (r"\boxed{1} then \boxed{2", "1"),
        (r"}}} \boxed{6} {{{", "6"),
        (r"\boxed{", None),
        (r"\boxed 5", None),
        ("boxed{5}", None),
    ],
)
def test_the_last_closed_box_is_the_answer(text, answer):
    assert reading.boxed(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>5</answer>", "5"),
        ("<answer>1</answer> no: <answer>2</answer>", "2"),
        ("<answer>1 <answer>2</answer>", "2"),
        ("<answer>1</answer> <answer>2", "1"),
        ("<answer>1", None),
        ("1</answer>", None),
    ],
)
def test_the_last_closed_tag_is_the_answer(text, answer):
    assert reading.tagged(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 5.", "5"),
        ("The answer is 1. The answer is 2", "2"),
        ("**Answer:** Dr. Who", "Dr. Who"),
        ("Final Answer: **B.**\nBye", "B"),
        ("so\n#### 1,234\n", "1,234"),
        ("Answer:\n7", "7"),
        ("the answers differ", None),
        ("nothing", None),
    ],
)
def test_the_line_after_the_last_phrase_is_the_answer(text, answer):
    assert reading.after_phrase(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 + 4 = 7", "7"),
        ("it is 1,234.50 dollars", "1,234.50"),
        ("from 10-5", "5"),
        ("from 10 to -5", "-5"),
        ("\u22125 degrees", "\u22125"),
        ("1,23", "23"),
        ("1,2345", "2345"),
        ("p = .5", ".5"),
        ("none", None),
    ],
)
def test_the_last_number_stands_alone(text, answer):
    assert reading.last_number(text) == answer


def test_the_last_line_is_the_last_that_is_not_blank():
    assert reading.last_line("one\n two. \n\n") == "two"
    assert reading.last_line(" \n") is None


def test_the_first_place_that_holds_an_answer_counts():
    text = "The answer is 1\n\\boxed{}\nlast"
    assert reading.find(text, "boxed") is None
    assert reading.find(text, ["boxed", "answer_tag", "phrase", "last_line"]) == "1"
    assert reading.find(text, ["last_line", "phrase"]) == "last"
    assert reading.find(" all of it ", "whole") == "all of it"


def test_an_answer_that_is_too_long_is_not_found():
    assert reading.find("x" * reading.LONGEST_ANSWER, "whole") == "x" * reading.LONGEST_ANSWER
    assert reading.find("x" * (reading.LONGEST_ANSWER + 1), "whole") is None


def test_an_unknown_place_is_the_recipes_mistake():
    with pytest.raises(RewardError, match=r"answer_in 'box' is not one of boxed, .*did you mean 'boxed'"):
        reading.find("text", "box")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"$\text{Paris}$", "Paris"),
        (r"\left( 1,\, 2 \right)", "( 1,  2 )"),
        (r"50\%", "50%"),
        (r"**bold** \$5", "bold 5"),
        (r"\(x\)", "x"),
        (r"\textual", r"\textual"),
    ],
)
def test_plain_takes_the_dressing_off(text, plain):
    assert reading.plain(text) == plain


@pytest.mark.parametrize(
    ("one", "same_kind", "scale"),
    [
        ("km", "m", Fraction(1000)),
        ("km/h", "m/s", Fraction(5, 18)),
        ("metres per second", "m s^-1", Fraction(1)),
        ("kWh", "J", Fraction(3_600_000)),
        ("N\u00b7m", "J", Fraction(1)),
        ("cm\u00b2", "m^2", Fraction(1, 10_000)),
        ("m/s/s", "m/s^2", Fraction(1)),
        ("mL", "cm^3", Fraction(1)),
        ("\u03bcm", "m", Fraction(1, 1_000_000)),
        ("inches", "cm", Fraction(254, 100)),
        ("kilograms", "g", Fraction(1000)),
        ("minutes", "s", Fraction(60)),
        ("GB", "bit", Fraction(8_000_000_000)),
        ("m in length", "m", Fraction(1)),
        ("kg of flour", "kg", Fraction(1)),
    ],
)
def test_units_of_one_kind_convert_exactly(one, same_kind, scale):
    (found, _), (other, _) = units.parse(one), units.parse(same_kind)
    assert found.dimension == other.dimension
    assert found.scale / other.scale == scale


@pytest.mark.parametrize("text", ["", "apples", "/h", "5 m", "\ud800", "pay"])
def test_words_are_no_units(text):
    assert units.parse(text) == (None, 0)


def test_units_with_an_offset_do_not_convert():
    kinds = [units.parse(text)[0].dimension for text in ("K", "\u00b0C", "\u00b0F", "\u00b0")]
    assert all(one != other for index, one in enumerate(kinds) for other in kinds[:index])


@pytest.mark.parametrize(
    ("text", "end"), [("5 km/h.", 6), ("5 m in length", 3), ("5 kg m^2 s^-2 x", 13), ("5 apples", 1)]
)
def test_a_unit_ends_where_other_words_begin(text, end):
    assert units.parse(text, 1)[1] == end
