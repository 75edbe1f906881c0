"""A whole run on two nodes, an engine on each, against the same run on one: weights travel between the nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ray.cluster_utils import Cluster

from rlreason.orchestration.cluster import _stay_on_this_machine
from rlreason.records.run_folder import RunFolder
from tests.stages.small import RECIPE, assert_same_results, write_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(folder: Path, **resources: object) -> Path:
    """Run the small recipe on the real engines in a process of its own; the run's folder."""
    values = yaml.safe_load(RECIPE)
    on_stack = {"accelerator": "cpu", "threads": 1, "micro_batch_tokens": 512, "kv_cache_gib": 0.05}
    values["resources"] = {**on_stack, **resources}
    recipe = write_recipe(folder, yaml.safe_dump(values, sort_keys=False))
    command = [sys.executable, "-m", "rlreason", "run", str(recipe), "--folder", str(folder / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """The address of a cluster of two nodes with room for one engine each."""
    _stay_on_this_machine()
    head = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def on_one_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize("sync", ["host_memory", "files"])
def test_completions_and_updates_are_those_of_one_node(
    two_nodes: str, on_one_node: Path, tmp_path: Path, sync: str
) -> None:
    found = run(tmp_path, address=two_nodes, weight_sync=sync)
    assert_same_results(on_one_node, found)
    nodes = [
        json.loads(RunFolder(each).manifest_path.read_text())["hardware"]["nodes"] for each in (on_one_node, found)
    ]
    assert nodes == [1, 2]
    assert not (found / "weights").exists()
