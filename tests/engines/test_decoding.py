"""Decoding step by step gives the logits of whole sequences, however rows are grouped and whichever of them leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from rlreason.engines import decoding
from rlreason.engines.decoding import ROOM, Decoding, PlainDecoding, lines_of, prepare, start_decoding
from rlreason.engines.shared_prompts import FAMILIES

SHAPE = {
    **{"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0},
    "sliding_window": None,
}


def make_model(family: str = "llama", **changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(SHAPE | changes))
    return AutoModelForCausalLM.from_config(config, dtype=torch.float64).eval()


def expected_logits(model: torch.nn.Module, sequence: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([sequence]), use_cache=False).logits[0, -1]


@torch.no_grad()
def assert_decodes(family: str, lengths: list[int], which: list[int], kind: type, *, steps: int, **changes: object):
    """Rows that ask the prompts `which`, of `lengths`; after each step a third of the rows left leaves, in turn."""
    plain, model = make_model(family, **changes), make_model(family, **changes)
    prepare(model)
    random = np.random.default_rng(1)
    prompts = [random.integers(2, 290, length).astype(np.int32) for length in lengths]
    said = [list(map(int, prompts[prompt])) for prompt in which]
    rows = start_decoding(model, [prompts[prompt] for prompt in which])
    assert isinstance(rows, kind)
    for step in range(steps + 1):
        assert len(rows.logits) == len(said)
        for logits, sequence in zip(rows.logits, said, strict=True):
            torch.testing.assert_close(logits, expected_logits(plain, sequence), rtol=0, atol=1e-6)
        keep = [row for row in range(len(said)) if step % 2 == 0 or row % 3 != step % 3] or [0]
        if len(keep) < len(said):
            rows.keep(torch.tensor(keep))
            said = [said[row] for row in keep]
        tokens = random.integers(2, 290, len(said))
        said = [[*sequence, int(token)] for sequence, token in zip(said, tokens, strict=True)]
        rows.step(torch.from_numpy(tokens))


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_share_prompts_have_the_logits_of_whole_sequences(family):
    assert_decodes(family, [3, 7, 1], [0] * 6 + [1] * 5 + [2], Decoding, steps=5)


def test_groups_of_one_size_and_prompts_of_one_length():
    assert_decodes("llama", [4, 4, 4], [2, 2, 0, 0, 1, 1], Decoding, steps=3)


def test_a_cache_grows_beyond_its_room():
    assert_decodes("llama", [3, 2], [0, 0, 1], Decoding, steps=ROOM + 3)


def test_a_model_with_windows_keeps_rows_of_its_own():
    window = {"sliding_window": 4, "use_sliding_window": True, "max_window_layers": 1}
    assert_decodes("qwen2", [3, 7, 1], [0, 0, 1, 1, 2], PlainDecoding, steps=5, **window)


def test_a_family_that_is_not_known_keeps_rows_of_its_own():
    assert_decodes("olmo", [3, 7, 1], [0, 0, 1, 1, 2], PlainDecoding, steps=5)


def test_a_step_copies_no_cache():
    """A row's keys stay where they are until the room is used up."""
    model = make_model()
    prepare(model)
    with torch.no_grad():
        rows = start_decoding(model, [np.arange(2, 6, dtype=np.int32)] * 3)
        rows.step(torch.tensor([7, 8, 9]))
        begun = rows._own.layers[0].keys.data_ptr()
        for _ in range(ROOM):
            rows.step(torch.tensor([7, 8, 9]))
            assert rows._own.layers[0].keys.data_ptr() == begun
        rows.step(torch.tensor([7, 8, 9]))
        assert rows._own.layers[0].keys.data_ptr() != begun


def test_prompts_are_held_once_a_group(monkeypatch):
    seen: list[tuple[int, ...]] = []
    inner = decoding.attention

    def watched(module, query, key, value, mask, groups=None, **options):
        if groups is not None:
            seen.append((groups.keys[0].shape[0], groups.rows.shape[0], groups.rows.shape[1], key.shape[2]))
        return inner(module, query, key, value, mask, groups=groups, **options)

    monkeypatch.setattr(decoding, "attention", watched)
    model = make_model()
    prepare(model)
    prompts = [np.arange(2, 12, dtype=np.int32), np.arange(3, 9, dtype=np.int32)]
    with torch.no_grad():
        start_decoding(model, [prompt for prompt in prompts for _ in range(8)]).step(torch.arange(2, 18))
    # two layers; the keys of two prompts, two lines of eight, and of each row the one token that it has sampled
    assert seen == [(2, 2, 8, 1)] * 2


def test_lines_worked_by_hand():
    # three of prompt 0, one of prompt 4: two on a line, so that prompt 0 has two lines
    rows, places, prompt = lines_of(np.array([0, 4, 0, 0]))
    assert rows.tolist() == [[0, 2], [3, 0], [1, 0]]
    assert places.tolist() == [0, 4, 1, 2]
    assert prompt.tolist() == [0, 0, 4]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_every_row_has_a_place_on_a_line_of_its_prompt(which):
    rows, places, prompt = lines_of(np.array(which))
    assert rows.ravel()[places].tolist() == list(range(len(which)))
    assert np.repeat(prompt, rows.shape[1])[places].tolist() == which
    assert len(rows) <= 2 * len(set(which))
    assert rows.size <= 3 * len(which)
