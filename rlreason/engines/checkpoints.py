"""Folders that appear whole or not at all: what a stage saves, how it is known to be whole, and where it resumes from.

A saved state is one transaction. Its files are written under "update-NNNNNN.partial", a manifest with the size and
SHA-256 of each is written last, all of it is synced, and then the folder is renamed. What a learner's file holds is in
`learner_state`; that it is written while training goes on, in `state_writer`.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from rlreason.errors import CheckpointError

PARTIAL = ".partial"
DAMAGED = ".damaged"
MANIFEST = "manifest.json"
FORMAT = 1
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
)
_STATE = re.compile(r"update-(\d{6,})")


@dataclass(frozen=True, slots=True)
class SavedState:
    """A whole state.

    Attributes:
        folder: where it lies.
        about: what its manifest says of it: stage, update, ranks, versions and the like.
    """

    folder: Path
    about: Mapping[str, Any]


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy tokenizer (and generation defaults) unchanged from one Hugging Face directory to another."""
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def state_name(update: int) -> str:
    """The name of the state after that update."""
    return f"update-{update:06d}"


def update_of(state: Path) -> int:
    """The update after which a state was saved, by its name."""
    match = _STATE.fullmatch(state.name)
    assert match, f"{state} is no state's name"
    return int(match[1])


def partial_of(folder: Path) -> Path:
    """An empty "NAME.partial" beside the folder that is to appear.

    Raises:
        CheckpointError: the disk refused.
    """
    partial = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    with writing(partial):
        partial.mkdir(parents=True)
    return partial


def finish(partial: Path) -> Path:
    """Give a finished "NAME.partial" folder its name; what a killed run may have left under that name goes first.

    All of it is on the disk before it has its name, so that a power cut leaves no empty files behind a good name.
    """
    for path in (*partial.rglob("*"), partial):
        _sync(path)
    final = partial.with_name(partial.name.removesuffix(PARTIAL))
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    _sync(final.parent)
    return final


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    """SHA-256 of a file, in one call: piece by piece it would take Python's lock from training thousands of times."""
    if path.stat().st_size == 0:
        return hashlib.sha256().hexdigest()
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return hashlib.sha256(content).hexdigest()


def promote(partial: Path, about: Mapping[str, Any], keep: int = 1) -> Path:
    """Seal a finished "NAME.partial" folder and give it its name, then drop all but the `keep` newest states beside it.

    The older states are removed only after the new one stands under its final name.
    """
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    listed = {str(path.relative_to(partial)): {"bytes": path.stat().st_size, "sha256": _digest(path)} for path in files}
    manifest = {"format": FORMAT, **about, "files": listed}
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    final = finish(partial)
    for old in saved_states(final.parent)[:-keep]:
        # the new state stands, whatever the disk says of an old one; the next state's turn tries again
        shutil.rmtree(old, ignore_errors=True)
    return final


def saved_states(folder: Path) -> list[Path]:
    """The "update-NNNNNN" folders in `folder`, oldest first."""
    if not folder.exists():
        return []
    return sorted((path for path in folder.iterdir() if path.is_dir() and _STATE.fullmatch(path.name)), key=update_of)


def newest_state(folder: Path) -> Path | None:
    """The newest of the states in `folder`, not verified; None where there is none."""
    states = saved_states(folder)
    return states[-1] if states else None


def verify(state: Path) -> SavedState:
    """The state, once every file of it is found to be what was written.

    Raises:
        CheckpointError: a file is missing, cut off, altered, or was not written with it.
    """
    try:
        manifest = json.loads((state / MANIFEST).read_text(encoding="utf-8"))
        listed = manifest.pop("files")
        version = manifest.pop("format")
    except FileNotFoundError:
        raise CheckpointError(f"{state} has no {MANIFEST}: an older rlreason wrote it, or it is not whole") from None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{state / MANIFEST} cannot be read ({type(error).__name__}: {error})") from error
    if version != FORMAT:
        raise CheckpointError(f"{state} has format {version}; this rlreason reads {FORMAT}")
    there = {str(path.relative_to(state)) for path in state.rglob("*") if path.is_file()} - {MANIFEST}
    if there != listed.keys():
        raise CheckpointError(
            f"{state} should hold {', '.join(sorted(listed))} and holds {', '.join(sorted(there)) or 'nothing'}"
        )
    for name, expected in listed.items():
        size = (state / name).stat().st_size
        if size != expected["bytes"]:
            raise CheckpointError(f"{state / name} has {size} bytes and was written with {expected['bytes']}")
        if (found := _digest(state / name)) != expected["sha256"]:
            raise CheckpointError(f"{state / name} was altered: its SHA-256 is {found}, not {expected['sha256']}")
    return SavedState(state, manifest)


def whole_state(folder: Path, stage: str, note: Callable[[str], None]) -> SavedState | None:
    """The newest whole state of a stage; None where none was saved. What a killed run left half written is removed.

    A damaged state is put aside (as "update-NNNNNN.damaged") where an older whole one was kept, and `note` is told.

    Raises:
        CheckpointError: the newest state is damaged and no older one is whole, or it is another stage's.
    """
    for left in folder.glob(f"*{PARTIAL}"):
        shutil.rmtree(left)
    damaged: list[tuple[Path, CheckpointError]] = []
    for state in reversed(saved_states(folder)):
        try:
            found = verify(state)
        except CheckpointError as error:
            damaged.append((state, error))
            continue
        if (other := found.about.get("stage")) != stage:
            raise CheckpointError(f"{state} is the state of stage {other}, not of {stage}; move it away")
        for each, why in damaged:
            aside = each.with_name(each.name + DAMAGED)
            shutil.rmtree(aside, ignore_errors=True)
            each.rename(aside)
            note(f"{why}; put aside as {aside.name}, going on from update {update_of(state)}")
        return found
    if damaged:
        raise CheckpointError(
            f"{damaged[0][1]}. No older state of {stage} is whole (keep_last says how many stay): restore the file, or "
            f"delete {folder} to begin the stage again"
        )
    return None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Where writing the "NAME.partial" folder fails, remove it and say so as a CheckpointError.

    Raises:
        CheckpointError: the disk refused, for example because it is full.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        free = shutil.disk_usage(next(path for path in folder.parents if path.exists())).free / 2**20
        kept = newest_state(folder.parent)
        where = f" after {kept.name}, which is whole" if kept else ""
        raise CheckpointError(
            f"{folder.name.removesuffix(PARTIAL)} could not be written to {folder.parent} ({error}; with what there "
            f"was of it removed, {free:,.0f} MiB are free); make room and run again: the run resumes{where}"
        ) from error
