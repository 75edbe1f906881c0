"""KubeRay manifests of a recipe: the ConfigMap that holds it, and the RayJob that runs it or a RayCluster that stays.

Plain values, dumped as YAML by `render`. The claim for the run's folder must be there already: who may make one, and of
which storage class, is the cluster's affair. For KubeRay 1.6 or newer, whose `authOptions` make the token.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from rlreason.cluster.needs import GIB, ClusterNeeds, Node

MOUNTED = "/etc/rlreason"
"""Where the head finds the recipe and its plug-ins."""
RETRIES = 3
"""How often a RayJob that failed is begun again, on a new cluster; the run goes on where it stopped."""
KEPT_S = 600
"""How long a finished RayJob's pods stay, so that their logs can be read."""
AGENT_PORT = 52365
"""Ray's agent on every node; answers /api/healthz without a token."""
STORE_SHARE = 0.75
"""Of the shared memory, what Ray's object store takes; NCCL and the engines have the rest."""


def manifests(
    kind: str, slug: str, needs: ClusterNeeds, files: Mapping[str, str], options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The documents to apply.

    Args:
        kind: "RayJob" or "RayCluster".
        slug: name of everything in them.
        files: path -> text of what travels: recipe.yaml and the plug-ins it names.
        options: image, claim, storage, folder, ray_version.
    """
    cluster = _cluster(slug, needs, files, options)
    if kind == "RayCluster":
        return [_config_map(slug, files), {**_document("ray.io/v1", "RayCluster", slug), "spec": cluster}]
    command = ["rlreason", "run", f"{MOUNTED}/recipe.yaml", "--folder", options["folder"]]
    command += ["--set", "resources.address=auto", "--set", f"resources.accelerator={needs.accelerator}"]
    job = {
        "entrypoint": shlex.join(command),
        "submissionMode": "K8sJobMode",
        "backoffLimit": RETRIES,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": KEPT_S,
        "rayClusterSpec": cluster,
    }
    return [_config_map(slug, files), {**_document("ray.io/v1", "RayJob", slug), "spec": job}]


def _document(version: str, kind: str, slug: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "rlreason", "app.kubernetes.io/instance": slug}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": slug, "labels": labels}}


def _config_map(slug: str, files: Mapping[str, str]) -> dict[str, Any]:
    return {**_document("v1", "ConfigMap", slug), "data": {_key(path): text for path, text in files.items()}}


def _key(path: str) -> str:
    """A file's key in the ConfigMap, which may hold no slash; two files never share one."""
    return re.sub(r"[^A-Za-z0-9.-]", lambda found: f"_{ord(found[0]):x}_", path)


def _cluster(slug: str, needs: ClusterNeeds, files: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    recipe_volume = {
        "name": "recipe",
        "configMap": {"name": slug, "items": [{"key": _key(path), "path": path} for path in files]},
    }
    head = _pod("ray-head", needs.head, options, [recipe_volume])
    (container,) = head["spec"]["containers"]
    container["volumeMounts"].append({"name": "recipe", "mountPath": MOUNTED, "readOnly": True})
    # no port for Ray's client: jobs come in through the dashboard's, which asks for the token
    container["ports"] = [
        {"name": "gcs-server", "containerPort": 6379},
        {"name": "dashboard", "containerPort": 8265},
    ]
    return {
        "rayVersion": options["ray_version"],
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": False,
        "headGroupSpec": {
            "serviceType": "ClusterIP",
            "enableIngress": False,
            # the head runs the recipe, and no engine
            "rayStartParams": {"num-cpus": "0", **_ray_start(needs.head)},
            "template": head,
        },
        "workerGroupSpecs": [
            {
                "groupName": f"{group.name}s",
                "replicas": group.count,
                "minReplicas": group.count,
                "maxReplicas": group.count,
                "rayStartParams": _ray_start(group.node),
                "template": _pod(f"ray-{group.name}", group.node, options, []),
            }
            for group in needs.groups
        ],
    }


def _ray_start(node: Node) -> dict[str, str]:
    return {"object-store-memory": str(int(STORE_SHARE * node.shm_gib * GIB))}


def _pod(name: str, node: Node, options: Mapping[str, Any], volumes: list[dict[str, Any]]) -> dict[str, Any]:
    resources: dict[str, Any] = {"cpu": str(node.cores), "memory": f"{node.memory_gib}Gi"}
    if node.gpus:
        resources["nvidia.com/gpu"] = str(node.gpus)
    healthy = {"httpGet": {"path": "/api/healthz", "port": AGENT_PORT}, "timeoutSeconds": 10, "periodSeconds": 10}
    container = {
        "name": name,
        "image": options["image"],
        "env": [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}, {"name": "HF_HUB_OFFLINE", "value": "1"}],
        "resources": {"requests": resources, "limits": dict(resources)},
        "readinessProbe": {**healthy, "initialDelaySeconds": 10, "failureThreshold": 10},
        # ten minutes: a node that loads a large model is slow to answer, and a dead one is Ray's to notice
        "livenessProbe": {**healthy, "initialDelaySeconds": 60, "failureThreshold": 60},
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [
            {"name": "runs", "mountPath": options["storage"]},
            {"name": "shared-mem", "mountPath": "/dev/shm"},
        ],
    }
    return {
        "spec": {
            # nothing in a run asks Kubernetes for anything
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": [
                {"name": "runs", "persistentVolumeClaim": {"claimName": options["claim"]}},
                {"name": "shared-mem", "emptyDir": {"medium": "Memory", "sizeLimit": f"{node.shm_gib}Gi"}},
                *volumes,
            ],
        }
    }
