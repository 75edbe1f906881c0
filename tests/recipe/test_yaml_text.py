"""YAML read by 1.2 rules, duplicates refused, and written so that it reads back the same."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.errors import RecipeError
from rlreason.recipe.yaml_text import parse_yaml, read_yaml, to_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("2E5", 200000.0),
        (".5", 0.5),
        ("-1.5e+2", -150.0),
        (".inf", math.inf),
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("true", True),
        ("FALSE", False),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("~", None),
        ("null", None),
        ("", None),
        ("'1'", "1"),
        ("e5", "e5"),
        ("=", "="),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: Any) -> None:
    read = parse_yaml(text, "here")
    assert read == value
    assert type(read) is type(value)


def test_words_that_yaml_1_1_takes_for_booleans_can_be_keys() -> None:
    assert parse_yaml("{on: 1, off: 2, yes: 3, no: 4, n: 5}", "here") == {"on": 1, "off": 2, "yes": 3, "no": 4, "n": 5}


def test_a_key_given_twice_is_refused_with_both_lines() -> None:
    with pytest.raises(RecipeError, match=r"^here: line 4: key 'updates' is given twice \(first on line 2\)"):
        parse_yaml("stage:\n  updates: 1\n  seed: 0\n  updates: 2\n", "here")


def test_a_duplicate_is_seen_in_a_list_and_in_flow_style() -> None:
    with pytest.raises(RecipeError, match="key 'a' is given twice"):
        parse_yaml("- {a: 1, b: 2, a: 3}", "here")


def test_a_merged_key_may_be_overridden_without_being_a_duplicate() -> None:
    text = "base: &base {a: 1, b: 2}\nmine:\n  <<: *base\n  b: 3\n"
    assert parse_yaml(text, "here")["mine"] == {"a": 1, "b": 3}


@pytest.mark.parametrize("text", ["a: [1, 2", "a: b: c", "\tx: 1", "a: !!python/object:os.system {}", "--- 1\n--- 2\n"])
def test_what_is_not_plain_yaml_is_refused_with_place_and_line(text: str) -> None:
    with pytest.raises(RecipeError, match=r"^here: line \d+, column \d+: not valid YAML"):
        parse_yaml(text, "here")


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: !!binary aGVsbG8=", "a: !!set {x, y}", "a: !!timestamp 2026-01-01"])
def test_what_json_could_not_hold_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match=r"^here: only texts, numbers, lists and mappings can stand here"):
        parse_yaml(text, "here")


def test_a_mapping_cannot_be_a_key() -> None:
    with pytest.raises(RecipeError, match="a key must be a plain word or number"):
        parse_yaml("? [a, b]\n: 1\n", "here")


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("- a\n", "a list"), ("word\n", "a str")])
def test_a_file_that_holds_no_mapping_is_no_recipe(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=rf"x\.yaml holds {found}; a recipe is a mapping"):
        read_yaml(path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(RecipeError, match=r"x\.yaml cannot be read as a recipe"):
        read_yaml(path)


_texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.sampled_from(
    ["1e-3", "on", "no", "007", "0x1", "null", "~", "true", "<<", "=", "2026-01-01", "1:30", "- a", "a: b", "#", ".inf"]
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts | st.integers(), inner, max_size=4)
)


@given(_values)
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    assert parse_yaml(to_yaml(value), "here") == value


def test_nothing_becomes_a_date() -> None:
    assert not isinstance(parse_yaml("2026-01-01", "here"), date)
