"""Starting or joining Ray, and placing a run's actors on it. Knows bundles and devices, not what the actors do."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray._private import ray_constants
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from rlreason.errors import MachineError
from rlreason.recipe.schema import Resources

Accelerator = Literal["cpu", "cuda"]
LOOPBACK = "127.0.0.1"
KNOCK_S = 10.0


@dataclass(frozen=True, slots=True)
class Bundles:
    """What engines run on, and the Ray resources of one actor of each kind."""

    accelerator: Accelerator
    generator: Mapping[str, float]
    learner: Mapping[str, float]
    scorer: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a run's actors go: bundle i of `group` is generator i, then the learners follow, then the step scorer.

    Attributes:
        local: Ray was started here, for this run.
    """

    group: PlacementGroup
    bundles: Bundles
    local: bool

    @property
    def gpus(self) -> int:
        """GPUs that the actors hold; one that several of them share counts once."""
        return math.ceil(round(sum(bundle.get("GPU", 0.0) for bundle in self.group.bundle_specs), 6))

    def release(self) -> None:
        """Give the bundles back; stop Ray where this run started it, leave a cluster otherwise."""
        if ray.is_initialized():
            remove_placement_group(self.group)
            ray.shutdown()


def connect(resources: Resources) -> bool:
    """Join the cluster at `resources.address`, or start a local Ray bound to loopback; returns whether it is local.

    A local Ray asks for a token, which Ray makes where there is none (~/.ray/auth_token), and has no dashboard.

    Raises:
        MachineError: no cluster answers at the address.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if resources.address is None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        _stay_on_this_machine()
        ray.init(include_dashboard=False, _node_ip_address=LOOPBACK, num_cpus=os.cpu_count(), address="local", **quiet)
        return True
    try:
        _knock(resources.address)
        ray.init(address=resources.address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise MachineError(
            f"no Ray cluster answers at resources.address {resources.address!r} ({error}); start one with "
            "`ray start --head`, or leave the address out to run on this machine"
        ) from error
    return False


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


def share_out(resources: Resources, available: Mapping[str, float], scorers: int = 0) -> Bundles:
    """What each actor gets of what a cluster has. Pure.

    On a CPU the engines take turns, so all of them together ask for no more than the cores there are. On GPUs every
    engine has its own where there are enough; where there are enough for each kind alone, the kinds share.

    Raises:
        MachineError: fewer devices than asked for.
    """
    cores, gpus = available.get("CPU", 0.0), available.get("GPU", 0.0)
    wanted: Accelerator = (
        "cpu" if resources.accelerator == "cpu" or (resources.accelerator == "auto" and not gpus) else "cuda"
    )
    actors = resources.generators + resources.learners + scorers
    core_share = min(1.0, int(100 * cores / actors) / 100)
    if wanted == "cpu":
        if resources.tensor_parallel > 1:
            raise MachineError(
                f"resources.tensor_parallel {resources.tensor_parallel} needs GPUs, and this run is on a CPU; "
                "set it to 1"
            )
        share = {"CPU": core_share}
        return Bundles("cpu", share, share, share)
    for_generators = resources.generators * resources.tensor_parallel
    asked = for_generators + resources.learners + scorers
    if asked <= gpus:
        generator_share, learner_share, scorer_share = float(resources.tensor_parallel), 1.0, 1.0
    elif max(for_generators, resources.learners) <= gpus and resources.tensor_parallel == 1:
        # a step scorer only infers, and needs the least
        generator_share, learner_share, scorer_share = (0.4, 0.4, 0.2) if scorers else (0.5, 0.5, 0.0)
    else:
        raise MachineError(
            f"the recipe asks for {resources.generators} generators x {resources.tensor_parallel} GPUs, "
            f"{resources.learners} learners and {scorers} step scorers, {asked} GPUs; the cluster has {gpus:g}. "
            "Lower resources.generators, resources.tensor_parallel or resources.learners"
        )
    shares = (generator_share, learner_share, scorer_share)
    return Bundles("cuda", *({"CPU": core_share, "GPU": share} for share in shares))


def place(resources: Resources, scorers: int = 0) -> Placement:
    """Connect to Ray and reserve a bundle for every actor, `scorers` (0 or 1) step scorers among them.

    Raises:
        MachineError: devices are missing, or the bundles could not be had within `start_timeout_s`.
    """
    local = connect(resources)
    try:
        bundles = share_out(resources, ray.cluster_resources(), scorers)
        wanted = [
            *[bundles.generator] * resources.generators,
            *[bundles.learner] * resources.learners,
            *[bundles.scorer] * scorers,
        ]
        group = placement_group([dict(bundle) for bundle in wanted], strategy="PACK")
        if not group.wait(timeout_seconds=resources.start_timeout_s):
            raise MachineError(
                f"Ray could not place {resources.generators} generators ({bundles.generator}) and "
                f"{resources.learners} learners ({bundles.learner}) within {resources.start_timeout_s:g} s; free now: "
                f"{ray.available_resources()}. Something else holds the devices: wait for it, or ask for less"
            )
    except BaseException:
        ray.shutdown()
        raise
    return Placement(group, bundles, local)
