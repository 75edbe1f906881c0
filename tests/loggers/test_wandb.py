"""Against Weights & Biases itself, offline: what its files hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loggers.told import told_twice

pytest.importorskip("wandb")
BLOCK, FILE_HEADER, HEADER = 32_768, 7, 7


def records(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file, which is a LevelDB log: chunks of (checksum 4, length 2, type 1), in blocks."""
    data, place, record = path.read_bytes(), FILE_HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK  # the end of a block that has no room for a chunk's header
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        place += HEADER
        record = data[place : place + length] if kind in (1, 2) else record + data[place : place + length]
        place += length
        if kind in (1, 4):  # a whole record, or the last chunk of one
            yield record


def test_it_works_offline_without_a_key_and_takes_no_step_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    from wandb.proto.wandb_internal_pb2 import Record

    folder, key = told_twice(tmp_path, "wandb")
    steps: dict[str, list[tuple[int, float]]] = {}
    summary: dict[str, str] = {}
    for file in sorted(folder.path.glob("wandb/offline-run-*/run-*.wandb")):
        name = ""
        for record in map(Record.FromString, records(file)):
            name = record.run.run_id or name
            values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            if "loss" in values:
                steps.setdefault(name, []).append((record.history.step.num, values["loss"]))
            if name == f"{key}-report":
                summary |= {item.key or item.nested_key[0]: item.value_json for item in record.summary.update}
    assert steps == {f"{key}-rl-0": [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 50.0)]}
    assert summary["sft_rl/iid"] == "0.75"
