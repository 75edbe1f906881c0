"""A new Hugging Face model directory with random weights and a word-level tokenizer: where a from-scratch arm starts.

The tokenizer knows the tasks' words whole (with and without a leading space) and falls back to bytes for everything
else, so any text is encoded and decoded exactly, and a digit string is one token a digit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rlreason.engines.look_up_start import ROPE_THETA, STEPS, start_at_look_up
from rlreason.recipe.schema import Architecture
from rlreason.recipe.sizes import ModelShape, shape_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

END_TOKEN = "<|end|>"
PAD_TOKEN = "<|pad|>"
SPACE = "\u0120"
"""The character that stands for a space in a byte-level vocabulary."""


def byte_alphabet() -> list[str]:
    """The 256 printable characters that stand for the bytes in a byte-level vocabulary, by code point."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def make_tokenizer(folder: Path, words: Iterable[str]) -> dict[str, int]:
    """Write a word-level tokenizer with byte fallback; returns its vocabulary.

    A byte-level BPE without merges whose `ignore_merges` takes a whole pre-token where the vocabulary has it: what is
    a known word is one token, anything else is its bytes.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    vocabulary = {PAD_TOKEN: 0, END_TOKEN: 1}
    for piece in byte_alphabet():
        vocabulary.setdefault(piece, len(vocabulary))
    for word in words:
        for form in (word, " " + word):
            for piece, _ in splitter.pre_tokenize_str(form):
                vocabulary.setdefault(piece, len(vocabulary))
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    backend.pre_tokenizer = splitter
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(PAD_TOKEN, special=True), AddedToken(END_TOKEN, special=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END_TOKEN, pad_token=PAD_TOKEN)
    tokenizer.save_pretrained(folder)
    return vocabulary


def make_model(
    folder: Path, architecture: Architecture, words: Iterable[str], seed: int, steps: Collection[str] = STEPS
) -> Path:
    """Write config, random weights (float32 safetensors, seeded) and tokenizer into `folder`; returns it.

    Args:
        steps: see `start_at_look_up`; only where the architecture starts there.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = make_tokenizer(folder, words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _random_model(architecture, shape_of(architecture, len(vocabulary)))
        if architecture.start == "look_up":
            spaced = [(word, vocabulary.get(SPACE + word)) for word in vocabulary]
            start_at_look_up(model, [(vocabulary[word], token) for word, token in spaced if token is not None], steps)
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def _random_model(architecture: Architecture, shape: ModelShape) -> PreTrainedModel:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    look_up = architecture.start == "look_up"
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=shape.tied,
        attention_bias=look_up,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA if look_up else 1e4},
        # The usual 0.02 is made for widths of thousands: at width 128 attention starts out blind to its input, and the
        # loss stays on the plateau of guessing ten times as long.
        initializer_range=shape.width**-0.5,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).to(torch.float32)
