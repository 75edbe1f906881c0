"""Hand-worked cases of the graders in `rewards/`; boxed_math, the judge and hostile text have files of their own."""

from __future__ import annotations

import json

import pytest
from one_grader import verdict

RIGHT, WRONG = True, False


def correct(spec, completion, answer, detail=None, **kwargs):
    score = verdict(spec, completion, answer, detail, **kwargs)
    assert score.reward == float(score.correct)
    return score.correct


@pytest.mark.parametrize(
    ("completion", "gold", "kwargs", "right"),
    [
        ("The answer is Paris.", "paris", {}, RIGHT),
        ("The answer is the  PARIS!", "Paris", {}, RIGHT),
        (r"\boxed{\text{Paris}}", "Paris", {}, RIGHT),
        ("<answer>Stra\u00dfe</answer>", "STRASSE", {}, RIGHT),
        ("<answer>\uff21\uff22</answer>", "ab", {}, RIGHT),
        ("<answer>\u200fab\u200b</answer>", "ab", {}, RIGHT),
        ("<answer>caf\u00e9</answer>", "cafe\u0301", {}, RIGHT),
        ("<answer>cafe</answer>", "caf\u00e9", {}, WRONG),
        ("U.S.", "us", {}, RIGHT),
        ("the cat", "cat", {"articles": False}, WRONG),
        ("Paris or Rome", "Paris", {}, WRONG),
        ("-5", "5", {}, RIGHT),
        ("-5", "5", {"keep": "-"}, WRONG),
        ("Rome", "Paris", {"answer_in": "boxed"}, WRONG),
        ("I say Paris", "Paris", {"answer_in": "whole"}, WRONG),
        ("", "Paris", {}, WRONG),
    ],
)
def test_text_is_compared_but_for_case_marks_articles_and_space(completion, gold, kwargs, right):
    assert correct("normalised_text.py:score", completion, gold, **kwargs) is right


def test_any_of_several_accepted_texts_is_right():
    detail = {"aliases": ["NYC", "New York"]}
    for text, right in (("nyc", RIGHT), ("New York City", RIGHT), ("New York", RIGHT), ("Boston", WRONG)):
        assert correct("normalised_text.py:score", text, "New York City", detail, accepted="aliases") is right


@pytest.mark.parametrize(
    ("completion", "gold", "kwargs", "right"),
    [
        ("The answer is (B).", "B", {}, RIGHT),
        ("answer: b", "B", {}, RIGHT),
        ("B.", "(B)", {}, RIGHT),
        ("B) Paris", "B", {}, RIGHT),
        ("B. A dog", "B", {}, RIGHT),
        ("B. A dog", "A", {}, WRONG),
        (r"\boxed{B}", "B", {}, RIGHT),
        (r"\boxed{\textbf{(B)}}", "B", {}, RIGHT),
        (r"\boxed{\text{B: Paris}}", "B", {}, RIGHT),
        ("**Answer: B**", "B", {}, RIGHT),
        ("I choose option D", "D", {}, RIGHT),
        ("It must be C, I am sure", "C", {}, WRONG),
        ("It must be C", "C", {}, RIGHT),
        ("e.g. this: (C)", "C", {}, RIGHT),
        ("(A) or (B)", "A", {}, WRONG),
        ("A, B, C, D", "A", {}, WRONG),
        ("A. B. C. D.", "A", {}, WRONG),
        ("A B C D E F G H I J", "A", {}, WRONG),
        ("(A)(B)(C)(D)", "D", {}, WRONG),
        ("Paris", "B", {}, WRONG),
        ("(E)", "A", {"letters": "ABCD"}, WRONG),
        ("", "A", {}, WRONG),
        ("(B)\n(C)", "C", {}, RIGHT),
    ],
)
def test_one_letter_is_chosen_and_several_are_none(completion, gold, kwargs, right):
    assert correct("multiple_choice.py:score", completion, gold, **kwargs) is right


