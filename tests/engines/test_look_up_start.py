"""A model that starts at look-up finds a told fact by person and relation, before any training."""

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from rlreason.engines.codec import TextCodec
from rlreason.engines.scratch import make_model
from rlreason.recipe.schema import Architecture
from rlreason.recipe.sizes import count_parameters, read_shape, shape_of
from rlreason.tasks.registry import build_task

FACTS = {"people": 60, "facts": [4], "people_per_text": 2, "relations_per_text": 2, "times": 2, "wording": "triples"}


@pytest.fixture(scope="module")
def facts():
    return build_task("facts", "lookup", FACTS)


@pytest.fixture(scope="module")
def folders(facts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("starts")
    return {
        start: make_model(folder / start, Architecture(start=start), facts.words(), seed=0)
        for start in ("random", "look_up")
    }


def share_found(folder, facts):
    """Of facts that a text tells for the second time, with two people and two relations: tails that are predicted."""
    model, codec = AutoModelForCausalLM.from_pretrained(folder), TextCodec(folder)
    texts = [text for text in map(facts.text, range(150)) if len(set(text.split()[::3])) == 2][:60]
    tokens = torch.stack([torch.from_numpy(row).long() for row in codec.encode(texts)])
    assert tokens.shape[1] == 2 * 4 * 4  # four facts twice, each of three words and a full stop
    with torch.no_grad():
        predicted = model(tokens).logits.argmax(-1)
    tails = slice(16 + 2, None, 4)
    return (predicted[:, 16 + 1 :: 4] == tokens[:, tails]).float().mean().item()


def test_untrained_weights_look_up_what_random_weights_do_not(folders, facts):
    assert share_found(folders["random"], facts) < 0.1
    assert share_found(folders["look_up"], facts) > 0.3


def test_the_first_layer_s_heads_look_one_two_three_and_four_places_back(folders, facts):
    model = AutoModelForCausalLM.from_pretrained(folders["look_up"], attn_implementation="eager")
    tokens = torch.randint(300, 400, (4, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        attention = model(tokens, output_attentions=True).attentions[0]
    for head in range(4):
        back = attention[:, head].diagonal(offset=-(head + 1), dim1=1, dim2=2)[:, 10:]
        assert back.mean() > 0.9


def test_a_word_starts_alike_with_and_without_a_space_before_it(folders, facts):
    model, codec = AutoModelForCausalLM.from_pretrained(folders["look_up"]), TextCodec(folders["look_up"])
    (bare,), (spaced,) = codec.encode(["rival"])[0], codec.encode([" rival"])[0]
    first, second = model.get_input_embeddings().weight[[int(bare), int(spaced)]]
    assert torch.cosine_similarity(first, second, dim=0) > 0.6


def test_its_parameters_are_counted_with_all_biases(folders):
    for start, folder in folders.items():
        model = AutoModelForCausalLM.from_pretrained(folder)
        made = sum(weight.numel() for weight in model.parameters())
        assert count_parameters(read_shape(folder)) == made
        assert count_parameters(shape_of(Architecture(start=start), model.config.vocab_size)) == made


@pytest.mark.parametrize("wrong", [{"layers": 1}, {"heads": 1, "width": 32}, {"tie_embeddings": False}])
def test_what_has_no_room_for_it_is_refused(wrong):
    with pytest.raises(ValidationError, match="start look_up takes 2 layers and 2 heads at least and tied embeddings"):
        Architecture(start="look_up", **wrong)
