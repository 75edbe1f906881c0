"""What is chosen to be browsed, how it is cut, and that it stays small and harmless; the page is driven elsewhere."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.errors import RecordsError
from rlreason.records import RunFolder, read_plan, write_part
from rlreason.report import browser
from rlreason.report.browser import Derivations, Piece, choose_problems, collect_derivations, cut_by_steps, visible
from rlreason.report.counts import count_outcomes
from tests.report.synthetic import Counts, finished_run, write_evaluation


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


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return finished_run(tmp_path)


def collect(folder: RunFolder) -> Derivations:
    counts = count_outcomes(folder, ["evaluate-sft-0", "evaluate-rl-0"]).table
    return collect_derivations(folder, read_plan(folder), counts)


def test_every_arm_stands_beside_the_others_on_the_same_problem(run):
    found = collect(run)
    assert (found.levels(), found.arms()) == (["iid", "zero_shot"], ["sft", "sft_rl"])
    assert found.error_kinds() == ["context_hop"]
    assert (len(found.problems), found.asked, found.left_out) == (20, 20, 0)
    fifth = next(each for each in found.problems if each.problem == "iid/5")
    assert (fifth.prompt, fifth.answer) == ("Who is it? <b>5</b>", "Bob")
    # greedy: wrong for sft, right for sft_rl; the first sample the same
    assert [(each.arm, each.sample, each.kind) for each in fifth.completions] == [
        ("sft", "greedy", "wrong"),
        ("sft", "sampled", "wrong"),
        ("sft_rl", "greedy", "right"),
        ("sft_rl", "sampled", "right"),
    ]
    kinds = {each.problem: each.completions[0] for each in found.problems}
    assert [kinds[f"iid/{n}"].kind for n in (0, 2, 9)] == ["right answer, wrong steps", "right", "unscored"]
    assert kinds["iid/9"].failure == "PluginTimeout: took over 5 s"


def test_the_first_of_every_kind_comes_before_others_whatever_their_number():
    # one arm: the first 20 problems right, then two wrong, then one that could not be judged
    right = [1] * 20 + [0, 0, 0]
    greedy = pd.DataFrame({"stage": "s", "problem": [f"p{n}" for n in range(23)], "right": right})
    greedy = greedy.assign(judged=[1] * 22 + [0], right_checked=right, right_derived=right)
    # p0, p20, p22 and the nine first others
    assert choose_problems(greedy) == [*(f"p{n}" for n in range(10)), "p20", "p22"]


def test_what_is_embedded_stays_small_however_long_the_texts(run, monkeypatch):
    rows = pd.read_parquet(run.records / "evaluations/evaluate-sft-0/part-000000.parquet")
    write_part(run, "evaluations", "evaluate-sft-0", 0, rows.assign(text="x" * 100_000))
    monkeypatch.setattr(browser, "MOST_TEXT", 40_000)
    found = collect(run)
    assert found.left_out > 0
    assert len(found.problems) + found.left_out == 20
    assert sum(each.size for each in found.problems) <= 40_000
    shown = found.problems[0].completions[0]
    assert (sum(len(piece.text) for piece in shown.pieces), shown.left_out) == (4000, 96_000)
    # both levels are there: what does not fit is missing from all alike
    assert found.levels() == ["iid", "zero_shot"]


def test_only_the_parts_that_hold_chosen_problems_are_read(run):
    many = {"iid": Counts(50, [4] * 100), "zero_shot": Counts(50, [4] * 100)}
    write_evaluation(run, "evaluate-sft-0", many)
    assert len([each for each in collect(run).problems if each.level == "iid"]) == 12


def test_an_arm_that_cannot_be_read_is_not_shown(run):
    counts = count_outcomes(run, ["evaluate-sft-0"]).table
    assert collect_derivations(run, read_plan(run), counts).arms() == ["sft"]
    assert collect_derivations(run, read_plan(run), counts[:0]) == Derivations((), 0, 0)


def test_control_characters_and_turned_directions_are_seen():
    assert visible("a\x1b[31mred\x00\x7f\n\tb") == "a␛[31mred␀␡\n\tb"
    assert visible("x\u202egpj.exe") == "x⟨U+202E⟩gpj.exe"
