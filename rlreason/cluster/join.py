"""Waiting until the nodes of a cluster that is being started have joined it.

For scripts that start Ray on nodes themselves (Slurm, SkyPilot); KubeRay waits by itself.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable

import ray

from rlreason.errors import RunFailed, UserError

LOOK_S = 1.0


def wait_for_nodes(address: str, count: int, timeout_s: float) -> list[str]:
    """Join the cluster and wait until it has that many nodes alive; returns their addresses.

    Args:
        address: host:port of the cluster's head; this machine is one of its nodes.
    Raises:
        UserError: not such an address.
        RunFailed: fewer had joined in time, or nothing answered; says how many, and which.
    """
    if not re.fullmatch(r"\S+:\d{1,5}", address):
        raise UserError(f"--address {address!r} is not that of a head; write HOST:PORT, such as 10.0.0.1:6379")
    joined = look_until(lambda: _alive(address), count, timeout_s)
    ray.shutdown()
    if len(joined) < count:
        there = f": {', '.join(joined)}" if joined else "; Ray's head did not answer"
        raise RunFailed(
            f"{len(joined)} of {count} nodes had joined the cluster at {address} after {timeout_s:g} s{there}. Look "
            "into the job's log for why the others did not start Ray, or whether they reach the head's port"
        )
    return joined


def look_until(alive: Callable[[], list[str]], count: int, timeout_s: float) -> list[str]:
    """Look every second until `alive` names `count` nodes, or that many seconds have gone by; what was last seen."""
    end = time.monotonic() + timeout_s
    while True:
        found = alive()
        if len(found) >= count or time.monotonic() + LOOK_S > end:
            return found
        time.sleep(LOOK_S)


def _alive(address: str) -> list[str]:
    """Addresses of the nodes that are alive; none while the head does not answer."""
    if not ray.is_initialized():
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=LOOK_S).close()  # Ray itself would wait for long
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (OSError, OverflowError, RuntimeError, ValueError):
            return []
    return sorted(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"])