@pytest.mark.parametrize(
    ("completion", "gold", "kwargs", "right"),
    [
        ("The answer is 5.", "5", {}, RIGHT),
        ("5.0", "5", {}, RIGHT),
        ("1,234.50", "1234.5", {}, RIGHT),
        ("1\u202f234", "1234", {}, RIGHT),
        ("12,34", "1234", {}, WRONG),
        ("-3e-4", "-0.0003", {}, RIGHT),
        ("\u22123E-4", "-0.0003", {}, RIGHT),
        (r"\boxed{2.5 \times 10^{3}}", "2500", {}, RIGHT),
        ("2.5x10^3", "2500", {}, RIGHT),
        ("10^-2", "0.01", {}, RIGHT),
        ("2/6", "1/3", {}, RIGHT),
        (r"\boxed{\frac{1}{3}}", "2/6", {}, RIGHT),
        (r"\boxed{-\dfrac{3}{4}}", "-0.75", {}, RIGHT),
        (r"\boxed{1\frac{1}{2}}", "1.5", {}, RIGHT),
        ("1 1/2", "3/2", {}, RIGHT),
        ("1.5/2", "0.75", {}, RIGHT),
        ("0.333333", "1/3", {}, WRONG),
        ("0.333333", "1/3", {"relative": 1e-5}, RIGHT),
        ("12%", "0.12", {}, RIGHT),
        ("12 percent", "12%", {}, RIGHT),
        (r"\boxed{12\%}", "12", {}, WRONG),
        ("$5", "5", {}, RIGHT),
        ("x = 5", "5", {}, RIGHT),
        ("5 or 6", "5", {}, WRONG),
        ("5 = 5.0", "5", {}, RIGHT),
        ("3 + 4 = 7", "7", {}, WRONG),
        ("3 + 4 = 7", "7", {"answer_in": "last_number"}, RIGHT),
        ("1 2 3 4 5", "3", {"answer_in": "last_number"}, WRONG),
        ("an area of 5 m^2", "5", {"answer_in": "last_number"}, RIGHT),
        ("H2O", "2", {}, WRONG),
        ("2x", "2", {}, WRONG),
        ("the 2nd", "2", {}, WRONG),
        ("1/0", "5", {}, WRONG),
        ("five", "5", {}, WRONG),
        ("1.234,5", "1234,5", {"decimal_comma": True}, RIGHT),
        ("3,5", "3,50", {"decimal_comma": True}, RIGHT),
        ("1e999999999", "5", {"relative": 0.5}, WRONG),
        ("9" * 5000, "5", {}, WRONG),
    ],
)
def test_numbers_are_compared_as_exact_fractions(completion, gold, kwargs, right):
    assert correct("number.py:score", completion, gold, **kwargs) is right


@pytest.mark.parametrize(
    ("answer", "kwargs", "right"),
    [
        # gold 10: relative 0.1 allows 9 to 11, absolute 0.3 allows 9.7 to 10.3, the larger of the two counts
        ("11", {"relative": 0.1}, RIGHT),
        ("11.001", {"relative": 0.1}, WRONG),
        ("9", {"relative": 0.1, "absolute": 0.3}, RIGHT),
        ("10.3", {"absolute": 0.3}, RIGHT),
        ("9.7", {"absolute": 0.3}, RIGHT),
        ("9.69", {"absolute": 0.3, "relative": 0.01}, WRONG),
    ],
)
def test_both_tolerances_include_their_end(answer, kwargs, right):
    assert correct("number.py:score", answer, "10", **kwargs) is right


