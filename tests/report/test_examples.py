import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.errors import RecordsError
from rlreason.records import read_plan
from rlreason.report.examples import Piece, collect_examples, cut_by_steps
from tests.report.synthetic import finished_run


def spans(*steps: tuple[int, int, str]) -> str:
    return json.dumps([{"start": s, "end": e, "verdict": v, "kind": "", "score": 0.0} for s, e, v in steps])


def test_steps_cut_the_text_where_they_lie():
    pieces = cut_by_steps("abcdef", spans((1, 3, "right"), (3, 4, "wrong")), "here")
    assert pieces == (Piece("a"), Piece("bc", "right"), Piece("d", "wrong"), Piece("ef"))


@given(
    st.text(max_size=12),
    st.lists(st.tuples(st.integers(-3, 15), st.integers(-3, 15), st.sampled_from(["right", "wrong"])), max_size=4),
)
def test_no_character_is_lost_or_doubled_whatever_the_spans(text, steps):
    assert "".join(piece.text for piece in cut_by_steps(text, spans(*steps), "here")) == text


@pytest.mark.parametrize("steps", ["not json", "{}x", "[1]", '[{"start": 0}]', "3"])
def test_steps_that_are_not_steps_are_named(steps):
    with pytest.raises(RecordsError, match=r"problem 7: column 'steps'"):
        cut_by_steps("abc", steps, "problem 7")


def test_the_first_of_each_kind_is_shown(tmp_path):
    folder = finished_run(tmp_path)
    examples = collect_examples(folder, read_plan(folder))
    # of ten: 0 and 1 right with wrong steps, 2 to 4 right, 5 to 8 wrong, 9 not judged
    assert [(each.kind, each.problem) for each in examples["iid"]["sft"]] == [
        ("right", "iid/2"),
        ("right answer, wrong steps", "iid/0"),
        ("wrong", "iid/5"),
        ("unscored", "iid/9"),
    ]
    assert examples["iid"]["sft"][3].failure == "PluginTimeout: took over 5 s"
    assert examples["iid"]["sft"][2].first_error_kind == "context_hop"
    assert examples["iid"]["sft"][0].prompt == "Who is it? <b>2</b>"
