"""Says what a cluster is: a job of its own, sent before a recipe's, that prints one line of JSON.

Runs with the cluster's Python, which may have no rlreason or another one; so it imports nothing of it.
"""

import importlib.metadata
import json
import platform
import sys

FIRST = "rlreason-probe:"


def installed(package: str) -> str | None:
    """Its version; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> None:
    """Print versions and resources of the cluster that this runs on."""
    import ray

    ray.init(log_to_driver=False, logging_level="ERROR")
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    told = {
        "versions": {
            "python": platform.python_version(),
            "ray": installed("ray"),
            "rlreason": installed("rlreason"),
        },
        "executable": sys.executable,
        "resources": ray.cluster_resources(),
        "nodes": [{key: node.get(key, 0) for key in ("CPU", "GPU")} for node in nodes],
    }
    print(FIRST, json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
