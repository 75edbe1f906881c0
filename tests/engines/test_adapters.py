"""Adapters that train in place of a model's weights, and leave it merged."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlreason.engines.adapters import add_adapters, merged_tensors, save_merged
from rlreason.engines.weights import pack_weights, read_checkpoint
from rlreason.errors import ModelError
from rlreason.recipe.training import Lora

TOKENS = torch.tensor([[5, 9, 11, 200]])


def adapted(checkpoint, **settings):
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    add_adapters(model, Lora(**{"rank": 2, "alpha": 6, **settings}))
    return model


def moved(model):
    """Its adapters are no longer zero."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.3)
    return model


def test_new_adapters_change_nothing_and_all_else_is_frozen(tied):
    plain, model = AutoModelForCausalLM.from_pretrained(tied), adapted(tied)
    torch.testing.assert_close(model(TOKENS).logits, plain(TOKENS).logits)
    assert {name.rpartition(".lora_")[1] for name, each in model.named_parameters() if each.requires_grad} == {".lora_"}


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_what_leaves_is_a_plain_model_that_says_the_same(kind, request, tmp_path):
    checkpoint = request.getfixturevalue(kind)
    model = moved(adapted(checkpoint))
    save_merged(model, checkpoint, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(merged(TOKENS).logits, model(TOKENS).logits, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(merged(TOKENS).logits, AutoModelForCausalLM.from_pretrained(checkpoint)(TOKENS).logits)
    assert read_checkpoint(tmp_path / "merged").keys() == read_checkpoint(checkpoint).keys()
    sent = dict(pack_weights(merged_tensors(model)))
    for name, tensor in merged.named_parameters():
        torch.testing.assert_close(sent[name], tensor.detach())


def test_one_layer_worked_by_hand(tied):
    model = adapted(tied, targets=("q_proj",))
    layer = model.get_submodule("model.layers.0.self_attn.q_proj")
    layer.lora_A["default"].weight.data.fill_(0.5)
    layer.lora_B["default"].weight.data.fill_(0.25)
    # rank 2: each entry of B A is 2 x 0.25 x 0.5, scaled by alpha / rank = 3
    before = read_checkpoint(tied)["model.layers.0.self_attn.q_proj.weight"]
    after = dict(merged_tensors(model))["model.layers.0.self_attn.q_proj.weight"]
    torch.testing.assert_close(after, before + 0.75)


def test_layers_that_are_not_there_are_named(tied):
    with pytest.raises(ModelError, match=r"lora.targets \['query'\]"):
        adapted(tied, targets=("query",))
