from collections import Counter
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.errors import UserError
from rlreason.recipe.stages import Mixture
from rlreason.stages import supervised
from rlreason.stages.supervised import build_rows, examples, gold_episode, tokenise
from rlreason.types import Problem

END = 99


class Letters:
    """A codec whose tokens are code points, and whose end token is 99 ('c')."""

    end = END

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array([ord(letter) for letter in text], dtype=np.int32) for text in texts]


class Counting:
    """A task whose problems and texts say what they are."""

    def problem(self, level: str, cell: str, index: int) -> Problem:
        return Problem(f"{level}/{cell}/{index}", "t", cell, level, f"{level}/{cell}/{index}?", "", f"{index}!")

    def text(self, index: int) -> str:
        return f"text {index}"


class OneTask:
    """As much of a `Context` as examples need."""

    def task(self, name: str | None) -> Any:
        assert name is None
        return Counting()


def stream(*entries: tuple[Mixture, list[str]], seed: int = 0) -> Any:
    return examples(entries, OneTask(), np.random.default_rng(seed))


# --- which examples


def test_every_problem_of_a_cell_is_used_once_in_order():
    pairs = list(islice(stream((Mixture(cells=("*",)), ["a", "b"])), 2000))
    for cell in "ab":
        own = [prompt for prompt, _ in pairs if prompt.startswith(f"train/{cell}/")]
        assert own == [f"train/{cell}/{index}?" for index in range(len(own))]
    assert pairs[0][1] == ("0!",)


def test_an_entry_held_to_some_problems_uses_those_of_each_cell_over_and_over():
    pairs = list(
        islice(stream((Mixture(cells=("*",), problems=2), ["a", "b"]), (Mixture(texts=True, problems=3), [])), 500)
    )
    for cell in "ab":
        own = [prompt for prompt, _ in pairs if prompt.startswith(f"train/{cell}/")]
        assert len(own) > 80 and own == [f"train/{cell}/{index % 2}?" for index in range(len(own))]
    texts = [text for prompt, (text,) in pairs if not prompt]
    assert texts == [f"text {index % 3}" for index in range(len(texts))]


def test_entries_are_mixed_by_weight_and_their_cells_in_equal_shares():
    pairs = islice(
        stream(
            (Mixture(cells=("x*",), weight=3.0, level="train"), ["x1", "x2", "x3"]),
            (Mixture(cells=("y",), weight=1.0, level="iid"), ["y"]),
            (Mixture(texts=True, weight=2.0), []),
        ),
        12_000,
    )
    counts = Counter(prompt.rpartition("/")[0] for prompt, _ in pairs)
    shares = {name: count / 12_000 for name, count in counts.items()}
    expected = {"train/x1": 1 / 6, "train/x2": 1 / 6, "train/x3": 1 / 6, "iid/y": 1 / 6, "": 1 / 3}
    # four standard deviations of a share of 12,000 draws
    assert shares == pytest.approx(expected, abs=4 * (0.25 / 12_000) ** 0.5)


def test_a_text_has_no_prompt():
    assert list(islice(stream((Mixture(texts=True), [])), 3)) == [("", (f"text {index}",)) for index in range(3)]


def test_the_seed_decides_the_stream():
    entries = [(Mixture(cells=("*",)), ["a", "b", "c"])]
    first, same, other = (list(islice(stream(*entries, seed=seed), 50)) for seed in (1, 1, 2))
    assert first == same != other


# --- which tokens


def test_supervised_fine_tuning_trains_what_follows_the_prompt_and_the_end():
    (tokens,), (labels,) = tokenise([("ab", ("xy",))], Letters(), train_prompt=False)
    assert tokens.tolist() == [97, 98, 120, 121, END]
    assert labels.tolist() == [-100, -100, 120, 121, END]


def test_a_plain_text_is_trained_but_for_its_first_token():
    (tokens,), (labels,) = tokenise([("", ("xyz",))], Letters(), train_prompt=False)
    assert tokens.tolist() == [120, 121, 122, END]
    assert labels.tolist() == [-100, 121, 122, END]


def test_pretraining_trains_the_prompt_too():
    _, (labels,) = tokenise([("ab", ("xy",))], Letters(), train_prompt=True)
    assert labels.tolist() == [-100, 98, 120, 121, END]


