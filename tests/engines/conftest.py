"""Tiny models for the engines: one layer, random weights, a dozen words."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlreason.engines.scratch import make_model
from rlreason.recipe.schema import Architecture
from tests.torch_threads import one_thread  # noqa: F401

WORDS = ("red", "green", "blue", "boss", "of", "who", "is", "the", "?", ".", "Ada", "Bo", "So", "answer")


@pytest.fixture(scope="session")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face directory whose output head is its embedding."""
    architecture = Architecture(layers=2, width=64, heads=2, max_positions=128)
    return make_model(tmp_path_factory.mktemp("tied"), architecture, WORDS, seed=5)


@pytest.fixture(scope="session")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an output head of its own."""
    architecture = Architecture(layers=2, width=64, heads=2, max_positions=128, tie_embeddings=False)
    return make_model(tmp_path_factory.mktemp("untied"), architecture, WORDS, seed=6)


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The architecture of `tied` with other weights."""
    architecture = Architecture(layers=2, width=64, heads=2, max_positions=128)
    return make_model(tmp_path_factory.mktemp("other"), architecture, WORDS, seed=7)
