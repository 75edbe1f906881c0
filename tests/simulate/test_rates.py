from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rlreason.errors import RecipeError
from rlreason.simulate.rates import load_rates, shipped_rates
from tests.simulate.works import RATES


def refusal(folder: Path, **changes: object) -> str:
    """What is said to such a file."""
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**RATES, **changes}))
    with pytest.raises(RecipeError) as refused:
        load_rates(str(path))
    return str(refused.value)


def test_what_ships_is_marked_as_assumed():
    assert {"assumed_a100", "assumed_h200"} <= set(shipped_rates())
    for name, path in shipped_rates().items():
        assert load_rates(name).about.startswith("assumed (")
        assert path.read_text().startswith("# ASSUMED, not measured")


def test_a_file_is_read_as_a_recipe_is(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(RATES).replace("tokens_per_s: 100", "tokens_per_s: 1e2"))
    assert load_rates(str(path)).learning.tokens_per_s == 100


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lenghts": {}}, "key 'lenghts' is not one of"),
        ({"lengths": {"type": "normal"}}, "'normal' is not one of constant, lognormal, empirical"),
        ({"lengths": {"type": "empirical", "groups": [[1, 2], [3]]}}, "the same number"),
        ({"learning": {}}, "exactly one of `tokens_per_s` (measured) and `flops` (a peak)"),
        ({"learning": {"tokens_per_s": 1, "flops": 1}}, "exactly one of"),
        ({"learning": {"tokens_per_s": -1}}, "learning.tokens_per_s"),
        ({"decoding": {"type": "linear", "step_s": 0, "sequence_s": 0}}, "takes no time; give at least one"),
        ({"decoding": {"type": "measured", "prefill_tokens_per_s": 1, "points": [
            {"sequences": 8, "tokens_per_s": 10}, {"sequences": 4, "tokens_per_s": 20}]}}, "must rise in both; sort"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_key_and_remedy(tmp_path: Path, changes: dict[str, object], said: str):
    assert said in refusal(tmp_path, **changes)


def test_a_name_that_is_none_is_answered_with_those_that_are():
    with pytest.raises(RecipeError, match=r"rates 'h200' is not one of assumed_a100, assumed_h200, a YAML file"):
        load_rates("h200")