@pytest.mark.parametrize(
    ("answer", "gold", "kwargs", "right"),
    [
        ("5 km", "5000 m", {}, RIGHT),
        ("3.6 km/h", "1", {"unit": "m/s"}, RIGHT),
        (r"\boxed{5\,\text{cm}^2}", "5e-4 m^2", {}, RIGHT),
        ("9.8 m/s\u00b2", "9.81 m s^-2", {"relative": 0.01}, RIGHT),
        ("5", "5 km", {}, WRONG),
        ("5 kg", "5 km", {}, WRONG),
        ("5 m", "5 km", {}, WRONG),
        ("0 \u00b0C", "0 K", {}, WRONG),
        ("5 apples", "5", {}, RIGHT),
        ("5 km", "5", {}, RIGHT),
        ("7 days", "1 week", {}, RIGHT),
        ("1e-6 mi", "1.609344 mm", {}, RIGHT),
    ],
)
def test_a_gold_unit_must_be_met_and_converts(answer, gold, kwargs, right):
    assert correct("number.py:score", answer, gold, **kwargs) is right


@pytest.mark.parametrize(
    ("completion", "gold", "kwargs", "right"),
    [
        ("The answer is 3, 1, 2", "1, 2, 3", {}, RIGHT),
        ("[3, 1, 2]", "1,2,3", {}, RIGHT),
        (r"\boxed{\{b, a\}}", '["a", "b"]', {}, RIGHT),
        ("1; 2; 2", "1, 2", {}, RIGHT),
        ("1; 2; 2", "1, 2", {"repeats": True}, WRONG),
        ("2, 1", "1, 2", {"ordered": True}, WRONG),
        ("1, 1, 2", "1, 2", {"ordered": True}, RIGHT),
        ("1, 1, 2", "1, 2", {"ordered": True, "repeats": True}, WRONG),
        ("(3,4), (1, 2)", "(1,2), (3, 4)", {}, RIGHT),
        ("(2,1)", "(1,2)", {}, RIGHT),
        ("Red , 'green'", '["red", "GREEN"]', {}, RIGHT),
        ("1, 2, 3, 4", "1, 2", {}, WRONG),
        ("1.0", "1", {}, WRONG),
        ("[]", "[]", {}, RIGHT),
        ("1", "[]", {}, WRONG),
        ("", "1", {}, WRONG),
        ("[1, [2, 3]]", "1, [2,3]", {}, RIGHT),
    ],
)
def test_lists_are_compared_with_or_without_order_and_repeats(completion, gold, kwargs, right):
    assert correct("sets_and_lists.py:score", completion, gold, **kwargs) is right


def test_f1_pays_for_the_right_items_and_charges_for_the_rest():
    # 2 of 4 given are right: precision 1/2; 2 of 3 asked are there: recall 2/3; F1 = 2 * 1/2 * 2/3 / (1/2 + 2/3) = 4/7
    score = verdict("sets_and_lists.py:score", "a, b, x, y", "a, b, c", credit="f1")
    assert score.reward == pytest.approx(4 / 7)
    assert score.parts == pytest.approx({"precision": 1 / 2, "recall": 2 / 3})
    assert score.correct is False
    # in order: only "a" stands where it should: precision 1/2, recall 1/2
    assert verdict("sets_and_lists.py:score", "a, c", "a, b", credit="f1", ordered=True).reward == 0.5
    # with repeats: one of the two "a" given is asked for: precision 1/2, recall 1/1
    assert verdict("sets_and_lists.py:score", "a, a", "a", credit="f1", repeats=True).reward == pytest.approx(2 / 3)


GOLD_PERSON = json.dumps({"name": "Ada", "year": 1815, "alive": False})


