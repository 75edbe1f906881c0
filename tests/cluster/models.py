"""The parts of KubeRay's resources and of a SkyPilot task that rlreason writes, typed; any other key is an error.

Written from KubeRay 1.7's published schema and SkyPilot's reference of its YAML. What is inside a pod, Kubernetes' own
schemas check.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=50)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Strict):
    name: Slug
    labels: dict[str, str]


class AuthOptions(Strict):
    mode: Literal["disabled", "token"]


class HeadGroup(Strict):
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"]
    enableIngress: bool
    rayStartParams: dict[str, str]
    template: dict[str, Any]


class WorkerGroup(Strict):
    groupName: Slug
    replicas: Annotated[int, Field(ge=1)]
    minReplicas: Annotated[int, Field(ge=0)]
    maxReplicas: Annotated[int, Field(ge=1)]
    rayStartParams: dict[str, str]
    template: dict[str, Any]


class ClusterSpec(Strict):
    rayVersion: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    authOptions: AuthOptions
    enableInTreeAutoscaling: bool
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup]

    def pods(self) -> dict[str, dict[str, Any]]:
        """Name of a group -> its pods' template."""
        return {"head": self.headGroupSpec.template} | {each.groupName: each.template for each in self.workerGroupSpecs}


class RayCluster(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: ClusterSpec


class JobSpec(Strict):
    entrypoint: str
    submissionMode: Literal["K8sJobMode", "HTTPMode", "SidecarMode"]
    backoffLimit: Annotated[int, Field(ge=0)]
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: Annotated[int, Field(ge=0)]
    rayClusterSpec: ClusterSpec


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: JobSpec


AtLeast = Annotated[str, StringConstraints(pattern=r"^\d+\+$")]


class SkyResources(Strict):
    image_id: Annotated[str, StringConstraints(pattern=r"^docker:\S+$")]
    accelerators: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+:\d+$")] | None = None
    cpus: AtLeast
    memory: AtLeast


class SkyTask(Strict):
    name: Slug
    num_nodes: Annotated[int, Field(ge=1)]
    resources: SkyResources
    volumes: dict[str, str]
    workdir: str | None = None
    envs: dict[str, str]
    secrets: dict[str, str | None]
    run: str
