import pytest

from rlreason.tasks.derivations import answer_after, pieces, verdict
from rlreason.types import Step

RIGHT, WRONG = Step(0, 1, "right", "", 1.0), Step(1, 2, "wrong", "order")


@pytest.mark.parametrize(
    ("text", "mark", "found"),
    [
        ("  One. Two .\nThree  ", ".", ["One.", "Two .", "Three"]),
        ("one \n\n two", "\n", ["one", "two"]),
        (" \n ", ".", []),
        ("..", ".", [".", "."]),
    ],
)
def test_pieces_are_what_stands_between_marks(text, mark, found):
    assert [text[start:end] for start, end in pieces(text, 0, len(text), mark, 9)] == found


def test_no_more_pieces_are_looked_at_than_wanted_and_none_beyond_the_stop():
    assert list(pieces("a.b.c.", 0, 6, ".", 2)) == [(0, 2), (2, 4)]
    assert list(pieces("a.b.c.", 2, 3, ".", 9)) == [(2, 3)]


@pytest.mark.parametrize(
    ("text", "start", "answer", "rest"),
    [
        ("is:  two  words . more", 3, "two words", 17),
        ("is: 4", 3, "4", 6),
        ("is: .", 3, None, 5),
        ("is:", 3, None, 4),
        ("no conclusion", -1, None, 13),
        ("is: " + "9" * 20, 3, None, 25),  # longer than any answer
    ],
)
def test_an_answer_ends_with_a_full_stop_or_the_text(text, start, answer, rest):
    assert answer_after(text, start, longest=16) == (answer, rest)


@pytest.mark.parametrize(
    ("steps", "trailing", "complete", "answer", "error", "kind"),
    [
        ([RIGHT], [], True, "4", None, ""),
        ([RIGHT, WRONG], [], True, "4", 1, "order"),
        ([RIGHT], [], False, "4", 1, "stop"),
        ([RIGHT], [], True, None, 1, "stop"),
        ([RIGHT], [], True, "5", 1, "answer"),
        ([RIGHT], [WRONG], True, "4", 1, "stop"),
    ],
)
def test_the_first_thing_that_is_not_right_decides(steps, trailing, complete, answer, error, kind):
    found = verdict(steps, trailing, complete=complete, answer=answer, gold="4")
    assert (found.first_error, found.first_error_kind, found.derivation_correct) == (error, kind, error is None)
    assert found.answer_correct == (answer == "4") and found.steps == (*steps, *trailing)
