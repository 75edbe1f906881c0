"""Nodes add up to exactly what a recipe asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.cluster import Node, cluster_needs, uniform_nodes
from rlreason.errors import MachineError
from tests.cluster.ready import estimate, needs, recipe


def test_nodes_of_a_model_of_known_size_by_hand():
    found = needs(generators=2, tensor_parallel=2, learners=4)
    # bfloat16 weights: 1,543,714,304 x 2 bytes = 2.88 GiB; shared memory twice that, rounded up each: 2 x 3 = 6 GiB
    # both generators on one node: 2 engines x (2 GPUs x 4 GiB + 2.88) = 21.8 -> 22 + 6
    # four learners: 4 x (4 + 2 x 2.88) = 39.0, and 12 bytes a parameter for one that writes a state, 17.3: 57 + 6
    generators, learners = found.groups
    assert (generators.name, generators.count, generators.engines) == ("generator", 1, 2)
    assert generators.node == Node(cores=16, gpus=4, memory_gib=28, shm_gib=6)
    assert (learners.name, learners.count, learners.engines) == ("learner", 1, 4)
    assert learners.node == Node(cores=16, gpus=4, memory_gib=63, shm_gib=6)
    # the driver's 4 GiB, one scoring worker's 2 GiB, shared memory; no GPU
    assert found.head == Node(cores=3, gpus=0, memory_gib=12, shm_gib=6)
    assert found.gpus == 8


def test_engines_that_do_not_fill_a_node_evenly_get_smaller_nodes_and_not_idle_gpus():
    found = needs(generators=3, tensor_parallel=4, learners=1)
    # two of them would fit a node of 8, but three do not divide by two
    assert [(group.count, group.engines, group.node.gpus) for group in found.groups] == [(3, 1, 4), (1, 1, 1)]


def test_on_a_cpu_every_engine_has_a_node_without_gpus():
    found = needs(accelerator="cpu", generators=2, learners=1, threads=6)
    assert found.accelerator == "cpu"
    assert [(group.count, group.node.cores, group.node.gpus) for group in found.groups] == [(2, 6, 0), (1, 6, 0)]
    assert (found.gpus, found.gpu_bytes) == (0, 0)
    # 5.75 GiB of float32 weights, half a GiB of cache and 0.6 of libraries: 6.85 -> 7, and 12 of shared memory
    assert found.groups[0].node.memory_gib == 19


def test_engines_in_the_recipes_own_process_need_no_other_node():
    found = needs(generator="torch", learner="torch")
    assert (found.groups, found.head.gpus, found.gpus) == ((), 1, 1)
    assert uniform_nodes(found, 8) == (1, found.head)


def test_what_is_kept_in_host_memory_is_asked_for():
    settings = {"generators": 2, "learners": 2, "accelerator": "cuda", "placement": "colocated"}
    plain, sleeping = (needs(**settings, sleep_level=level).groups[0].node for level in (0, 1))
    # 2 x (4 + 2.88) = 13.8, and asleep twice 2.88 more = 19.5
    assert (plain.memory_gib - plain.shm_gib, sleeping.memory_gib - sleeping.shm_gib) == (14, 20)
    plain, offloaded = (needs(**settings, offload=what).groups[1].node for what in ("none", "optimizer"))
    # 2 x (4 + 2 x 2.88) + 17.3 to write a state = 36.8, and 12 / 2 + 4 / 2 bytes of each parameter for each rank more:
    # 2 x 11.5 = 59.8
    assert (plain.memory_gib - plain.shm_gib, offloaded.memory_gib - offloaded.shm_gib) == (37, 60)


def test_a_scorer_has_a_node_of_its_own():
    asked = recipe()
    groups = cluster_needs(asked, replace(estimate(asked), scorer=10**9), 8).groups
    assert [group.name for group in groups] == ["generator", "learner", "scorer"]


def test_a_generator_that_is_wider_than_a_machine_is_refused():
    with pytest.raises(MachineError, match=r"tensor_parallel 8 does not fit a machine of 4 GPUs.*--gpus-per-node"):
        needs(4, tensor_parallel=8)


def test_alike_nodes_leave_a_gpu_free_rather_than_split_a_generator():
    # 3 generators x 4 GPUs and 2 learners: 14 GPUs. Two nodes of 8 hold two generators each, so all three fit
    assert uniform_nodes(needs(generators=3, tensor_parallel=4, learners=2), 8)[0] == 2
    count, node = uniform_nodes(needs(4, generators=3, tensor_parallel=3, learners=1), 4)
    # 10 GPUs are three nodes of 4, and each holds one generator of 3
    assert (count, node.gpus) == (3, 4)


@given(
    generators=st.integers(1, 12),
    width=st.integers(1, 8),
    learners=st.integers(1, 24),
    machine=st.integers(1, 16),
)
def test_nodes_hold_every_engine_and_no_idle_gpu(generators: int, width: int, learners: int, machine: int):
    resources = {"generators": generators, "tensor_parallel": width, "learners": learners}
    if width > machine:
        with pytest.raises(MachineError):
            needs(machine, **resources)
        return
    found = needs(machine, **resources)
    assert found.gpus == generators * width + learners
    for group, engines, gpus in zip(found.groups, (generators, learners), (width, 1), strict=True):
        assert group.count * group.engines == engines
        assert group.node.gpus == group.engines * gpus <= machine
    count, node = uniform_nodes(found, machine)
    assert node.gpus <= machine
    assert count * (node.gpus // width) >= generators
    assert count * node.gpus >= found.gpus
    assert count * machine < found.gpus + machine * max(1, generators)  # no node too many
