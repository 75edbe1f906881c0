"""Opens reasoning-gym's datasets and draws entries from them; what an entry is worth is `scoring`'s business.

A dataset of the library is a sequence with a seed: entry i follows from seed + i. Here candidate c is entry c % BLOCK
of the dataset whose seed is c - c % BLOCK, so that candidates never end, need no size, and are the same in any order
and process. Which candidates make up a level is decided in `task`.
"""

from __future__ import annotations

import dataclasses
import random
import traceback
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Context, localcontext
from typing import Any

import numpy as np
from reasoning_gym.factory import CURRICULA, DATASETS

from rlreason.errors import TaskError, one_of
from rlreason.tasks.contract import Cell
from rlreason.tasks.gym.scoring import Entry, require_harmless

BLOCK = 1_024
_OPEN_BLOCKS = 16
_KEPT_ENTRIES = 512
_OURS = ("seed", "size")
_UNSTEADY = frozenset({"isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder"})
"""Their entries follow from the order of sets of strings or of objects, which changes from process to process."""


class Unmade(Exception):
    """The library could not make this candidate."""


class Generator:
    """One cell: a dataset under one configuration."""

    def __init__(self, dataset: str, config: Any, cell: Cell, where: str) -> None:
        """
        Raises:
            TaskError: the library cannot make a dataset of this configuration.
        """
        self.dataset = dataset
        self.cell = cell
        self._class = DATASETS[dataset][0]
        self._config = config
        self._blocks: OrderedDict[int, Any] = OrderedDict()
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        try:
            self.open_block(0)
        except Exception as error:
            raise TaskError(f"{where}: reasoning-gym cannot open dataset {dataset!r}: {_words(error)}") from error

    def entry(self, candidate: int) -> Entry:
        """Candidate 0, 1, 2, ... without end. Not to be written into.

        Raises:
            Unmade: some draws lead nowhere, and the library gives up on them.
        """
        if candidate not in self._entries:
            block = candidate - candidate % BLOCK
            try:
                with _lent_state(candidate):
                    self._entries[candidate] = self.open_block(block)[candidate % BLOCK]
            except MemoryError:
                raise
            except Exception as error:
                self._blocks.pop(block, None)  # some are left in another state
                raise Unmade(_words(error)) from error
            if len(self._entries) > _KEPT_ENTRIES:
                self._entries.popitem(last=False)
        return self._entries[candidate]

    def open_block(self, start: int) -> Any:
        """The library's dataset that holds candidates `start` to `start` + BLOCK - 1."""
        if start not in self._blocks:
            config = dataclasses.replace(self._config, seed=start, size=BLOCK)
            with _lent_state(start):
                self._blocks[start] = self._class(config)
            if len(self._blocks) > _OPEN_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(start)
        return self._blocks[start]


def open_generators(
    datasets: Mapping[str, tuple[Mapping[str, Any], str]], *, curriculum: bool, where: str
) -> list[Generator]:
    """The generators of all cells, a dataset's levels in order.

    Args:
        datasets: name -> (configuration, where the recipe has it).
        curriculum: a cell a level of the dataset's curriculum; else one a dataset.
        where: the recipe's task.
    Raises:
        TaskError: a dataset or a key is unknown, a configuration is not allowed, or a dataset cannot be had here.
    """
    generators = []
    for name, (config, place) in datasets.items():
        _require_usable(name, where)
        _check_keys(name, config, place)
        configs = _levels(name, config, place) if curriculum else [_configured(name, config, place)]
        before: tuple[str, ...] = ()
        for number, configured in enumerate(configs, start=1):
            cell = Cell(f"{name}/{number}", name, number, before)
            generators.append(Generator(name, configured, cell, place))
            before = (cell.name,)
    return generators


def _require_usable(name: str, where: str) -> None:
    known = sorted(DATASETS.keys() - {"composite"})
    if name == "composite":
        raise TaskError(f"{where}: dataset 'composite' is a mixture of others; name those under `datasets`")
    if name not in DATASETS:
        raise TaskError(one_of("reasoning-gym dataset", name, known, where))
    if name in _UNSTEADY:
        raise TaskError(
            f"{where}: reasoning-gym's dataset {name!r} makes other problems in every process, seeded or not, so that "
            "a completion could not be scored against its own problem; use any other dataset than "
            f"{', '.join(sorted(_UNSTEADY))}"
        )
    require_harmless(name, DATASETS[name][0], where)


def _check_keys(name: str, config: Mapping[str, Any], place: str) -> None:
    keys = [field.name for field in dataclasses.fields(DATASETS[name][1]) if field.name not in _OURS]
    for key in config:
        if key in _OURS:
            raise TaskError(
                f"{place}.{key}: problems are numbered without end and seeded by their number; leave it out"
            )
        if key not in keys:
            raise TaskError(one_of(f"configuration key of dataset {name!r}", key, keys, place))


def _configured(name: str, config: Mapping[str, Any], place: str) -> Any:
    try:
        made = DATASETS[name][1](**config, seed=0, size=BLOCK)
        if hasattr(made, "validate"):
            made.validate()
    except Exception as error:
        raise _refusal(name, config, place, error) from None
    return made


def _levels(name: str, config: Mapping[str, Any], place: str) -> list[Any]:
    """The configuration of every level of a dataset's curriculum, each once, up to the first that the dataset refuses:
    all attributes rise together."""
    if name not in CURRICULA:
        raise TaskError(f"{place}: reasoning-gym has no curriculum for dataset {name!r}; drop `curriculum: true`")
    curriculum = CURRICULA[name]()
    attributes = list(curriculum.attributes.values())
    set_by_level = {getattr(each, key, None) for each in attributes for key in _ATTRIBUTE_KEYS}
    for key in config:
        if key in set_by_level:
            raise TaskError(
                f"{place}.{key}: the levels of the curriculum set it; leave it out or drop `curriculum: true`"
            )
    configs: list[Any] = []
    for level in range(max(len(each.levels) for each in attributes)):
        try:
            curriculum.set_global_level(level)
            made = curriculum.generate_configuration({**config, "seed": 0, "size": BLOCK})
            if hasattr(made, "validate"):
                made.validate()
        except Exception as error:
            if configs:  # the curriculum goes further than its own dataset allows
                break
            raise _refusal(name, config, place, error) from None
        if made not in configs:  # the last two are often the same
            configs.append(made)
    return configs


_ATTRIBUTE_KEYS = ("field_name", "lower_field_name", "upper_field_name")


def _refusal(name: str, config: Mapping[str, Any], place: str, error: Exception) -> TaskError:
    defaults = DATASETS[name][1]()
    shown = {
        field.name: getattr(defaults, field.name) for field in dataclasses.fields(defaults) if field.name not in _OURS
    }
    given = ", ".join(f"{key}: {value!r}" for key, value in config.items()) or "the defaults"
    allowed = ", ".join(f"{key}: {value!r}" for key, value in shown.items())
    return TaskError(f"{place}: {given}: {_words(error)}; dataset {name!r} has by default {allowed}")


def _words(error: Exception) -> str:
    """What an exception of the library says; of an assertion without words, the assertion."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return str(error) or (last[0].line if last and last[0].line else "") or type(error).__name__


@contextmanager
def _lent_state(seed: int) -> Iterator[None]:
    """Some datasets draw from, or seed, the process's own random generators, or set the precision of its decimals:
    lend them seeded and fresh ones, and put the process's back."""
    kept, kept_numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        with localcontext(Context()):
            yield
    finally:
        random.setstate(kept)
        np.random.set_state(kept_numpy)
