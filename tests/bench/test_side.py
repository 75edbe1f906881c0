"""A side as a process: turns, what it prints, how it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from rlreason.bench.side import Side, held_bytes, tree
from rlreason.errors import RunFailed

TOY = "tests.bench.toy_side"


def child_of(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "pid").read_text()))


def test_a_side_makes_an_update_when_told_to_and_its_prints_stay_out_of_the_way(tmp_path: Path):
    with Side("toy", TOY, tmp_path) as side:
        assert side.first_update() > 0
        assert side.update().seconds == 2.0
    assert "what a library prints" in (tmp_path / "toy.log").read_text()
    assert (tmp_path / "over").exists()  # it ended by itself, at the end of its input


def test_nothing_that_a_side_started_outlives_it(tmp_path: Path):
    with Side("toy", TOY, tmp_path) as side:
        side.first_update()
        child = child_of(tmp_path)
        assert child.is_running()
    assert not child.is_running()


def test_nothing_outlives_an_interruption_either(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), Side("toy", TOY, tmp_path) as side:
        side.first_update()
        child = child_of(tmp_path)
        raise KeyboardInterrupt
    assert not child.is_running()


def test_a_side_that_fails_says_why(tmp_path: Path):
    (tmp_path / "fail").touch()
    with (
        pytest.raises(RunFailed, match=r"(?s)the toy side ended.*toy\.log.*no such model"),
        Side("toy", TOY, tmp_path) as side,
    ):
        side.first_update()


def test_memory_is_sampled_while_it_is_held(tmp_path: Path):
    with Side("toy", TOY, tmp_path) as side:
        side.first_update()
        deadline = time.monotonic() + 20
        while not side.peak_bytes and time.monotonic() < deadline:
            time.sleep(0.05)
    assert side.peak_bytes > 5 * 2**20  # a Python with numpy loaded


def test_memory_of_a_tree_is_no_more_than_the_sum_of_its_resident_sets():
    processes = tree(os.getpid())
    resident = psutil.Process().memory_info().rss
    assert 0 < held_bytes(processes[:1]) <= 1.1 * resident
