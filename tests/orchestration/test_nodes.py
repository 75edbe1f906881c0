"""A node that is killed in mid-run: several raylets on this machine, with engines that only count."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlreason.errors import EngineFailed
from rlreason.orchestration.cluster import Placement, connect
from rlreason.orchestration.crew import Crew, Member
from rlreason.orchestration.fleet import RayGenerator
from rlreason.recipe.schema import Resources
from rlreason.types import Incident
from tests.orchestration.test_crew import EXPECTED, PROMPTS, SEEDS, SETTINGS, Engine, sampled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head and two nodes, a core each."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    connect(Resources(address=made.address))
    started = psutil.Process().children(recursive=True)
    yield made
    ray.shutdown()
    made.shutdown()
    assert psutil.wait_procs(started, timeout=30)[1] == []


def test_an_engine_whose_node_died_moves_to_another_or_the_run_ends_in_a_minute_and_says_what_is_missing(
    cluster: Cluster, tmp_path: Path
):
    group = placement_group([{"CPU": 1}] * 2, strategy="STRICT_SPREAD")
    assert group.wait(60)
    placement = Placement(group, layout=None, cores=1.0, local=False)  # type: ignore[arg-type]
    members, incidents = [], list[Incident]()
    for index in range(2):
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
        make = partial(Engine.options(num_cpus=1, scheduling_strategy=strategy).remote, tmp_path, f"engine-{index}")
        members.append(Member(f"engine-{index}", make(), make))
        (tmp_path / f"engine-{index}-slow").touch()
    limits = Resources(max_restarts=4)
    crew = Crew(members, limits, tmp_path, incidents.append, placement.missing)
    generator = RayGenerator(crew, limits)
    assert sampled(generator.generate(PROMPTS, SEEDS, SETTINGS)) == EXPECTED

    kill_a_node(cluster, group)
    assert sampled(generator.generate(PROMPTS, SEEDS, SETTINGS)) == EXPECTED
    while any(member.lost is not None for member in members):
        generator.generate(PROMPTS, SEEDS, SETTINGS)
    assert incidents and {incident.kind for incident in incidents} == {"died"}

    kill_a_node(cluster, group)
    start = time.monotonic()
    with pytest.raises(EngineFailed, match=r"no place to be started again: asked for 2 CPU in 2 parts, free are"):
        while True:  # the other one goes on alone, until it is sure that nothing can be done for this one
            assert sampled(generator.generate(PROMPTS, SEEDS, SETTINGS)) == EXPECTED
    assert time.monotonic() - start < 70
    crew.close()


def kill_a_node(cluster: Cluster, group: Any) -> None:
    """Half a second from now, one that is not the head and holds an engine."""
    homes = ray.util.placement_group_table(group)["bundles_to_node_id"].values()
    victim = next(node for node in cluster.list_all_nodes() if node.node_id in homes and node != cluster.head_node)
    threading.Timer(0.5, partial(cluster.remove_node, victim, allow_graceful=False)).start()
