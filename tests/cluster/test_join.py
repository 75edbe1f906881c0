"""Waiting for nodes says how many came, and never waits past its time."""

from __future__ import annotations

import time

import pytest

from rlreason.cluster import join
from rlreason.errors import RunFailed, UserError


def test_it_looks_until_all_have_joined(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(join, "LOOK_S", 0.01)
    seen = iter([[], ["a"], ["a", "b"], ["a", "b", "c"]])
    assert join.look_until(lambda: next(seen), 2, 60) == ["a", "b"]


def test_nodes_that_are_missing_at_the_end_are_counted_and_the_others_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(join, "LOOK_S", 0.05)
    monkeypatch.setattr(join, "_alive", lambda address: ["10.0.0.1", "10.0.0.2"])
    start = time.monotonic()
    with pytest.raises(RunFailed, match=r"2 of 4 nodes had joined the cluster at h:1 after 0.2 s: 10.0.0.1, 10.0.0.2"):
        join.wait_for_nodes("h:1", 4, 0.2)
    assert time.monotonic() - start < 5


def test_a_head_that_is_not_there_is_said_to_be_silent():
    with pytest.raises(RunFailed, match=r"0 of 2 nodes had joined.*; Ray's head did not answer"):
        join.wait_for_nodes("127.0.0.1:9", 2, 0.5)


@pytest.mark.parametrize("address", ["nonsense", "host:", ":x", "a b:1"])
def test_what_is_no_address_of_a_head_is_refused(address: str):
    with pytest.raises(UserError, match="write HOST:PORT"):
        join.wait_for_nodes(address, 2, 1)
