"""Strict reading of saved state: a state of other arms is refused, with the difference named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rlreason.errors import CheckpointError


def same_names(what: str, saved: Iterable[str], here: Iterable[str]) -> None:
    """Refuse a state whose names are not those there are here.

    Raises:
        CheckpointError: names what is missing and what is unknown.
    """
    saved, here = set(saved), set(here)
    if saved != here:
        missing, unknown = sorted(here - saved), sorted(saved - here)
        raise CheckpointError(
            f"the saved curriculum has other {what}: it lacks {missing} and has {unknown} besides; resume with the "
            "recipe that the run was started with"
        )


def read_array(name: str, saved: object, like: np.ndarray) -> np.ndarray:
    """A saved list as an array of the shape and kind of `like`.

    Raises:
        CheckpointError: it is of another shape, not finite numbers, or a count that is negative or not whole.
    """
    try:
        array = np.asarray(saved, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"the saved curriculum's {name!r} are no numbers: {error}") from error
    if array.shape != like.shape:
        raise CheckpointError(
            f"the saved curriculum's {name!r} have the shape {list(array.shape)}, here it is {list(like.shape)}; "
            "resume with the recipe that the run was started with"
        )
    counts = np.issubdtype(like.dtype, np.integer)
    whole = (array >= 0) & (array == np.floor(array)) if counts else True
    if not (np.isfinite(array) & whole).all():
        raise CheckpointError(f"the saved curriculum's {name!r} hold {array.tolist()}: damaged")
    return array.astype(like.dtype)


def load_generator(rng: np.random.Generator, saved: Mapping[str, Any]) -> None:
    """Set a random generator to a saved `bit_generator.state`.

    Raises:
        CheckpointError: the state is of another kind of generator, or damaged.
    """
    try:
        rng.bit_generator.state = dict(saved)
    except (ValueError, TypeError, KeyError) as error:
        kind = type(rng.bit_generator).__name__
        raise CheckpointError(f"the saved random generator is not a {kind} state: {error}") from error
