import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.packing import (
    COPIES,
    balanced_micro_batches,
    pack_rows,
    padded_share,
    shared_micro_batches,
)

lengths_strategy = st.lists(st.integers(1, 50), min_size=1, max_size=60)


@given(lengths_strategy, st.integers(1, 5), st.integers(1, 200))
def test_every_sequence_is_in_exactly_one_micro_batch_and_ranks_make_equally_many_passes(lengths, ranks, budget):
    plans = balanced_micro_batches(lengths, ranks, budget)
    placed = [index for plan in plans for batch in plan for index in batch]
    assert sorted(placed) == list(range(len(lengths)))
    assert len(plans) == ranks
    assert len({len(plan) for plan in plans}) == 1


@given(lengths_strategy, st.integers(1, 5), st.integers(1, 200))
def test_a_micro_batch_keeps_the_budget_unless_one_sequence_alone_exceeds_it(lengths, ranks, budget):
    for batch in itertools.chain.from_iterable(balanced_micro_batches(lengths, ranks, budget)):
        assert len(batch) <= 1 or len(batch) * max(lengths[index] for index in batch) <= budget


@given(lengths_strategy, st.integers(2, 5))
def test_ranks_hold_nearly_the_same_tokens(lengths, ranks):
    held = [sum(lengths[i] for batch in plan for i in batch) for plan in balanced_micro_batches(lengths, ranks, 100)]
    assert max(held) - min(held) <= max(lengths)


def test_micro_batches_worked_by_hand():
    # sorted 9 8 5 5 3: rank 0 gets 9 5 3, rank 1 gets 8 5. Budget 10: 9 alone; 5 and 3 as 2 x 5, of which 2 of 32 in
    # all are padding, over 5%; budget 5: all alone, rank 1 with an empty pass at the end
    assert balanced_micro_batches([3, 9, 5, 8, 5], ranks=2, budget=10) == [[[1], [2], [0]], [[3], [4], []]]
    # sorted 9 8 5 4 4: 9 alone, 5 and 4 as 2 x 5; 8 alone, 4 alone: 1 of 31, under 5%
    assert balanced_micro_batches([4, 9, 4, 8, 5], ranks=2, budget=10) == [[[1], [4, 2]], [[3], [0]]]


def test_passes_are_of_equal_size():
    # seven of length 4 and a budget of 24: six and one would do, four and three take the same two passes
    assert [len(batch) for batch in balanced_micro_batches([4] * 7, ranks=1, budget=24)[0]] == [4, 3]


def test_ranks_without_sequences_make_empty_passes():
    assert balanced_micro_batches(np.array([4]), ranks=3, budget=8) == [[[0]], [[]], [[]]]


@given(st.integers(1, 60).flatmap(lambda w: st.tuples(st.just(w), st.lists(st.integers(1, w), max_size=80))))
def test_every_sequence_is_in_exactly_one_row_and_no_row_overflows(drawn):
    width, lengths = drawn
    rows = pack_rows(lengths, width)
    assert sorted(itertools.chain.from_iterable(rows)) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= width for row in rows)
    assert all(row == sorted(row) for row in rows)
    # first fit: no two rows could have been one
    halves = [row for row in rows if 2 * sum(lengths[index] for index in row) <= width]
    assert len(rows) > 64 or len(halves) <= 1


def test_rows_worked_by_hand():
    # width 10: 6 | 5 | 4 joins the first | 5 joins the second | 1 needs a third
    assert pack_rows([6, 5, 4, 5, 1], 10) == [[0, 2], [1, 3], [4]]


def test_a_row_closes_once_enough_newer_ones_are_open():
    # with one open row the 4 cannot go back to the first
    assert pack_rows([6, 5, 4], 10, open_rows=1) == [[0], [1, 2]]
    assert pack_rows([6, 5, 4], 10, open_rows=2) == [[0, 2], [1]]


def test_a_sequence_longer_than_a_row_is_refused_by_name():
    with pytest.raises(ValueError, match=r"sequence 1 has 11 tokens, more than a row's 10; raise row_tokens"):
        pack_rows([10, 11], 10)


def test_padded_share_worked_by_hand():
    # rows 2 x 4 and 1 x 6 computed, 4 + 3 + 6 of these 14 positions held
    assert padded_share([4, 3, 6], [[0, 1], [2], []]) == pytest.approx(1 / 14)
    assert padded_share([4, 4], [[0, 1]]) == 0.0
    assert padded_share([], []) == 0.0


# --- passes that compute a prompt once


groups_strategy = st.lists(
    st.tuples(st.integers(1, 40), st.lists(st.integers(1, 30), min_size=1, max_size=9)), min_size=1, max_size=12
)


def spread(groups):
    """(number of the prompt, tokens of the prompt, tokens of the completion) of each sequence of the groups."""
    rows = [(number, prompt, own) for number, (prompt, lengths) in enumerate(groups) for own in lengths]
    return tuple(list(column) for column in zip(*rows, strict=True))


@given(groups_strategy, st.integers(1, 4), st.integers(1, 300))
def test_with_shared_prompts_every_sequence_is_in_one_pass_within_the_budget(groups, ranks, budget):
    prompts, prompt_lengths, lengths = spread(groups)
    plans = shared_micro_batches(prompts, prompt_lengths, lengths, ranks, budget)
    passes = [batch for plan in plans for batch in plan]
    assert sorted(itertools.chain.from_iterable(passes)) == list(range(len(prompts)))
    assert len(plans) == ranks and len({len(plan) for plan in plans}) == 1
    for batch in passes:
        once = {prompts[index]: prompt_lengths[index] for index in batch}
        copies = sum((prompt_lengths[index] + lengths[index]) // COPIES for index in batch)
        assert len(batch) <= 1 or sum(once.values()) + sum(lengths[index] for index in batch) + copies <= budget


def test_passes_with_shared_prompts_worked_by_hand():
    # two prompts of 10 tokens with three completions of 5 each: 10 + 3 x (5 + 15 // 8) = 28
    prompts, prompt_lengths, lengths = spread([(10, (5, 5, 5)), (10, (5, 5, 5))])
    assert shared_micro_batches(prompts, prompt_lengths, lengths, 1, 56) == [[[0, 1, 2, 3, 4, 5]]]
    assert shared_micro_batches(prompts, prompt_lengths, lengths, 1, 55) == [[[0, 1, 2], [3, 4, 5]]]
    assert shared_micro_batches(prompts, prompt_lengths, lengths, 2, 56) == [[[0, 1, 2]], [[3, 4, 5]]]
    # 27: a prompt's completions no longer fit together
    assert shared_micro_batches(prompts, prompt_lengths, lengths, 1, 27) == [[[0, 1], [2], [3, 4], [5]]]
    # one prompt for two ranks is computed by both
    assert shared_micro_batches(prompts[:3], prompt_lengths[:3], lengths[:3], 2, 56) == [[[0, 1]], [[2]]]
