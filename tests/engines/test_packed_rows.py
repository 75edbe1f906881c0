"""Attention within the sequences of packed rows gives what a mask over whole rows gives, for every family."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForTokenClassification

from rlreason.engines import packed_rows
from rlreason.engines.packed_rows import describe, pack_attention
from rlreason.engines.protocols import SupervisedJob
from rlreason.engines.shared_prompts import FAMILIES
from rlreason.engines.torch_learner import TorchLearner
from rlreason.recipe.training import Optimizer
from tests.engines.rows import make_rows
from tests.engines.test_shared_prompts import SHAPE

POSITIONS = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 0, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 1, 2, 0, 1, 2, 3, 4]])
"""Sequences of 5, 2, 1 and 1; of 9; of 1, 3 and 5."""


def test_where_sequences_are_worked_by_hand():
    rows = describe(POSITIONS)
    # by length: those of 1, of 2, of 3, of 5 and the one of 9
    assert [places.tolist() for places in rows.groups] == [
        [[7], [8], [18]],
        [[5, 6]],
        [[19, 20, 21]],
        [[0, 1, 2, 3, 4], [22, 23, 24, 25, 26]],
        [[9, 10, 11, 12, 13, 14, 15, 16, 17]],
    ]
    flat = torch.cat([places.flatten() for places in rows.groups])
    assert flat[rows.outputs].tolist() == list(range(27))


def test_a_shorter_sequence_of_a_group_is_filled_up_and_its_filling_is_not_put_back():
    # the square root of 2 apart, from 4 down: 3 and 4; then 5; 9 and 11, of 8 * 2 ** 0.5 = 11.3 down to 8
    rows = describe(torch.tensor([[*range(5), *range(4), *range(3)]]))
    assert [places.tolist() for places in rows.groups] == [[[5, 6, 7, 8], [9, 10, 11, 9]], [[0, 1, 2, 3, 4]]]
    rows = describe(torch.tensor([[*range(11), *range(9)]]))
    assert rows.groups[0].tolist() == [[*range(11)], [*range(11, 20), 11, 11]]
    assert rows.outputs.tolist() == list(range(20))


def losses(model, tokens, positions):
    model.zero_grad()
    loss = model(input_ids=tokens, labels=tokens, position_ids=positions, use_cache=False).loss
    loss.backward()
    return float(loss.detach()), {name: weight.grad.clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_a_mask_over_whole_rows(family):
    torch.manual_seed(0)
    masked = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SHAPE, sliding_window=None))
    within = copy.deepcopy(masked)
    assert pack_attention(within)
    tokens = torch.randint(2, 300, POSITIONS.shape)
    (loss, gradients), (loss_2, gradients_2) = losses(masked, tokens, POSITIONS), losses(within, tokens, POSITIONS)
    assert loss_2 == pytest.approx(loss, abs=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_2[name], gradient, rtol=1e-4, atol=1e-6)


def test_a_classifier_of_steps_attends_so_too():
    torch.manual_seed(0)
    masked = AutoModelForTokenClassification.from_config(AutoConfig.for_model("llama", **SHAPE)).eval()
    within = copy.deepcopy(masked)
    assert pack_attention(within)
    tokens = torch.randint(2, 300, POSITIONS.shape)
    one, other = (model(input_ids=tokens, position_ids=POSITIONS, use_cache=False).logits for model in (masked, within))
    torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def test_a_family_that_is_not_known_to_give_the_same_is_left_alone():
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("gpt2", vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=32)
    )
    before = model.config._attn_implementation
    assert not pack_attention(model) and model.config._attn_implementation == before


def test_supervised_training_attends_so_and_leaves_no_word_of_it_in_the_model(tied, tmp_path, monkeypatch):
    described = []
    monkeypatch.setattr(packed_rows, "describe", lambda positions: described.append(1) or describe(positions))
    job = SupervisedJob(tied, tmp_path / "model", tmp_path, 2, Optimizer(learning_rate=1e-3), 10, 0, batch_rows=3)
    TorchLearner(dtype="float32", micro_batch_tokens=100).supervised(job, make_rows(2), lambda *_: None)
    assert len(described) == 2  # once a pass, for all layers
    assert packed_rows.ATTENTION not in (tmp_path / "model" / "config.json").read_text()
