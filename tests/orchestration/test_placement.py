"""Placing a run on several nodes: raylets of this machine, some of which say that they have GPUs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from rlreason.errors import MachineError
from rlreason.orchestration import versions
from rlreason.orchestration.actors import gpu_is_shared
from rlreason.orchestration.cluster import Placement, _stay_on_this_machine, connect, place
from rlreason.recipe.layout import Kind
from rlreason.recipe.schema import Resources

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without devices, and two nodes of two GPUs that are not there; all on the loopback address."""
    _stay_on_this_machine()
    head = {"num_cpus": 0, "node_ip_address": "127.0.0.1", "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=4, num_gpus=2, node_ip_address="127.0.0.1")
    yield cluster
    ray.shutdown()  # where a test failed half-way
    cluster.shutdown()


def resources(cluster: Cluster, **settings: Any) -> Resources:
    return Resources(address=cluster.address, **settings)


def devices(placement: Placement, *seats: tuple[Kind, int]) -> list[tuple[str, list[int]]]:
    """(node, ids of its GPUs) that an actor of each (kind, index) is given; it knows whether it shares them."""
    shared = placement.layout.colocated

    @ray.remote
    class Anybody:
        def whereabouts(self) -> tuple[str, list[int]]:
            context = ray.get_runtime_context()
            assert gpu_is_shared() == shared
            return context.get_node_id(), [int(each) for each in context.get_accelerator_ids()["GPU"]]

    actors = [Anybody.options(**placement.options(kind, index)).remote() for kind, index in seats]
    found: list[tuple[str, list[int]]] = ray.get([actor.whereabouts.remote() for actor in actors], timeout=120)
    return found


def test_a_colocated_generator_and_learner_are_given_the_same_gpu(cluster: Cluster) -> None:
    placement = place(resources(cluster, generators=2, learners=2, placement="colocated"), scorers=1)
    try:
        first, second, *learners, scorer = devices(
            placement, ("generator", 0), ("generator", 1), ("learner", 0), ("learner", 1), ("scorer", 0)
        )
    finally:
        placement.release()
    assert learners == [first, second] and scorer == second
    assert first != second and len(first[1]) == len(second[1]) == 1


def test_disaggregated_engines_have_gpus_of_their_own_and_a_generator_s_are_on_one_node(cluster: Cluster) -> None:
    placement = place(resources(cluster, tensor_parallel=2, learners=2, placement="disaggregated"))
    try:
        generator, *learners = devices(placement, ("generator", 0), ("learner", 0), ("learner", 1))
    finally:
        placement.release()
    assert generator[1] == [0, 1]
    assert sorted((node == generator[0], gpus) for node, gpus in learners) == [(False, [0]), (False, [1])]


def test_gpus_that_the_cluster_does_not_have_are_refused_at_once(cluster: Cluster) -> None:
    start = time.monotonic()
    with pytest.raises(MachineError, match=r"4 generators x 1 GPUs, 2 learners.*6 GPUs; the cluster has 4\."):
        place(resources(cluster, generators=4, learners=2, placement="disaggregated"))
    assert time.monotonic() - start < 30
    assert not ray.is_initialized()


def test_gpus_that_something_else_holds_are_waited_for_and_then_counted(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray.init(address=cluster.address, logging_level="ERROR")
    assert ray.util.placement_group([{"GPU": 2}]).wait(60)
    monkeypatch.setattr("rlreason.orchestration.cluster.connect", lambda resources: False)  # joined already
    with pytest.raises(MachineError, match=r"within 2 s: asked for 4 CPU and 4 GPU in 4 parts, free are .* 2 of 4 GPU"):
        place(resources(cluster, generators=2, learners=2, wait_for_devices_s=2.0))


def test_a_cluster_with_another_ray_or_python_is_named_with_both(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ray.__version__
    monkeypatch.setattr(ray, "__version__", "1.2.3")
    message = rf"^the cluster at resources\.address '{re.escape(cluster.address)}' has other versions: Ray {real} there"
    with pytest.raises(MachineError, match=rf"{message} and 1\.2\.3 here\. Run rlreason with the cluster's env"):
        connect(resources(cluster))


def test_a_node_with_another_package_is_named_before_anything_is_placed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = versions.asker()(versions.PACKAGES)
    compare = versions.differences
    monkeypatch.setattr(versions, "differences", lambda ours, theirs: compare({**ours, "vllm": "0.1"}, theirs))
    with pytest.raises(MachineError, match=rf"node 127\.0\.0\.1 has vllm {there['vllm']}, here it is 0\.1.*\. Install"):
        place(resources(cluster))
    assert not ray.is_initialized()


def test_a_node_that_does_not_answer_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "ANSWER_S", 40.0)
    ray.init(address=cluster.address, logging_level="ERROR")
    gone = {"NodeID": "0" * 56, "NodeManagerAddress": "10.9.8.7", "Resources": {"CPU": 1.0}}
    try:
        with pytest.raises(MachineError, match=r"no answer from node 10\.9\.8\.7 within 40 s when asked for its vers"):
            versions.check_nodes([*ray.nodes(), gone])
    finally:
        ray.shutdown()


ANOTHER_NODE = """
import sys, time
from ray._private.node import Node
from ray._private.parameter import RayParams
time.sleep(3)
parameters = RayParams(
    gcs_address=sys.argv[1], num_cpus=4, num_gpus=2, node_ip_address="127.0.0.1", object_store_memory=2**27,
    min_worker_port=0, max_worker_port=0, node_manager_port=0, include_log_monitor=False,
)
node = Node(parameters, head=False, shutdown_at_exit=True, spawn_reaper=True)
sys.stdin.read()
node.kill_all_processes(check_alive=False)
"""


def test_a_node_that_is_added_later_is_waited_for_where_the_recipe_says_so(cluster: Cluster) -> None:
    # added by a process of its own, as an autoscaler would; the last test, since the cluster is larger after it
    node = subprocess.Popen([sys.executable, "-c", ANOTHER_NODE, cluster.address], stdin=subprocess.PIPE)
    try:
        asked = {"generators": 4, "learners": 2, "accelerator": "cuda", "wait_for_devices_s": 90.0}
        placement = place(resources(cluster, **asked))
        assert placement.layout.gpus == 6
        placement.release()
    finally:
        assert node.stdin is not None
        node.stdin.close()
        node.wait(60)
