"""The window of an arm's last values, against a deque."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rlreason.curriculum.window import Window

VALUES = st.lists(st.one_of(st.just(np.nan), st.integers(0, 9).map(float)), min_size=4, max_size=4)


@given(size=st.integers(1, 6), updates=st.lists(st.tuples(VALUES, VALUES), max_size=6))
def test_a_window_holds_what_a_deque_would(size, updates):
    window = Window((2,), size)
    kept = [deque(maxlen=size), deque(maxlen=size)]
    for update in updates:
        window.push(np.array(update))
        for arm, values in zip(kept, update, strict=True):
            arm.extend(value for value in values if not np.isnan(value))
    assert window.count.tolist() == [len(arm) for arm in kept]
    assert window.mean().tolist() == [np.mean(arm) if arm else 0.0 for arm in kept]


def test_more_values_at_once_than_it_holds_leave_the_last():
    window = Window((1,), 2)
    window.push(np.array([[1.0, 2.0, np.nan, 5.0, 9.0]]))
    assert window.mean().tolist() == [7.0]
    assert window.pushed.tolist() == [4]