def test_format_targets_are_those_of_the_next_problem_of_the_cell():
    entry = Mixture(cells=("*",), targets="format")
    pairs = list(islice(stream((entry, ["a", "b"])), 200))
    for cell in "ab":
        own = [pair for pair in pairs if pair[0].startswith(f"train/{cell}/")]
        assert own == [(f"train/{cell}/{index}?", (f"{index + 1}!",)) for index in range(len(own))]


class Echo:
    """An environment that says what it heard, in capitals, and a task of it; a turn "stop" ends the episode."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def environment(self, problem: Problem) -> Any:
        return Echo()

    def act(self, text: str) -> None:
        assert "stop" not in self.heard, "the episode is over"
        self.heard.append(text)

    def observe(self) -> str:
        return self.heard[-1].upper()


def test_a_gold_episode_has_the_environments_answers_between_the_turns():
    problem = Problem("p", "t", "c", "train", "?", "!", "aAbBstop", turns=("a", "b", "stop"))
    assert gold_episode(Echo(), problem) == ("a", "A", "b", "B", "stop")  # type: ignore[arg-type]


def test_what_an_environment_says_is_read_and_not_trained():
    # turns "ab" and "d" end with the end token each; the answer "xy" between them ends with none
    (tokens,), (labels,) = tokenise([("a", ("ab", "xy", "d"))], Letters(), train_prompt=False)
    assert tokens.tolist() == [97, 97, 98, END, 120, 121, 100, END]
    assert labels.tolist() == [-100, 97, 98, END, -100, -100, 100, END]
    _, (labels,) = tokenise([("a", ("ab", "xy", "d"))], Letters(), train_prompt=True)
    assert labels.tolist() == [-100, 97, 98, END, 120, 121, 100, END]


# --- rows


def test_rows_worked_by_hand(monkeypatch):
    monkeypatch.setattr(supervised, "BLOCK", 3)
    pairs = iter([("a", ("xy",)), ("abc", ("x",)), ("", ("xyz",)), *[("", ("w",))] * 3])
    rows = build_rows(pairs, Letters(), rows=2, width=8, train_prompt=False)
    # lengths 4, 5, 4 with their end tokens: the first and the third share a row of 8
    assert rows.tokens.tolist() == [[97, 120, 121, END, 120, 121, 122, END], [97, 98, 99, 120, END, 0, 0, 0]]
    assert rows.labels.tolist() == [
        [-100, 120, 121, END, -100, 121, 122, END],
        [-100, -100, -100, 120, END, -100, -100, -100],
    ]
    # the padding is a sequence of its own
    assert rows.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2, 3], [0, 1, 2, 3, 4, 0, 1, 2]]
    assert rows.tokens.dtype == rows.labels.dtype == rows.positions.dtype == np.int32


word = st.text("abde", max_size=6)


example = st.tuples(word, st.tuples(word))


@given(st.lists(example, min_size=1, max_size=20), st.integers(1, 12), st.integers(13, 40), st.booleans())
def test_rows_hold_whole_examples_and_nothing_else(pairs, rows, width, train_prompt):
    def endless():
        while True:
            yield from pairs

    packed = build_rows(endless(), Letters(), rows, width, train_prompt)
    assert packed.tokens.shape == (rows, width)
    allowed = set()
    for pair in pairs:
        tokens, labels = tokenise([pair], Letters(), train_prompt)
        allowed.add((tuple(tokens[0].tolist()), tuple(labels[0].tolist())))
    for tokens, labels, positions in zip(packed.tokens, packed.labels, packed.positions, strict=True):
        borders = [*np.flatnonzero(positions == 0).tolist(), width]
        for start, stop in pairwise(borders):
            assert positions[start:stop].tolist() == list(range(stop - start))
            example = (tuple(tokens[start:stop].tolist()), tuple(labels[start:stop].tolist()))
            padding = not any(example[0]) and set(example[1]) == {-100}
            assert example in allowed or (padding and stop == width)


def test_an_example_longer_than_a_row_is_refused_with_the_remedy():
    with pytest.raises(UserError, match=r"an example has 9 tokens, more than row_tokens 8; raise row_tokens"):
        build_rows(iter([("abcd", ("wxyz",))] * supervised.BLOCK), Letters(), rows=1, width=8, train_prompt=False)
