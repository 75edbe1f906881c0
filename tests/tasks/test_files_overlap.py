"""Questions at two levels are found, whole or in a run of words, and refused before anything is trained."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.errors import TaskError
from rlreason.tasks.files.overlap import Overlaps, find_overlaps
from tests.tasks.own_files import files_task, write_lines

LONG = "a train leaves the old station at nine and reaches the far harbour town exactly four hours later"


def rows(*questions: str) -> list[dict[str, str]]:
    return [{"question": question, "answer": str(number)} for number, question in enumerate(questions)]


def levels(tmp_path, train, test) -> dict:
    return {
        "train": write_lines(tmp_path / "train.jsonl", rows(*train)),
        "test": write_lines(tmp_path / "test.jsonl", rows(*test)),
    }


def test_the_same_question_is_refused_with_both_places_and_what_to_do(tmp_path):
    found = levels(tmp_path, ["one?", "How MANY, sir?"], ["two?", "three?", "how many sir"])
    message = (
        r"1 of the 2 questions of 'train' and 1 of the 3 of 'test' are the same, or 13 words in a row: "
        r".*train\.jsonl row 2 and .*test\.jsonl row 3 \('how many sir'\)\. Take them out .* overlap: allow"
    )
    with pytest.raises(TaskError, match=message):
        _ = files_task(found).cells
    assert files_task(found, overlap="allow").problem("test", "own/all", 2).answer == "2"


def test_thirteen_words_in_a_row_are_refused_and_the_number_is_a_parameter(tmp_path):
    other = f"In another story {LONG.removesuffix(' later')}; how far is it?"
    found = levels(tmp_path, [LONG], [other])
    with pytest.raises(TaskError, match=r"\('a train leaves .* four hours'\)"):
        _ = files_task(found).cells
    assert files_task(found, overlap_words=0).cells, "the questions differ"
    shared = len(LONG.split()) - 1
    assert files_task(found, overlap_words=shared + 1).cells
    with pytest.raises(TaskError):
        _ = files_task(found, overlap_words=shared).cells


def test_questions_that_differ_in_a_sign_or_a_number_are_two(tmp_path):
    assert files_task(levels(tmp_path, ["2 + 2 = ?", "3.5 * 1"], ["2 - 2 = ?", "35 * 1"])).cells


def test_levels_for_training_may_share_questions_with_each_other(tmp_path):
    found = levels(tmp_path, ["one?"], ["two?"])
    assert files_task({**found, "train_more": found["train"]}).levels == ("train", "train_more", "test")
    with pytest.raises(TaskError, match="of 'train_more' and 1 of the 1 of 'test'"):
        _ = files_task({**found, "train_more": found["test"]}).cells


WORDS = st.lists(st.sampled_from("abc"), max_size=7).map(" ".join)


@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6), st.integers(0, 4), st.integers(1, 3))
def test_it_finds_what_comparing_every_pair_finds(first, second, run, piece):
    def runs(text: str) -> set[str]:
        words = text.split()
        found = {f"whole {text}"}
        return found | {" ".join(words[at : at + run]) for at in range(len(words) - run + 1)} if run else found

    def pieces(texts: list[str]) -> list[list[str]]:
        return [texts[at : at + piece] for at in range(0, len(texts), piece)]

    pairs = [(a, b) for a in range(len(first)) for b in range(len(second)) if runs(first[a]) & runs(second[b])]
    found = find_overlaps(pieces(first), pieces(second), run, shown=100)
    assert found.first == len({a for a, _ in pairs})
    assert found.second == len({b for _, b in pairs})
    assert set(found.pairs) <= set(pairs) and {a for a, _ in found.pairs} == {a for a, _ in pairs}


def test_one_question_among_many_is_found():
    rng = random.Random(0)
    words = [f"w{number}" for number in range(500)]
    first = [" ".join(rng.choices(words, k=30)) for _ in range(5000)]
    second = [" ".join(rng.choices(words, k=30)) for _ in range(1000)]
    assert find_overlaps([first], [second], 13) == Overlaps(0, 0, ())
    second[700] = "and so " + " ".join(first[4321].split()[5:20])
    assert find_overlaps([first], [second], 13) == Overlaps(1, 1, ((4321, 700),))
