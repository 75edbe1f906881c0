import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlreason.engines.codec import TextCodec
from rlreason.engines.scratch import make_model
from rlreason.recipe.schema import Architecture


@pytest.fixture(scope="module")
def codec(tied):
    return TextCodec(tied)


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1")), st.text("Ada of 0123\n\t .?'é漢🙂")))
def test_any_text_comes_back_exactly(codec, text):
    (tokens,) = codec.encode([text])
    assert codec.decode([tokens]) == [text]
    assert not {0, 1} & set(tokens.tolist())


def test_known_words_are_one_token_with_and_without_a_space(codec):
    tokens = codec.encode(["Ada", " Ada", "who is the boss of Ada?"])
    assert [len(sequence) for sequence in tokens] == [1, 1, 7]
    assert tokens[0][0] != tokens[1][0]


@given(st.text("0123456789", min_size=1, max_size=30))
def test_a_digit_is_one_token(codec, digits):
    assert len(codec.encode([digits])[0]) == len(digits)


def test_unknown_words_fall_back_to_bytes(codec):
    (tokens,) = codec.encode(["Zoë"])
    assert len(tokens) == len("Zoë".encode()) == 4


def test_the_driver_s_codec_and_transformers_tokenizer_agree(tied, codec):
    tokenizer = AutoTokenizer.from_pretrained(tied)
    for text in ("who is the boss of Ada?", "1990 Zoë\n  two  spaces"):
        assert tokenizer(text, add_special_tokens=True)["input_ids"] == codec.encode([text])[0].tolist()
    assert tokenizer.eos_token_id == codec.end == 1


def test_the_seed_decides_the_weights_and_the_process_s_random_state_is_left_alone(tmp_path):
    architecture = Architecture(layers=1, width=64, heads=2)
    before = torch.get_rng_state()
    folders = [make_model(tmp_path / str(n), architecture, ["a"], seed) for n, seed in enumerate((3, 3, 4))]
    assert torch.equal(torch.get_rng_state(), before)
    first, same, other = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in folders)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_the_model_has_the_shape_that_was_asked_for(tmp_path):
    architecture = Architecture(layers=3, width=96, heads=3, max_positions=77, tie_embeddings=False)
    config = AutoModelForCausalLM.from_pretrained(make_model(tmp_path / "m", architecture, ["a", "b"], 0)).config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (3, 96, 3)
    assert (config.max_position_embeddings, config.tie_word_embeddings) == (77, False)
    assert config.intermediate_size == 288  # 3 x 96, a multiple of 32 already
    assert config.vocab_size == 320  # 2 specials, 256 bytes (a and b among them), 2 with a space: rounded up to 64s
