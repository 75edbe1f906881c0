"""Starting or joining Ray, and placing a run's actors on it. Knows bundles and devices, not what the actors do."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray._private import ray_constants, worker
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlreason.errors import MachineError
from rlreason.orchestration.versions import check_nodes
from rlreason.recipe.layout import Kind, Layout, asked_gpus, lay_out, uses_gpus
from rlreason.recipe.schema import Resources

LOOPBACK = "127.0.0.1"
KNOCK_S = 10.0
_print = worker.print_to_stdstream
HELD_S = 60.0
"""Longest wait for devices that something else holds, where the recipe does not say."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a run's actors go.

    Attributes:
        group: its bundle b is bundle b of the layout.
        cores: CPU cores of an actor.
        local: Ray was started here, for this run.
    """

    group: PlacementGroup
    layout: Layout
    cores: float
    local: bool

    def options(self, kind: Kind, index: int) -> dict[str, Any]:
        """Ray's options for the actor of the `index`-th engine of a kind."""
        bundle = self.layout.seats[kind][index]
        return {
            "num_cpus": self.cores,
            "num_gpus": self.layout.shares[kind],
            "scheduling_strategy": PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=bundle),
            "max_restarts": 0,
        }

    @property
    def nodes(self) -> int:
        """How many nodes the actors are on."""
        return len(set(placement_group_table(self.group)["bundles_to_node_id"].values()))

    def missing(self) -> str:
        """What the run lacks of the places that it was given, in words; "" where it has all. A node may have died."""
        if placement_group_table(self.group)["state"] == "CREATED":
            return ""
        return _not_to_be_had(self.group.bundle_specs)

    def release(self) -> None:
        """Give the bundles back; stop Ray where this run started it, leave a cluster otherwise."""
        if ray.is_initialized():
            remove_placement_group(self.group)
            ray.shutdown()


def connect(resources: Resources) -> bool:
    """Join the cluster at `resources.address`, or start a local Ray bound to loopback; returns whether it is local.

    A local Ray asks for a token, which Ray makes where there is none (~/.ray/auth_token), and has no dashboard.

    Raises:
        MachineError: no cluster answers at the address, or one with another Ray or Python; a local Ray does not start.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    worker.print_to_stdstream = _print_but_raylets
    if resources.address is None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        _stay_on_this_machine()
        here: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": LOOPBACK, "num_cpus": os.cpu_count()}
        try:
            ray.init(address="local", **here, **quiet)
        except Exception as error:  # Ray's class for "not up after 30 s", which nobody can change
            raise MachineError(
                f"Ray did not start on this machine ({error}); it gives itself 30 s: run again when other work leaves "
                "it time, and look whether memory and /tmp have room"
            ) from error
        return True
    try:
        _knock(resources.address)
        ray.init(address=resources.address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        _refuse_other_versions(resources.address, str(error))
        raise MachineError(
            f"no Ray cluster answers at resources.address {resources.address!r} ({error}); start one with "
            "`ray start --head`, or leave the address out to run on this machine"
        ) from error
    return False


def _refuse_other_versions(address: str, told: str) -> None:
    """Raise where Ray's words are those for a cluster with another Ray or Python than this process has."""
    theirs, ours = (
        dict(re.findall(r"^ *(Ray|Python): (\S+)$", part, re.MULTILINE)) for part in _halves(told, "This process on")
    )
    differing = [name for name in theirs if theirs[name] != ours.get(name)]
    if differing:
        words = ", ".join(f"{name} {theirs[name]} there and {ours.get(name)} here" for name in differing)
        raise MachineError(
            f"the cluster at resources.address {address!r} has other versions: {words}. Run rlreason with the "
            "cluster's environment, or install these versions here"
        )


def _halves(text: str, at: str) -> tuple[str, str]:
    before, _, after = text.partition(at)
    return before, after


def _print_but_raylets(data: dict[str, Any], ignore_prefix: bool) -> None:
    """What Ray prints on stdout, among a run's results, without that a process died: that is an incident here."""
    if data["pid"] != "raylet":
        _print(data, ignore_prefix)


