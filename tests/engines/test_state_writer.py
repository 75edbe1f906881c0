"""States that are written while training goes on: what is in them, and what happens where they cannot be written."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from rlreason.engines import state_writer
from rlreason.engines.checkpoints import newest_state, verify
from rlreason.engines.learner_state import LearnerState, write_tensors
from rlreason.engines.state_writer import StateWriter
from rlreason.errors import CheckpointError


def tensors(megabytes: float = 0.1) -> dict[str, torch.Tensor]:
    return {"weights/a": torch.arange(int(megabytes * 2**18), dtype=torch.float32)}


@pytest.fixture
def gate(monkeypatch) -> threading.Event:
    """No tensor is written before it is opened."""
    opened = threading.Event()

    def wait_and_write(folder: Path, held: dict[str, torch.Tensor]) -> None:
        assert opened.wait(20)
        write_tensors(folder, held)

    monkeypatch.setattr(state_writer, "write_tensors", wait_and_write)
    return opened


@pytest.fixture
def small_files():
    """No file may grow past a megabyte: the kernel refuses the write, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_state_appears_when_all_of_it_is_written_and_nobody_waits_meanwhile(tmp_path, gate):
    writer, held = StateWriter(), tensors()
    writer.begin(tmp_path / "update-000001", held, {"stage": "rl-1"}, keep=1)
    writer.check()
    assert newest_state(tmp_path) is None, "begin() came back before it was written"
    gate.set()
    writer.settle()
    writer.check()
    assert verify(tmp_path / "update-000001").about == {"stage": "rl-1"}
    assert torch.equal(LearnerState(tmp_path / "update-000001")["weights/a"], held["weights/a"])


def test_only_one_state_is_written_at_a_time_and_the_older_goes_when_the_newer_stands(tmp_path, gate):
    writer = StateWriter()
    writer.begin(tmp_path / "update-000001", tensors(), {}, keep=1)
    threading.Timer(0.2, gate.set).start()
    writer.begin(tmp_path / "update-000002", tensors(), {}, keep=1)
    assert (tmp_path / "update-000001").exists() or (tmp_path / "update-000002").exists()
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["update-000002"]


def test_what_the_stage_laid_into_the_partial_folder_is_part_of_the_state(tmp_path):
    partial = tmp_path / "update-000001.partial"
    partial.mkdir()
    (partial / "loop.json").write_text("{}")
    writer = StateWriter()
    writer.begin(tmp_path / "update-000001", tensors(), {}, keep=1)
    writer.close()
    assert (verify(tmp_path / "update-000001").folder / "loop.json").read_text() == "{}"


def test_a_failed_write_is_told_once_and_costs_neither_the_older_state_nor_the_next(tmp_path, small_files):
    writer = StateWriter()
    writer.begin(tmp_path / "update-000001", tensors(), {}, keep=1)
    writer.begin(tmp_path / "update-000002", tensors(megabytes=2), {}, keep=1)
    writer.settle()
    with pytest.raises(
        CheckpointError, match=r"update-000002 could not .*File too large.*after update-000001, which is"
    ):
        writer.check()
    writer.check()
    assert [path.name for path in tmp_path.iterdir()] == ["update-000001"]
    verify(tmp_path / "update-000001")
    writer.begin(tmp_path / "update-000003", tensors(), {}, keep=1)
    writer.close()
    assert newest_state(tmp_path).name == "update-000003"


def test_the_next_state_is_not_begun_over_a_failure(tmp_path, small_files):
    writer = StateWriter()
    writer.begin(tmp_path / "update-000001", tensors(megabytes=2), {}, keep=1)
    with pytest.raises(CheckpointError, match="update-000001 could not be written"):
        writer.begin(tmp_path / "update-000002", tensors(), {}, keep=1)


def test_closing_waits_and_forgets(tmp_path, small_files):
    writer = StateWriter()
    writer.begin(tmp_path / "update-000001", tensors(megabytes=2), {}, keep=1)
    writer.close()
    assert not writer.failed and list(tmp_path.iterdir()) == []


ON_A_SMALL_DISK = """
import sys, torch
from pathlib import Path
from rlreason.engines.checkpoints import newest_state, verify
from rlreason.engines.state_writer import StateWriter
disk, writer = Path(sys.argv[1]), StateWriter()
writer.begin(disk / "update-000001", {"weights/a": torch.zeros(2**18)}, {}, keep=1)
writer.begin(disk / "update-000002", {"weights/a": torch.zeros(2**20)}, {}, keep=1)
writer.settle()
try:
    writer.check()
except Exception as error:
    print(type(error).__name__, error)
print(verify(newest_state(disk)).folder.name, [path.name for path in disk.iterdir()])
"""


def test_a_disk_that_is_full_is_named_and_the_older_state_on_it_is_whole(tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace of its own")
    command = 'mount -t tmpfs -o size=3m none "$1" && exec "$2" -c "$3" "$1"'
    found = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, "sh", str(tmp_path), sys.executable, ON_A_SMALL_DISK],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    error, state = found.stdout.splitlines()
    assert error.startswith("CheckpointError update-000002 could not be written") and "No space left on device" in error
    assert "2 MiB are free" in error, "what there was of it is removed"
    assert state == "update-000001 ['update-000001']"
