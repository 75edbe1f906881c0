"""Fingerprints of what a recipe names and does not hold: model directories, reward plug-ins, and the files of tasks.

They go into the identities of stages, so that another model under the same path, an edited reward or another row is
another stage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlreason.recipe.schema import Recipe
from rlreason.recipe.validation import resolve_plugin_path

FORMAT_VERSION = 2
"""Raise it when the same settings come to mean other results, as by another default; every stage then has a new
identity."""
_MODEL_FILES = (".json", ".txt", ".model", ".jinja", ".safetensors")
_WHOLE_FILE_BYTES = 64 * 2**20
_END_BYTES = 4 * 2**20


def json_digest(value: Any) -> str:
    """SHA-256 of canonical JSON: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint_model(
    path: Path | None, recipe: Recipe, task_fingerprints: Mapping[str, Mapping[str, Any]] | None = None
) -> str:
    """SHA-256 (hex) of where the arms start.

    Args:
        path: `resolve_model_path`. Config, tokenizer and weight files count, by name and content; of a file over 64 MB
            its size and its first and last 4 MB, so that a large model does not have to be read.
        recipe: where `path` is None, its `model.scratch` counts, and its tasks, whose words make the tokenizer.
        task_fingerprints: task -> parameters that stand for their files' content: see `build_plan`.
    """
    if path is None:
        architecture = recipe.model.model_dump(mode="json")["scratch"]
        if architecture["start"] == "random":  # as it was before there was another: identities stay
            del architecture["start"]
        files = task_fingerprints or {}
        tasks = {name: {**task.model_dump(mode="json"), **files.get(name, {})} for name, task in recipe.tasks.items()}
        return json_digest({"format": FORMAT_VERSION, "scratch": architecture, "tasks": tasks})
    return fingerprint_folder(path)


def fingerprint_folder(path: Path) -> str:
    """SHA-256 (hex) of a Hugging Face directory: see `fingerprint_model`."""
    files = sorted(file for file in path.iterdir() if file.suffix in _MODEL_FILES and file.is_file())
    return json_digest([[file.name, _digest_file(file)] for file in files])


def fingerprint_files(path: Path) -> str:
    """SHA-256 (hex) of a file, or of all files of a folder by name, every byte of them. What `datasets` caches in a
    folder does not count."""
    if path.is_file():
        return _digest_whole(path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("cache-"))
    return json_digest([[str(file.relative_to(path)), _digest_whole(file)] for file in files])


def fingerprint_rewards(recipe: Recipe, folders: Sequence[Path]) -> dict[str, str]:
    """Spec -> SHA-256 (hex) of its file, of every part of the rubric that is a file.

    Args:
        folders: `LoadedRecipe.folders`.
    Raises:
        RewardError: a file is not there.
    """
    paths = {part.spec: resolve_plugin_path(part.spec, folders) for part in recipe.rewards.parts}
    return {spec: _digest_file(path) for spec, path in paths.items() if path is not None}


def _digest_whole(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_file(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WHOLE_FILE_BYTES:
            digest.update(file.read())
        else:
            digest.update(file.read(_END_BYTES))
            file.seek(-_END_BYTES, 2)
            digest.update(file.read())
    return digest.hexdigest()