@pytest.mark.parametrize(
    ("completion", "kwargs", "right"),
    [
        ('Here: {"name": "Ada", "year": 1815.0, "alive": false} there', {}, RIGHT),
        ('{"name": "Eve"} {"alive": false, "name": "Ada", "year": 1815}', {}, RIGHT),
        ('{"name": "Ada", "year": 1815, "alive": false} {"name": "Eve"}', {}, WRONG),
        ('{"name": "Ada", "year": 1815, "alive": 0}', {}, WRONG),
        ('{"name": "ada", "year": 1815, "alive": false}', {}, WRONG),
        ('{"name": "Ada", "year": 1815}', {}, WRONG),
        ('{"name": "Ada", "year": 1815}', {"fields": ["name", "year"]}, RIGHT),
        ('{"name": "Ada", "year": 1815, "alive": false, "x": {}}', {}, RIGHT),
        ('{"name": "Ada", "year": 1815, "alive": false, "x": {}}', {"extra": False}, WRONG),
        ('{ a stray brace, then {"name": "Ada", "year": 1815, "alive": false}', {}, RIGHT),
        ('[{"name": "Ada", "year": 1815, "alive": false}]', {}, RIGHT),
        ("{}", {}, WRONG),
        ("no object", {}, WRONG),
        ('{"name": "Ada", "year": 1815, "alive": false', {}, WRONG),
    ],
)
def test_the_last_object_must_have_the_gold_fields(completion, kwargs, right):
    assert correct("json_fields.py:score", completion, GOLD_PERSON, **kwargs) is right


def test_braces_and_quotes_inside_a_json_text_are_text():
    gold = {"a": 'x } " { y', "b": [{"c": True}, None]}
    assert correct("json_fields.py:score", f"so {json.dumps(gold)} it is", "", {"gold": gold}, gold="gold")


def test_partial_credit_is_the_share_of_fields():
    two_of_three = '{"name": "Ada", "year": 1816, "alive": false}'
    score = verdict("json_fields.py:score", two_of_three, GOLD_PERSON, credit="fields")
    assert (score.reward, score.correct, score.parts) == (2 / 3, False, {"parsed": 1.0, "fields": 2 / 3})
    # an unwanted field counts as a fourth, wrong one
    four = '{"name": "Ada", "year": 1816, "alive": false, "x": 1}'
    assert verdict("json_fields.py:score", four, GOLD_PERSON, credit="fields", extra=False).reward == 2 / 4


def test_a_pattern_alone_judges_the_form_and_its_group_the_answer():
    spec, pattern = "regular_expression.py:score", r"Result: (?P<answer>\w+)"
    assert verdict(spec, "Result: x", pattern=pattern).reward == 1.0
    assert verdict(spec, "Result: x", pattern=pattern).correct is None
    assert verdict(spec, "Result x", pattern=pattern).reward == 0.0
    assert correct(spec, "Result: 4. Result: 5", "5", pattern=pattern, group="answer")
    assert not correct(spec, "Result: 5. Result: 4", "5", pattern=pattern, group=1)
    assert not correct(spec, "none", "5", pattern=pattern, group=1)
    assert not correct(spec, "so Result: 5", "5", pattern=pattern, group=1, mode="fullmatch")
    assert correct(spec, " Result: 5\n", "5", pattern=pattern, group=1, mode="fullmatch")


UNARY_SUM = "+ -> "
BINARY_TO_UNARY = '1 -> 0|\n"|0" -> "0||"\n0 -> '
"""Markov's own example: 101 -> |||||."""


@pytest.mark.parametrize(
    ("program", "tests", "passed"),
    [
        (UNARY_SUM, [["||+|", "|||"], ["|+|+|", "|||"]], 2),
        (BINARY_TO_UNARY, [["101", "|||||"], ["11", "|||"], ["0", ""]], 3),
        ("a ->. b", [["aa", "ba"]], 1),  # terminal: once
        ("a -> b", [["aa", "bb"]], 1),
        ("aa -> x\na -> y", [["aaa", "xy"]], 1),  # first rule first, leftmost place
        ("a -> y\naa -> x", [["aaa", "yyy"]], 1),
        ("->. x", [["ab", "xab"]], 1),  # an empty left side stands before the text
        ("ab -> ba", [["bbaa", "bbaa"], ["aab", "baa"]], 2),
        ("Rules:\n  a \u2192 b  \nDone", [["a", "b"]], 1),
        ("a -> a", [["a", "a"], ["b", "b"]], 1),  # the first never ends
        ("-> x", [["a", "xa"]], 0),
        ("a -> aa", [["a", "a"]], 0),
        ("a -> b", [["a", "c"], ["a", "b"]], 1),
    ],
)
def test_rewrite_programs_run_by_markovs_rules(program, tests, passed):
    for credit, reward in (("share", passed / len(tests)), ("exact", float(passed == len(tests)))):
        score = verdict(
            "string_rewrite.py:score", f"<answer>{program}</answer>", detail={"tests": tests}, credit=credit
        )
        assert score.reward == reward
        assert score.correct is (passed == len(tests))