def _stay_on_this_machine() -> None:
    """Let Ray keep the loopback address.

    Where it takes a machine for a node of a cluster, it replaces a loopback address by the machine's own, and listens
    to everybody. Its setting for that is read at import, so it is set here as well.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # for the processes that Ray starts
    ray_constants.ENABLE_RAY_CLUSTER = False


def _knock(address: str) -> None:
    """Raise OSError where nothing listens at "host:port" or "ray://host:port"; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()


def share_out(resources: Resources, nodes: Sequence[Mapping[str, float]], scorers: int = 0) -> tuple[Layout, float]:
    """Which bundles a run gets of what a cluster has, and the cores of each of its actors. Pure.

    On a CPU the engines take turns, so all of them together ask for no more than the cores there are. On GPUs an engine
    asks for what comes with its GPUs on the node that has the fewest cores for each, and for one at most.

    Args:
        nodes: "CPU" and "GPU" of each node that is alive.
    Raises:
        MachineError: fewer devices than asked for, where the recipe does not say to wait for more.
    """
    gpus = sum(node.get("GPU", 0.0) for node in nodes)
    if resources.wait_for_devices_s is not None and uses_gpus(resources, gpus):
        gpus = max(gpus, asked_gpus(resources, scorers))
    layout = lay_out(resources, gpus, scorers)
    largest = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
    if max(layout.bundles) > largest and resources.wait_for_devices_s is None:
        raise MachineError(
            f"resources.tensor_parallel {resources.tensor_parallel} must fit one node, and the largest of the cluster "
            f"has {largest:g} GPUs; lower it"
        )
    cores = [node.get("CPU", 0.0) for node in nodes]
    if layout.accelerator == "cuda":
        # a cluster that has no GPU yet is taken to bring a core with each
        a_gpu = min((node.get("CPU", 0.0) / node["GPU"] for node in nodes if node.get("GPU")), default=1.0)
        least = min(a_gpu * count / len(layout.tenants(bundle)) for bundle, count in enumerate(layout.bundles))
        return layout, min(1.0, int(100 * least) / 100)
    return layout, _core_share(cores, layout.engines)


def _core_share(cores: Sequence[float], actors: int) -> float:
    """The largest share of a core, at most 1, of which the nodes hold one for every actor; no actor spans two nodes."""
    # as many hundredths as Ray counts exactly; rounded up, the last actor would find no room
    shares = {min(1.0, int(100 * each / count) / 100) for each in cores for count in range(1, actors + 1)}
    fitting = [share for share in shares if share and sum(int(each / share + 1e-9) for each in cores) >= actors]
    return max(fitting, default=0.0)


def place(resources: Resources, scorers: int = 0) -> Placement:
    """Connect to Ray and reserve a seat for every actor, `scorers` (0 or 1) step scorers among them.

    Raises:
        MachineError: the cluster's nodes have other versions, devices are missing, or could not be had in time.
    """
    local = connect(resources)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if not local:
            check_nodes(nodes)
        layout, cores = share_out(resources, [node["Resources"] for node in nodes], scorers)
        bundles = [
            {"CPU": cores * len(layout.tenants(index)), **({"GPU": gpus} if gpus else {})}
            for index, gpus in enumerate(layout.bundles)
        ]
        group = placement_group(bundles, strategy="PACK")
        limit = resources.wait_for_devices_s or HELD_S
        if not group.wait(timeout_seconds=limit):
            raise MachineError(f"Ray could not place the engines within {limit:g} s: {_not_to_be_had(bundles)}")
    except BaseException:
        ray.shutdown()
        raise
    return Placement(group, layout, cores, local)


def _not_to_be_had(bundles: Sequence[Mapping[str, float]]) -> str:
    """What was asked for, what there is, and what of it is free, where bundles could not be placed."""
    there, free = ray.cluster_resources(), ray.available_resources()
    devices = [name for name in ("CPU", "GPU") if any(name in bundle for bundle in bundles)]
    asked = " and ".join(f"{round(sum(bundle.get(name, 0.0) for bundle in bundles), 2):g} {name}" for name in devices)
    left = " and ".join(f"{free.get(name, 0.0):g} of {there.get(name, 0.0):g} {name}" for name in devices)
    return (
        f"asked for {asked} in {len(bundles)} parts, free are {left}. Something else holds the devices, or a node is "
        "gone: wait for it (resources.wait_for_devices_s), or ask for less"
    )
