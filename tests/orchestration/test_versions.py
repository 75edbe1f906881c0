"""Comparing the versions of nodes, without a cluster."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
from ray import cloudpickle

from rlreason.orchestration import versions


def test_versions_that_differ_are_told_by_node_and_package() -> None:
    ours = {"torch": "2.1", "vllm": "0.3", "deepspeed": None}
    theirs = {"b": {**ours, "vllm": None}, "a": {**ours, "torch": "2.0", "deepspeed": "0.9"}}
    assert versions.differences(ours, theirs) == [
        "node a has torch 2.0, here it is 2.1",
        "node a has deepspeed 0.9, here it is not there",
        "node b has vllm not at all, here it is 0.3",
    ]


def test_a_node_without_rlreason_can_be_asked_too() -> None:
    code = (
        "import sys; sys.modules['rlreason'] = None; import pickle; "
        "print(pickle.load(sys.stdin.buffer)({'numpy': ['numpy'], 'none': ['no-such-package-1']}))"
    )
    sent = cloudpickle.dumps(versions.asker())
    told = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert told.stdout.decode() == f"{{'numpy': '{np.__version__}', 'none': None}}\n"
    assert pickle.loads(sent)({"numpy": ["numpy"]}) == {"numpy": np.__version__}
