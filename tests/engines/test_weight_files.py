"""Weights through a folder: whole when told of, readable by others, and refused when not what was sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rlreason.engines.weight_files import KEPT, StoredWeights, WeightFiles
from rlreason.engines.weights import pack_weights
from rlreason.errors import EngineFailed, StaleWeights


def named(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {
        "model.layers.0.weight": torch.randn(3, 5),
        "model.layers.1.weight": torch.randn(7).to(torch.bfloat16),
        "empty.weight": torch.zeros(0, 4),
    }


def test_what_is_written_is_what_is_read_by_us_and_by_safetensors(tmp_path: Path) -> None:
    packed = pack_weights(named().items())
    stored = WeightFiles(tmp_path / "weights").write(packed)
    stored.check()
    read = stored.open()
    assert (read.names, read.shapes, read.dtypes) == (packed.names, packed.shapes, packed.dtypes)
    assert np.array_equal(read.buffer, packed.buffer)
    others = load_file(stored.path)
    assert others.keys() == named().keys()
    assert all(torch.equal(others[name], tensor) for name, tensor in named().items())


def test_old_files_go_and_the_newest_stay(tmp_path: Path) -> None:
    files = WeightFiles(tmp_path)
    stored = [files.write(pack_weights(named(seed).items())) for seed in range(KEPT + 2)]
    assert sorted(tmp_path.iterdir()) == sorted(each.path for each in stored[-KEPT:])
    assert torch.equal(dict(stored[-1].open())["model.layers.0.weight"], named(KEPT + 1)["model.layers.0.weight"])


def test_a_file_that_was_altered_is_found_out(tmp_path: Path) -> None:
    stored = WeightFiles(tmp_path).write(pack_weights(named().items()))
    whole = bytearray(stored.path.read_bytes())
    whole[-3] ^= 1
    stored.path.write_bytes(bytes(whole))
    with pytest.raises(StaleWeights, match="were altered on the way"):
        stored.check()


@pytest.mark.parametrize("content", [None, b"", b"\x10\0\0\0\0\0\0\0not json at all!", b"\2\0\0\0\0\0\0\0[]"])
def test_a_file_that_is_not_there_or_not_whole_is_named_with_what_the_folder_must_be(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "sync.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineFailed, match=r"sync\.safetensors cannot be read here: .*every node must see"):
        StoredWeights(path, 0).open()
