"""Shapes of models by name, from their published config.json, so that `rlreason plan --model` needs no file of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rlreason.errors import ModelError, one_of
from rlreason.recipe.sizes import ModelShape, read_shape

_QWEN = ModelShape(151_936, 0, 0, 0, 0, 128, 0, 32_768, tied=True, qkv_bias=True)
_QWEN_LARGE = dataclasses.replace(_QWEN, vocabulary=152_064, positions=131_072, tied=False)
_LLAMA = ModelShape(128_256, 0, 0, 0, 8, 128, 0, 131_072)


def _of(family: ModelShape, width: int, layers: int, heads: int, kv_heads: int, feed_forward: int) -> ModelShape:
    return dataclasses.replace(
        family,
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        feed_forward=feed_forward,
        head_width=width // heads,
    )


_SMOL = ModelShape(49_152, 0, 0, 0, 0, 64, 0, 8_192, tied=True)
KNOWN_MODELS: dict[str, ModelShape] = {
    "smollm2-135m": _of(_SMOL, 576, 30, 9, 3, 1_536),
    "smollm2-360m": _of(_SMOL, 960, 32, 15, 5, 2_560),
    "smollm2-1.7b": _of(_SMOL, 2_048, 24, 32, 32, 8_192),
    "qwen2.5-0.5b": _of(_QWEN, 896, 24, 14, 2, 4_864),
    "qwen2.5-1.5b": _of(dataclasses.replace(_QWEN, positions=131_072), 1_536, 28, 12, 2, 8_960),
    "qwen2.5-3b": _of(_QWEN, 2_048, 36, 16, 2, 11_008),
    "qwen2.5-7b": _of(_QWEN_LARGE, 3_584, 28, 28, 4, 18_944),
    "qwen2.5-14b": _of(_QWEN_LARGE, 5_120, 48, 40, 8, 13_824),
    "qwen2.5-32b": _of(_QWEN_LARGE, 5_120, 64, 40, 8, 27_648),
    "llama-3.1-8b": _of(_LLAMA, 4_096, 32, 32, 8, 14_336),
    "llama-3.1-70b": _of(_LLAMA, 8_192, 80, 64, 8, 28_672),
}


def named_shape(path: str) -> ModelShape | None:
    """The shape of the known model that a directory is called after, in upper or lower case; None: after none."""
    return KNOWN_MODELS.get(Path(path).name.lower())


def find_shape(model: str) -> ModelShape:
    """The shape of a model by its name here, by its Hugging Face directory, or by its config.json.

    Raises:
        ModelError: neither a known name nor such a place, or a type of model that is not counted.
    """
    known = KNOWN_MODELS.get(model.lower())
    if known is not None:
        return known
    place = Path(model).expanduser()
    folder = place.parent if place.name == "config.json" else place
    if not (folder / "config.json").is_file():
        raise ModelError(f"{one_of('--model', model, KNOWN_MODELS)}; or give a folder with a config.json")
    shape = read_shape(folder)
    if shape is None:
        raise ModelError(
            f"--model {model!r} is of a type whose sizes are not known; give one of {', '.join(KNOWN_MODELS)}"
        )
    return shape
