"""Folders that appear whole or not at all: what a learner saves, and where it resumes from."""

from __future__ import annotations

import shutil
from pathlib import Path

PARTIAL = ".partial"
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


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy tokenizer (and generation defaults) unchanged from one Hugging Face directory to another."""
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def finish(partial: Path) -> Path:
    """Give a finished "NAME.partial" folder its name; what a killed run may have left under that name goes first."""
    final = partial.with_name(partial.name.removesuffix(PARTIAL))
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return final


def promote(partial: Path, keep: int = 1) -> Path:
    """Give a finished "NAME.partial" folder its name, then drop all but the `keep` newest of its siblings.

    The old state is removed only after the new one stands under its final name.
    """
    final = finish(partial)
    for old in saved_states(final.parent)[:-keep]:
        shutil.rmtree(old)
    return final


def saved_states(folder: Path) -> list[Path]:
    """Whole "update-NNNNNN" folders in `folder`, oldest first."""
    if not folder.exists():
        return []
    return sorted(path for path in folder.glob("update-*") if path.is_dir() and path.suffix != PARTIAL)


def newest_state(folder: Path) -> Path | None:
    """The newest whole state in `folder`, None where there is none."""
    states = saved_states(folder)
    return states[-1] if states else None
