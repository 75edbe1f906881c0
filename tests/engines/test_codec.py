import json
import shutil

import numpy as np
import pytest

from rlreason.engines.codec import TextCodec
from rlreason.errors import ModelError


def copy_with(source, target, generation, config):
    shutil.copytree(source, target)
    for name, changes in (("generation_config.json", generation), ("config.json", config)):
        path = target / name
        if changes is None:
            path.unlink()
        else:
            path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return target


@pytest.mark.parametrize(
    ("generation", "config", "end"),
    [
        ({"eos_token_id": 9}, {"eos_token_id": 5}, 9),
        ({"eos_token_id": [7, 9]}, {}, 7),
        ({"eos_token_id": None}, {"eos_token_id": 5}, 5),
        (None, {"eos_token_id": 6}, 6),
        (None, {"eos_token_id": 0}, 0),
    ],
)
def test_the_end_token_is_the_generation_config_s_before_the_model_s(tied, tmp_path, generation, config, end):
    assert TextCodec(copy_with(tied, tmp_path / "model", generation, config)).end == end


def test_a_model_without_an_end_token_or_a_tokenizer_is_refused(tied, tmp_path):
    endless = copy_with(tied, tmp_path / "endless", None, {"eos_token_id": None})
    with pytest.raises(ModelError, match=r"names no eos_token_id in generation_config\.json or config\.json"):
        TextCodec(endless)
    (endless / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer\.json; save a fast tokenizer"):
        TextCodec(endless)


def test_special_tokens_are_not_part_of_the_text(tied):
    codec = TextCodec(tied)
    (tokens,) = codec.encode(["Ada is red"])
    assert tokens.dtype == np.int32
    assert codec.decode([np.append(tokens, codec.end), tokens[:0]]) == ["Ada is red", ""]