def test_a_rewrite_program_ends_at_its_limits():
    detail = {"tests": [["aaa", "bbb"]]}
    run = {"detail": detail, "answer_in": "whole"}
    assert verdict("string_rewrite.py:score", "a -> b", max_steps=3, **run).correct is True
    assert verdict("string_rewrite.py:score", "a -> b", max_steps=2, **run).correct is False
    assert verdict("string_rewrite.py:score", "a -> b\nc -> c", max_rules=1, **run).correct is False
    grown = {"detail": {"tests": [["a", "xxxxa"]]}, "answer_in": "whole"}
    assert verdict("string_rewrite.py:score", "a ->. xxxxa", max_length=5, **grown).correct is True
    assert verdict("string_rewrite.py:score", "a ->. xxxxa", max_length=4, **grown).correct is False


def test_rewrite_parts_tell_rules_and_share_that_halted():
    detail = {"tests": [["a", "a"], ["b", "b"], ["c", "c"], ["d", "x"]]}
    score = verdict("string_rewrite.py:score", "<answer>a -> a</answer>", detail=detail, credit="share")
    assert score.parts == {"rules": 1.0, "halted": 3 / 4}
    assert score.reward == 2 / 4


@pytest.mark.parametrize(
    ("completion", "kwargs", "reward"),
    [
        ("<think>a</think><answer>b</answer>", {}, 1),
        (" <think>\na</think>\n\n<answer>b</answer>\n", {}, 1),
        ("hm <think>a</think><answer>b</answer>", {}, 0),
        ("<think>a</think> so <answer>b</answer>", {}, 0),
        ("<think>a</think><answer>b</answer>!", {}, 0),
        ("<answer>b</answer><think>a</think>", {}, 0),
        ("<think>a</think><answer>b</answer><answer>c</answer>", {}, 0),
        ("<think><think>a</think><answer>b</answer>", {}, 0),
        ("<think>a<answer>b</answer></think>", {}, 0),
        ("<think>a</think><answer></answer>", {}, 0),
        ("<think>a</think><answer></answer>", {"empty": True}, 1),
        ("<think>a</think>", {}, 0),
        ("<think>a</think>", {"tags": ["think"]}, 1),
        ("a</think><answer>b</answer>", {"before": "<think>"}, 1),
        ("<think>a</think><answer>b</answer>", {"before": "<think>"}, 0),
        ("", {}, 0),
    ],
)
def test_tags_stand_once_in_order_and_nothing_outside(completion, kwargs, reward):
    score = verdict("format_tags.py:score", completion, **kwargs)
    assert (score.reward, score.correct) == (reward, None)


@pytest.mark.parametrize(
    ("words", "reward"), [(0, -1.0), (3, -0.5), (5, 0.0), (10, 0.0), (11, -0.25), (14, -1.0), (100, -1.0)]
)
def test_a_band_pays_nothing_inside_and_falls_outside(words, reward):
    # 5 to 10 words, slack 4: three words are 2 short, 2/4
    score = verdict("length.py:band", "w " * words, shortest=5, longest=10, slack=4)
    assert score.reward == reward
    assert score.parts == {"length": words}


@pytest.mark.parametrize(("length", "reward"), [(0, 0), (60, 0), (70, -0.25), (80, -0.5), (100, -1), (101, -1)])
def test_soft_overlong_is_dapos(length, reward):
    # L_max 100, L_cache 40: 0 up to 60, (60 - 70) / 40 = -1/4 at 70, -1 from 100
    assert verdict("length.py:soft_overlong", "x" * length, longest=100, cache=40, unit="characters").reward == reward


