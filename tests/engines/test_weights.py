import pickle

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlreason.engines.weights import EMBEDDING, HEAD, pack_weights, read_checkpoint
from rlreason.errors import ModelError


def test_tensors_of_several_dtypes_come_back_bit_for_bit():
    named = {
        "a": torch.tensor([[1.5, -2.0], [float("inf"), 1e-40]]),
        "b": torch.tensor([1.0, 3.1415926], dtype=torch.bfloat16),
        "c": torch.zeros(0, 4),
        "d": torch.tensor(7, dtype=torch.int64),
        "e": torch.arange(6, dtype=torch.float32).view(2, 3).T,  # not contiguous
    }
    packed = pickle.loads(pickle.dumps(pack_weights(named.items())))
    assert packed.names == tuple(named)
    assert packed.shapes == ((2, 2), (2,), (0, 4), (), (3, 2))
    assert packed.dtypes == ("float32", "bfloat16", "float32", "int64", "float32")
    assert packed.buffer.nbytes == 16 + 4 + 0 + 8 + 24
    for name, tensor in packed:
        assert torch.equal(tensor, named[name]), name


def test_a_tied_head_is_written_out(tied):
    model = AutoModelForCausalLM.from_pretrained(tied)
    packed = dict(pack_weights(model.named_parameters()))
    assert HEAD not in dict(model.named_parameters())
    assert torch.equal(packed[HEAD], packed[EMBEDDING])


def test_a_head_of_its_own_is_kept(untied):
    packed = dict(pack_weights(AutoModelForCausalLM.from_pretrained(untied).named_parameters()))
    assert not torch.equal(packed[HEAD], packed[EMBEDDING])


def test_packing_copies_so_that_later_updates_do_not_reach_the_packed():
    weight = torch.ones(2)
    packed = pack_weights([("w", weight)])
    weight += 1
    assert dict(packed)["w"].tolist() == [1.0, 1.0]


def test_a_checkpoint_in_shards_reads_like_one_in_a_single_file(untied, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(untied)
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    whole, sharded = read_checkpoint(untied), read_checkpoint(tmp_path)
    assert set(whole) == set(sharded)
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)


def test_a_folder_without_safetensors_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"holds no model\.safetensors .* save the model with safe_serialization=True"):
        read_checkpoint(tmp_path)
