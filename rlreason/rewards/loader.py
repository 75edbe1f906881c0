"""From the name of a reward in a recipe to something that can be called: files, modules, installed entry points.

Resolving imports the plug-in, that is, runs its module: a run does so inside the workers of `pool` alone.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rlreason.errors import RewardError, one_of
from rlreason.recipe.validation import resolve_plugin_path
from rlreason.rewards.contract import check_signature, is_batch
from rlreason.rewards.failures import user_traceback

GROUP = "rlreason.rewards"
"""Entry point group in which an installed package offers rewards."""


@dataclass(frozen=True, slots=True)
class LoadedReward:
    """A plug-in ready to be called.

    Attributes:
        spec: the name it was resolved from.
        call: (problem, completion, derivation) -> verdict, or the same with three lists where `batch`.
        batch: called once a chunk of completions.
        is_async: `call` returns a coroutine.
    """

    spec: str
    call: Callable[..., Any]
    batch: bool
    is_async: bool


def resolve(spec: str, folders: Sequence[Path] = (), kwargs: Mapping[str, Any] | None = None) -> LoadedReward:
    """Find, import and check a reward.

    Args:
        spec: "path/to/file.py:function", "package.module:function", or the name of an installed entry point. A
            relative path is looked for in `folders`, then in the current folder, then among what ships.
        folders: where to look first: the recipe's own folder.
        kwargs: given to a class when it is made, to a function at every call.
    Raises:
        RewardError: nothing has that name (names the near ones), its import failed (with the user's own lines of the
            traceback), or its signature is wrong.
    """
    given = dict(kwargs or {})
    plugin = _find(spec, folders)
    if not callable(plugin):
        raise RewardError(
            f"{spec} is of type {type(plugin).__name__}; a reward is a function, or a class with __call__"
        )
    batch = is_batch(plugin)
    if inspect.isclass(plugin):
        plugin, given = _make(spec, plugin, given), {}
    check_signature(spec, plugin, batch, given)
    return LoadedReward(
        spec=spec,
        call=functools.partial(plugin, **given) if given else plugin,
        batch=batch,
        is_async=any(map(asyncio.iscoroutinefunction, (plugin, plugin.__call__))),
    )


def _find(spec: str, folders: Sequence[Path]) -> Any:
    place, separator, name = spec.rpartition(":")
    if not separator:
        return _from_entry_point(spec)
    module = _import_file(spec, folders) if place.endswith(".py") else _import_module(spec, place)
    if not hasattr(module, name):
        there = [key for key, value in vars(module).items() if _is_own(module, key, value)]
        raise RewardError(one_of(f"reward of {place}", name, there))
    return getattr(module, name)


def _is_own(module: ModuleType, name: str, value: object) -> bool:
    """Whether it may have been meant: a function or class made in that module, not imported into it."""
    return callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__


def _from_entry_point(spec: str) -> Any:
    offered = {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
    if spec not in offered:
        raise RewardError(
            one_of("installed reward", spec, sorted(offered))
            + '; to name a file or a module, write "path/to/file.py:function" or "package.module:function"'
        )
    return _importing(spec, offered[spec].load)


def _import_module(spec: str, place: str) -> ModuleType:
    try:
        found = importlib.util.find_spec(place)
    except (ImportError, ValueError):  # a parent package that is missing, or a malformed name
        found = None
    if found is None:
        raise RewardError(
            f"{spec}: there is no module {place!r} (Python {sys.version_info.major}.{sys.version_info.minor} at "
            f'{sys.prefix}); install its package, or name a file: "path/to/file.py:function"'
        )
    module: ModuleType = _importing(spec, lambda: importlib.import_module(place))
    return module


def _import_file(spec: str, folders: Sequence[Path]) -> ModuleType:
    path = resolve_plugin_path(spec, folders)
    assert path is not None, "the caller saw that it is a .py file"
    name = f"rlreason_plugin_{path.stem}_{abs(hash(path)):x}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None and module_spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up by name
    _importing(spec, functools.partial(module_spec.loader.exec_module, module))
    return module


def _make(spec: str, plugin: type, kwargs: Mapping[str, Any]) -> Callable[..., Any]:
    try:
        made: object = plugin(**kwargs)
    except Exception as error:
        raise RewardError(f"{spec} cannot be made with kwargs {dict(kwargs)!r}:\n{user_traceback(error)}") from None
    if not callable(made):
        raise RewardError(
            f"class {spec} has no __call__; give it `def __call__(self, problem, completion, derivation)`"
        )
    return made


def _importing(spec: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except MemoryError:
        raise
    except BaseException as error:  # SystemExit too: a plug-in's module may do anything
        raise RewardError(f"{spec} cannot be imported:\n{user_traceback(error)}") from None
