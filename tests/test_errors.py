"""Whose a failure is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from rlreason import errors
from rlreason.errors import Blame, RunFailed


def failures(of: type[RunFailed] = RunFailed) -> Iterator[type[RunFailed]]:
    for each in of.__subclasses__():
        yield each
        yield from failures(each)


def test_every_failure_of_a_run_is_of_one_class():
    assert {each.blame for each in failures()} <= set(get_args(Blame))


@pytest.mark.parametrize(
    ("name", "blame"),
    [
        ("RunFailed", "data"),
        ("EngineFailed", "infrastructure"),
        ("LearnerLost", "infrastructure"),
        ("StaleWeights", "infrastructure"),
        ("WeightSyncMismatch", "infrastructure"),
        ("CheckpointError", "infrastructure"),
        ("ScoringFailed", "plug-in"),
    ],
)
def test_machines_data_and_plug_ins_are_told_apart(name, blame):
    assert getattr(errors, name).blame == blame
