"""Operations and bytes of an update, against hand-worked numbers and against torch's own counter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from rlreason.bench.ceilings import CeilingsProbe
from rlreason.bench.floor import Ceilings, UpdateFloor, Work, matrices, update_floor
from rlreason.engines.scratch import make_model
from rlreason.recipe.schema import Architecture
from rlreason.recipe.sizes import ModelShape, read_shape

SMALL = ModelShape(
    vocabulary=10,
    width=4,
    layers=2,
    heads=2,
    kv_heads=1,
    head_width=2,
    feed_forward=3,
    positions=8,
    tied=True,
)


def test_an_update_is_counted_as_by_hand():
    # a layer: 4 x (4 + 2 + 2), 4 x 4, 4 x 6, 3 x 4 = 84 values, two layers 168; head 10 x 4 = 40
    # attention: 4 x 2 layers x 4 = 32 a query and key; cache: key and value, 2 layers, 1 head of 2, float32 = 32 bytes
    floor = update_floor(SMALL, prompts=1, group=2, prompt_tokens=2, completion_tokens=3)
    # prompt of 2: 2 x 2 x 168, keys 1 + 2, one prediction; reads 208 weights, writes 2 tokens of cache
    assert floor.prefill == Work(672 + 96 + 80, 832 + 64)
    # 2 completions, 2 steps: 2 x 2 x 208 and keys 3 + 4 each; each step reads the weights and the prompt's 2 tokens,
    # and 1 then 2 tokens of both completions
    assert floor.decode == Work(2 * (832 + 224), 2 * (832 + 64) + 32 * 2 * (1 + 2))
    # three times as much; 228 parameters (40 + 2 x (48 + 36 + 8) + 4), 7 arrays of 4 bytes
    assert floor.learn == Work(3 * (848 + 2112), 6384)


def test_a_prompt_is_counted_once_for_its_group():
    alone, shared = (
        update_floor(SMALL, prompts=4 // group, group=group, prompt_tokens=5, completion_tokens=3) for group in (1, 4)
    )
    assert alone.prefill.operations == 4 * shared.prefill.operations
    assert alone.decode.operations == shared.decode.operations
    # each of 2 steps reads 5 tokens of 3 prompts more
    assert alone.decode.moved_bytes - shared.decode.moved_bytes == 2 * 3 * 5 * 32


def test_matrices_and_attention_are_what_torch_counts(tmp_path: Path):
    make_model(tmp_path, Architecture(layers=2, width=64, heads=2, max_positions=16), [], seed=0)
    shape = read_shape(tmp_path)
    assert shape is not None
    model = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    with FlopCounterMode(display=False) as forward:
        loss = model(input_ids=torch.ones(1, 9, dtype=torch.int64)).logits.sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    values = sum(inputs * outputs * count for inputs, outputs, count in matrices(shape))
    # torch multiplies all 9 x 9 pairs of positions, two products a layer
    pairs = 4 * shape.layers * shape.width * 9 * 9
    rotary = forward.get_total_flops() - 2 * 9 * (values + shape.vocabulary * shape.width) - pairs
    assert 0 <= rotary <= 9 * shape.head_width  # positions by frequencies, as a product
    assert backward.get_total_flops() == 2 * (forward.get_total_flops() - rotary)


def test_the_floor_is_the_slower_of_computing_and_moving():
    floor = UpdateFloor(prefill=Work(100, 10), decode=Work(100, 40), learn=Work(600, 10))
    ceilings = Ceilings(wide_operations_per_s=100.0, decode_operations_per_s=50.0, bytes_per_s=10.0)
    # prefill: 1 s of either; decode: 2 s of products, 4 s of reading; learn: 6 s of products
    assert ceilings.floor_seconds(floor) == {"generate": 5.0, "learn": 6.0}


def test_the_machine_shows_what_it_can_and_keeps_its_threads():
    before = torch.get_num_threads()
    probe = CeilingsProbe(SMALL, wide_rows=64, decode_rows=8, step_bytes=4096, threads=1)
    ceilings = probe.measure()
    assert torch.get_num_threads() == before
    # no processor makes less than a million operations a second of these, or more than 10^15
    for rate in (ceilings.wide_operations_per_s, ceilings.decode_operations_per_s, ceilings.bytes_per_s):
        assert 1e6 < rate < 1e15
    assert probe.sizes == {"wide_rows": 64, "decode_rows": 8, "read_mib": pytest.approx(4096 / 2**20)}