@pytest.mark.parametrize(
    ("spec", "answer", "detail", "kwargs", "message"),
    [
        ("normalised_text.py:score", "...", {}, {}, r"toy/1.*nothing but punctuation"),
        ("normalised_text.py:score", "a", {}, {"accepted": "aliases"}, "'aliases' is not one of nothing"),
        ("normalised_text.py:score", "a", {"aliases": "b"}, {"accepted": "aliases"}, "must be a list of texts"),
        ("multiple_choice.py:score", "Paris", {}, {}, "'Paris' of problem 'toy/1' is not one of the letters"),
        ("multiple_choice.py:score", "E", {}, {"letters": "ABCD"}, "not one of the letters ABCD"),
        ("multiple_choice.py:score", "E", {}, {"letters": "XYZ"}, "letters 'XYZ' must be some of"),
        ("number.py:score", "five", {}, {}, "'five' of problem 'toy/1' cannot be read as one number"),
        ("number.py:score", "5 or 6", {}, {}, "cannot be read as one number"),
        ("number.py:score", "1e999999", {}, {}, "cannot be read as one number"),
        ("number.py:score", "5", {}, {"unit": "parsecs"}, "unit 'parsecs' is not in the table"),
        ("number.py:score", "5", {}, {"relative": -1}, "must be 0 or more"),
        ("number.py:score", "5", {}, {"absolute": float("nan")}, "nan"),
        ("sets_and_lists.py:score", " ", {}, {}, "holds no list of items"),
        ("sets_and_lists.py:score", "1", {}, {"credit": "F1"}, "credit 'F1' is not one of exact, f1"),
        ("json_fields.py:score", "{", {}, {}, "'{' of problem 'toy/1' is not JSON"),
        ("json_fields.py:score", "[1]", {}, {}, "must be a JSON object"),
        ("json_fields.py:score", "{}", {}, {}, "no field"),
        ("json_fields.py:score", '{"a": 1}', {}, {"fields": ["b"]}, "no field 'b'"),
        ("json_fields.py:score", "", {}, {"gold": "object"}, "'object' is not one of nothing"),
        ("regular_expression.py:score", "", {}, {"pattern": "("}, "is not a regular expression"),
        ("regular_expression.py:score", "", {}, {"pattern": "a", "group": "b"}, "group 'b' is not one of 0"),
        ("regular_expression.py:score", "", {}, {"pattern": "a", "mode": "match"}, "mode 'match' is not one of"),
        ("string_rewrite.py:score", "", {}, {}, "'tests' is not one of nothing"),
        ("string_rewrite.py:score", "", {"tests": []}, {}, "must list pairs"),
        ("string_rewrite.py:score", "", {"tests": [["a", 1]]}, {}, "must list pairs"),
        ("string_rewrite.py:score", "", {"tests": [["a", "b"], "ab"]}, {}, "must list pairs"),
        ("format_tags.py:score", "", {}, {"tags": []}, "must be names"),
        ("format_tags.py:score", "", {}, {"tags": ["a", "a"]}, "must be names"),
        ("format_tags.py:score", "", {}, {"tags": ["<a>"]}, "must be names"),
        ("length.py:band", "", {}, {"shortest": 5, "longest": 4, "slack": 1}, "shortest <= longest"),
        ("length.py:band", "", {}, {"shortest": 1, "longest": 4, "slack": 1, "unit": "tokens"}, "'tokens' is not one"),
        ("length.py:soft_overlong", "", {}, {"longest": 5, "cache": 6}, "cache <= longest"),
        ("boxed_math.py:score", "no maths here", {}, {"answer_in": "box"}, "answer_in 'box' is not one of"),
        ("boxed_math.py:score", "", {}, {}, "holds no mathematics"),
    ],
)
def test_an_unusable_gold_answer_or_kwarg_is_an_error_that_names_it(spec, answer, detail, kwargs, message):
    with pytest.raises(ValueError, match=message):
        verdict(spec, "1", answer, detail, **kwargs)
