"""What nodes a recipe needs, from its `resources` and the memory estimate: cores, GPUs, memory, shared memory.

Pure. Engines get whole nodes' shares that add up to exactly the GPUs the recipe asks for, since a run holds all of them
from its start to its end: there is nothing that an autoscaler could add or take away. Left out: which GPUs a cluster
has, and disks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rlreason.errors import MachineError
from rlreason.recipe.schema import Recipe
from rlreason.recipe.sizes import GIB, LIBRARY_BYTES, Estimate, gib

HOST_BYTES = 4 * GIB
"""Assumed host memory of an engine process on a GPU, before any weight: CUDA's libraries and pinned buffers."""
DRIVER_BYTES = 4 * GIB
"""Assumed for the process that runs the recipe, beside its scoring workers."""
CORES_A_GPU = 4
CORES_OF_DRIVER = 2
LEAST_SHM_GIB = 2


@dataclass(frozen=True, slots=True)
class Node:
    """One machine, or the part of one that a container is given.

    Attributes:
        cores: CPU cores.
        gpus: 0 on a CPU.
        memory_gib: of the host, `shm_gib` included.
        shm_gib: what /dev/shm may hold; Ray's object store is there, through which weights travel.
    """

    cores: int
    gpus: int
    memory_gib: int
    shm_gib: int


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes of one kind: `count` of them, each with `engines` engines called `name`."""

    name: str
    count: int
    engines: int
    node: Node


@dataclass(frozen=True, slots=True)
class ClusterNeeds:
    """The nodes of a recipe.

    Attributes:
        accelerator: "cuda" or "cpu".
        tensor_parallel: GPUs that a generator must find on one node.
        head: runs the recipe and scores completions; has a GPU only where the engines are in its process.
        groups: the nodes of the engines; none where they are in the head's process.
        gpu_bytes: what the most demanding engine needs of a GPU, the libraries included; 0 on a CPU.
    """

    accelerator: str
    tensor_parallel: int
    head: Node
    groups: tuple[Group, ...]
    gpu_bytes: int

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return self.head.gpus + sum(group.count * group.node.gpus for group in self.groups)

    @property
    def told(self) -> str:
        """The needs in one line, for the head of a rendered file."""
        parts = [
            f"{group.count} x ({group.engines} {group.name}{'s' if group.engines > 1 else ''}: {_node(group.node)})"
            for group in self.groups
        ]
        memory = f"; a GPU must hold {gib(self.gpu_bytes)} at least" if self.gpu_bytes else ""
        return f"head ({_node(self.head)}){''.join(f', {part}' for part in parts)}{memory}"


def _node(node: Node) -> str:
    gpus = f"{node.gpus} GPU{'s' if node.gpus > 1 else ''}, " if node.gpus else ""
    return f"{gpus}{node.cores} cores, {node.memory_gib} GiB"


def cluster_needs(recipe: Recipe, estimate: Estimate, gpus_per_node: int) -> ClusterNeeds:
    """The nodes for a recipe.

    Args:
        estimate: `estimate_memory` of the recipe; its `on_gpu` decides whether nodes have GPUs.
        gpus_per_node: the most GPUs a machine of the cluster has.
    Raises:
        MachineError: a generator's GPUs are more than a machine has.
    """
    resources = recipe.resources
    width = resources.tensor_parallel
    if estimate.on_gpu and width > gpus_per_node:
        raise MachineError(
            f"resources.tensor_parallel {width} does not fit a machine of {gpus_per_node} GPUs, and a generator does "
            "not reach over several; lower it, or say how many a machine has with --gpus-per-node"
        )
    whole = estimate.parameters * (4 if estimate.dtype == "float32" else 2)
    shm = max(LEAST_SHM_GIB, 2 * math.ceil(whole / GIB))
    groups: tuple[Group, ...] = ()
    if not estimate.in_process:
        most = gpus_per_node if estimate.on_gpu else 1  # on a CPU every engine has a node of its own
        cores = CORES_A_GPU if estimate.on_gpu else (resources.threads or CORES_A_GPU)
        asleep = whole if estimate.sleep_level == 1 else 0  # weights that wait for the generator to wake
        kinds = [
            ("generator", resources.generators, width, estimate.generator.total, width * HOST_BYTES + whole + asleep),
            ("learner", resources.learners, 1, estimate.learner.total, HOST_BYTES + 2 * whole + estimate.learner.host),
            ("scorer", int(estimate.scorer > 0), 1, estimate.scorer, HOST_BYTES + whole),
        ]
        groups = tuple(
            _group(
                *(name, count, gpus, on_host if estimate.on_gpu else on_cpu + LIBRARY_BYTES),
                *(estimate.saved_bytes if name == "learner" else 0, shm, cores, most),
            )
            for name, count, gpus, on_cpu, on_host in kinds
            if count
        )
        if not estimate.on_gpu:
            groups = tuple(_without_gpus(group) for group in groups)
    return ClusterNeeds(
        accelerator="cuda" if estimate.on_gpu else "cpu",
        tensor_parallel=width,
        head=_head(recipe, estimate, whole, shm),
        groups=groups,
        gpu_bytes=_gpu_bytes(estimate),
    )


def _group(name: str, count: int, gpus: int, host_bytes: int, once: int, shm: int, cores: int, most: int) -> Group:
    """Engines on as few nodes as hold them all evenly, so that no GPU is asked for in vain.

    Args:
        host_bytes: of each engine.
        once: bytes that one of all engines needs beside; any node may be the one that holds it.
    """
    a_node = max(part for part in range(1, count + 1) if count % part == 0 and (part == 1 or part * gpus <= most))
    memory = math.ceil((a_node * host_bytes + once) / GIB) + shm
    return Group(name, count // a_node, a_node, Node(a_node * gpus * cores, a_node * gpus, memory, shm))


def _without_gpus(group: Group) -> Group:
    node = group.node
    return Group(group.name, group.count, group.engines, Node(node.cores, 0, node.memory_gib, node.shm_gib))


def _head(recipe: Recipe, estimate: Estimate, whole: int, shm: int) -> Node:
    workers = recipe.rewards.workers
    memory = DRIVER_BYTES + int(workers * recipe.rewards.memory_gib * GIB)
    cores = CORES_OF_DRIVER + workers
    if estimate.in_process:
        memory += 2 * whole if estimate.on_gpu else estimate.host_bytes
        cores += CORES_A_GPU if estimate.on_gpu else (recipe.resources.threads or CORES_A_GPU)
    return Node(cores, int(estimate.in_process and estimate.on_gpu), math.ceil(memory / GIB) + shm, shm)


def _gpu_bytes(estimate: Estimate) -> int:
    if not estimate.on_gpu:
        return 0
    engines = (estimate.learner.total, estimate.generator.total, estimate.scorer)
    return (sum(engines) if estimate.in_process else max(engines)) + LIBRARY_BYTES


def uniform_nodes(needs: ClusterNeeds, gpus_per_node: int) -> tuple[int, Node]:
    """The same needs as nodes that are all alike, the first of which is the head too: (how many, each).

    As few as hold every generator on one node and every GPU that is asked for; where the GPUs do not divide evenly,
    some stay free. Memory is that of the most demanding engine for every GPU.
    """
    if not needs.groups:
        return 1, needs.head
    hardest = max(_engine_memory(group) for group in needs.groups)
    shm = needs.head.shm_gib
    if needs.accelerator == "cpu":
        cores = max(group.node.cores for group in needs.groups) + needs.head.cores
        memory = math.ceil(hardest) + needs.head.memory_gib
        return sum(group.count for group in needs.groups), Node(cores, 0, memory, shm)
    count = math.ceil(needs.gpus / gpus_per_node)
    while not (a_node := _gpus_that_fit(needs, count, gpus_per_node)):
        count += 1
    cores = a_node * CORES_A_GPU + needs.head.cores
    return count, Node(cores, a_node, math.ceil(a_node * hardest) + needs.head.memory_gib, shm)


def _engine_memory(group: Group) -> float:
    """GiB of host memory for every GPU of the group, or for every engine on a CPU, without the shared memory."""
    return (group.node.memory_gib - group.node.shm_gib) / (group.node.gpus or group.engines)


def _gpus_that_fit(needs: ClusterNeeds, count: int, most: int) -> int:
    """The least GPUs a node with which `count` nodes hold the recipe; 0 where not even `most` do."""
    width = needs.tensor_parallel
    generators = sum(group.count * group.engines for group in needs.groups if group.name == "generator")
    fitting = (
        gpus for gpus in range(1, most + 1) if count * gpus >= needs.gpus and count * (gpus // width) >= generators
    )
    return next(fitting, 0)
