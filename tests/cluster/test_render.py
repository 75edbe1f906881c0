"""What is rendered is valid by the schemas of those who read it, and says what the recipe needs."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from rlreason.cluster import TARGETS
from rlreason.cluster.render import _as_yaml, slug
from rlreason.errors import UserError
from tests.cluster.models import RayCluster, RayJob, SkyTask
from tests.cluster.ready import FILES, rendered

GIVEN: dict[str, dict[str, Any]] = {
    "kuberay": {"image": "registry.example/rlreason:1.0"},
    "slurm": {},
    "autoscaler": {"head": "node0", "worker": [], "ssh_user": "me"},
    "skypilot": {"image": "registry.example/rlreason:1.0"},
}
KUBERNETES = "1.33"


def kuberay(**more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    config_map, workload = yaml.safe_load_all(rendered("kuberay", **GIVEN["kuberay"], **more))
    return config_map, workload


def pod(template: dict[str, Any], name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **template}


@pytest.mark.parametrize(("kind", "model"), [("RayJob", RayJob), ("RayCluster", RayCluster)])
def test_kuberay_manifests_are_valid(kind: str, model: type[RayJob] | type[RayCluster]):
    config_map, workload = kuberay(kind=kind)
    kubernetes_validate.validate(config_map, KUBERNETES, strict=True)
    found = model.model_validate(workload)
    spec = found.spec.rayClusterSpec if isinstance(found, RayJob) else found.spec
    for name, template in spec.pods().items():
        kubernetes_validate.validate(pod(template, name), KUBERNETES, strict=True)
    assert spec.rayVersion == version("ray")


def test_the_validator_of_pods_refuses_a_misspelt_key_and_a_wrong_type():
    template = kuberay()[1]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    template["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(pod(template, "head"), KUBERNETES, strict=True)


def test_a_rayjob_runs_the_recipe_of_its_config_map_in_the_claims_folder():
    config_map, job = kuberay()
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:5] == ["rlreason", "run", "/etc/rlreason/recipe.yaml", "--folder", "/mnt/runs/my_Recipe.v2"]
    assert words[5:] == ["--set", "resources.address=auto", "--set", "resources.accelerator=cuda"]
    volumes = {volume["name"]: volume for volume in head["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in head["containers"][0]["volumeMounts"]}
    items = volumes["recipe"]["configMap"]["items"]
    assert volumes["recipe"]["configMap"]["name"] == config_map["metadata"]["name"]
    assert {item["path"]: config_map["data"][item["key"]] for item in items} == FILES
    assert mounts == {"runs": "/mnt/runs", "shared-mem": "/dev/shm", "recipe": "/etc/rlreason"}
    assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == "rlreason-runs"


def test_a_kuberay_cluster_asks_for_a_token_and_shows_nothing_outside():
    spec = kuberay()[1]["spec"]["rayClusterSpec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert (spec["headGroupSpec"]["serviceType"], spec["headGroupSpec"]["enableIngress"]) == ("ClusterIP", False)
    # Ray's client has a port of its own, by which code comes in: it is not listed, so no service has it
    ports = spec["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"]
    assert [port["containerPort"] for port in ports] == [6379, 8265]


def test_the_engines_pods_have_the_devices_of_the_recipe_and_the_head_has_none():
    spec = kuberay()[1]["spec"]["rayClusterSpec"]
    head = spec["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "nvidia.com/gpu" not in head["template"]["spec"]["containers"][0]["resources"]["limits"]
    found = {}
    for group in spec["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == group["maxReplicas"]
        resources = group["template"]["spec"]["containers"][0]["resources"]
        assert resources["requests"] == resources["limits"]
        found[group["groupName"]] = (group["replicas"], resources["limits"]["nvidia.com/gpu"])
    # 2 generators x 2 GPUs, 4 learners
    assert found == {"generators": (1, "4"), "learners": (1, "4")}


def test_the_launcher_file_is_valid_by_the_schema_that_ray_ships():
    text = rendered("autoscaler", **GIVEN["autoscaler"])
    launcher = yaml.safe_load(text)
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    Draft7Validator(schema).validate(launcher)
    assert launcher["provider"] == {"type": "local", "head_ip": "node0", "worker_ips": []}
    (start,) = [line for line in launcher["head_start_ray_commands"] if "--head" in line]
    assert "RAY_AUTH_MODE=token" in start
    assert "--dashboard-host=127.0.0.1" in start


def test_a_launcher_file_names_as_many_machines_as_the_recipe_needs():
    with pytest.raises(
        UserError, match=r"needs 2 machines, the head among them, and 1 are named; name 1 with --worker"
    ):
        rendered("autoscaler", 4, **GIVEN["autoscaler"])
    text = rendered("autoscaler", 4, **{**GIVEN["autoscaler"], "worker": ["node1"]})
    assert yaml.safe_load(text)["max_workers"] == 1


def test_a_skypilot_task_is_valid_and_its_token_is_asked_for():
    text = rendered("skypilot", 4, **GIVEN["skypilot"], gpu="A100-80GB")
    task = SkyTask.model_validate(yaml.safe_load(text))
    assert (task.num_nodes, task.resources.accelerators) == (2, "A100-80GB:4")
    assert task.secrets == {"RAY_AUTH_TOKEN": None}
    assert task.workdir == "/home/me/it's here"
    assert "rlreason run 'my recipe.yaml' --set" in task.run


def test_on_a_cpu_no_file_asks_for_gpus():
    on_cpu = {"accelerator": "cpu"}
    workers = {"autoscaler": {"worker": ["node1"]}}
    for target in TARGETS:
        text = rendered(target, resources=on_cpu, **{**GIVEN[target], **workers.get(target, {})})
        assert "nvidia" not in text
        assert "--gpus" not in text
        assert "accelerators" not in text
        assert ("resources.accelerator=cpu" in text) == (target != "autoscaler")


@pytest.mark.parametrize(
    ("target", "said", "message"),
    [
        ("kubray", {}, "--target 'kubray' is not one of kuberay, slurm, autoscaler, skypilot; did you mean 'kuberay'"),
        ("kuberay", {}, "--target kuberay needs --image: a container image"),
        ("kuberay", {"image": "a b"}, "--image 'a b' is not allowed; write a container image"),
        ("kuberay", {"image": "a", "kind": "Job"}, "--kind 'Job' is not allowed; write RayJob"),
        ("slurm", {"image": "a"}, "--image means nothing to --target slurm, which takes --time; leave it out"),
        ("slurm", {"time": "two days"}, "--time 'two days' is not allowed; write a Slurm time"),
        ("autoscaler", {"head": "a", "ssh_user": "Me"}, "--ssh-user 'Me' is not allowed"),
        ("autoscaler", {"head": "a", "ssh_user": "me", "worker": ["b;c"]}, "--worker 'b;c' is not allowed"),
        ("skypilot", {"image": "a", "gpu": "H100:8"}, "--gpu 'H100:8' is not allowed"),
    ],
)
def test_options_that_cannot_be_are_refused(target: str, said: dict[str, Any], message: str):
    with pytest.raises(UserError) as refused:
        rendered(target, **said)
    assert message in str(refused.value)


@given(st.text())
def test_any_text_in_a_yaml_template_reads_back_as_itself(text: str):
    assert yaml.safe_load(f"key: {_as_yaml(text)}") == {"key": text}


@given(st.text(min_size=1, max_size=80))
def test_a_slug_is_a_name_that_kubernetes_allows(name: str):
    assert all(character in "abcdefghijklmnopqrstuvwxyz0123456789-" for character in slug(name))
    assert len(slug(name)) <= 40
    assert not slug(name).startswith("-") and not slug(name).endswith("-")
