"""Notices when a plug-in, or something it ran, changed what the scoring of the next completion relies on.

What is watched: the functions and classes that stand in the grader's own modules, in those of the tasks and of the
plug-ins, and in builtins; the methods of the classes that were made there; new names that would hide a builtin; and the
`detail` of the problems at hand, which the completions of a group share. Values that are filled in late (None that
becomes a model, a cache that grows) are none of these and stay allowed. A worker of `pool` asks before it sends Scores.

What it does not see: the insides of a function (`__code__`, defaults, closures), values that are not functions or
classes, libraries (numpy, re, math), what was put back before it looked, and a plug-in that sets out to deceive it:
that runs with the same rights in the same process. A reward for which this matters is made `fresh`, and code that a
model wrote is run in `sandbox`.
"""

from __future__ import annotations

import builtins
import inspect
import marshal
from collections.abc import Iterable, Iterator, Mapping
from operator import is_, itemgetter
from types import ModuleType
from typing import Any

from rlreason.types import Problem

_all, _map = all, map  # as they were: by the time they are needed they may be among what was replaced
_HIDEABLE = frozenset(vars(builtins))


class Guard:
    """The functions and classes of some modules as they were when it was made, and the problems at hand."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        """`modules`: the grader's, the tasks' and the plug-ins'; builtins are always watched."""
        watched = {module.__name__: module for module in (builtins, *modules)}
        self._places = [place for module in watched.values() for place in _places(module)]
        self._details: list[tuple[Problem, bytes]] = []

    def hold(self, problems: Iterable[Problem]) -> None:
        """Watch these problems' details from now on, in place of those before."""
        distinct = {id(problem): problem for problem in problems}
        self._details = [(problem, _bytes(problem)) for problem in distinct.values()]

    def changed(self) -> str:
        """The first that is not what it was, such as "builtins.len"; "" where all are. Takes some microseconds."""
        for place in self._places:
            if name := place.changed():
                return name
        for problem, detail in self._details:
            if _bytes(problem) != detail:
                return f"the detail of problem {problem.id!r}"
        return ""


class _Place:
    """The functions and classes of one module or class, as they were."""

    def __init__(self, name: str, namespace: Mapping[str, Any]) -> None:
        self._name = name
        self._namespace = namespace
        self._names = [key for key, value in namespace.items() if _is_code(value)]
        self._values = [namespace[key] for key in self._names]
        # of one name it would give no tuple, and of none there is none
        self._get = itemgetter(*self._names, *self._names[:1]) if self._names else None
        self._size = len(namespace)
        # a name in a class hides no builtin from its methods, one in a module does
        self._hiding = _HIDEABLE & namespace.keys() if isinstance(namespace, dict) else _HIDEABLE

    def changed(self) -> str:
        """What was replaced, taken away or hidden, "" where nothing was."""
        try:
            same = self._get is None or _all(_map(is_, self._get(self._namespace), self._values))
        except KeyError:
            same = False
        if not same:
            pairs = zip(self._names, self._values, strict=True)
            return f"{self._name}.{next(key for key, value in pairs if self._namespace.get(key) is not value)}"
        if len(self._namespace) == self._size:
            return ""
        self._size = len(self._namespace)
        hiding = (_HIDEABLE & self._namespace.keys()) - self._hiding
        return f"{self._name}.{min(hiding)}" if hiding else ""


def _bytes(problem: Problem) -> bytes:
    """Its detail, plain JSON values. Version 2 of the format: later ones depend on how often a value is referred to."""
    detail: Any = problem.detail
    return marshal.dumps(detail, 2)


def _places(module: ModuleType) -> Iterator[_Place]:
    yield _Place(module.__name__, vars(module))
    for name, value in list(vars(module).items()):
        # the methods of the classes in builtins cannot be replaced
        if inspect.isclass(value) and value.__module__ == module.__name__ != "builtins":
            yield _Place(f"{module.__name__}.{name}", vars(value))


def _is_code(value: object) -> bool:
    return inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, property)
