"""Scores completions in this process: the task's check first, then the rubric's rewards, then their combination.

This is what a worker of `pool` runs. It turns everything a plug-in may raise or return into a Score or a typed
failure; deadlines, memory caps and crashes are the pool's affair, which `mark` tells what is being worked on.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rlreason.rewards.contract import to_score
from rlreason.rewards.failures import FailureKind, Unscored, describe
from rlreason.rewards.loader import LoadedReward, resolve
from rlreason.rewards.rubric import Combine, Part, combine, judged, recorded
from rlreason.tasks.contract import Task
from rlreason.types import DerivationCheck, Problem, Score

CHECK = 0
"""Phase in which the task checks the derivation; phase p > 0 is the rubric's part p - 1."""

Mark = Callable[[int, int], None]
Deliver = Callable[[Score], None]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is built from: names and plain values only, so that it travels.

    Attributes:
        task_builder: "module:function" called as function(name=..., type=..., parameters=...).
        tasks: the recipe's task name -> those three.
        combine, parts: the rubric.
        folders: where reward files are looked for first.
        memory_bytes: address-space cap of the worker.
    """

    task_builder: str
    tasks: Mapping[str, Mapping[str, Any]]
    combine: Combine
    parts: tuple[Part, ...]
    folders: tuple[str, ...]
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to score. With a `failure` already known, only the task's check is run."""

    problem: Problem
    completion: str
    failure: str = ""


@dataclass(slots=True)
class _Card:
    """What is known of one completion while it is scored."""

    request: Request
    check: DerivationCheck | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    failure: str = ""

    @property
    def checked(self) -> DerivationCheck:
        """The task's check, of a card that has not failed."""
        assert self.check is not None, "a check that raised is a failure"
        return self.check


class Grader:
    """The tasks and the loaded rewards of one rubric."""

    def __init__(self, setup: Setup) -> None:
        """Builds every task once and imports every plug-in.

        Raises:
            TaskError, RewardError: a task or a reward cannot be had.
        """
        module, _, function = setup.task_builder.partition(":")
        build = getattr(importlib.import_module(module), function)
        self._tasks: dict[str, Task] = {name: build(**spec) for name, spec in setup.tasks.items()}
        self._combine = setup.combine
        self._parts = setup.parts
        folders = [Path(folder) for folder in setup.folders]
        loaded = [(part, resolve(part.spec, folders, part.kwargs)) for part in setup.parts]
        phases = list(enumerate(loaded, start=1))
        self._single = [(phase, part, plugin) for phase, (part, plugin) in phases if not _together(plugin)]
        self._together = [(phase, part, plugin) for phase, (part, plugin) in phases if _together(plugin)]
        self._loop = asyncio.new_event_loop() if any(plugin.is_async for _, plugin in loaded) else None

    def grade(self, requests: Sequence[Request], mark: Mark, deliver: Deliver) -> None:
        """Score all requests, in order.

        Args:
            requests: [N].
            mark: called as mark(item, phase) before each step of the work, item N standing for all of them together.
            deliver: called N times, with each request's Score, as soon as it is known.
        Raises:
            MemoryError: what was marked last did not fit.
        """
        cards = []
        for item, request in enumerate(requests):
            card = self._alone(item, request, mark)
            if self._together:
                cards.append(card)
            else:
                deliver(self._finish(card))
        for phase, part, plugin in self._together:
            mark(len(requests), phase)
            waiting = [card for card in cards if not card.failure]
            for card, outcome in zip(waiting, self._call_together(part, plugin, waiting), strict=True):
                if isinstance(outcome, Unscored):
                    card.failure = str(outcome)
                else:
                    card.scores[part.name] = outcome
        for card in cards:
            deliver(self._finish(card))

    def _alone(self, item: int, request: Request, mark: Mark) -> _Card:
        """The check and the rewards that take one completion at a time."""
        card = _Card(request, failure=request.failure)
        mark(item, CHECK)
        try:
            card.check = self._tasks[request.problem.task].check(request.problem, request.completion)
        except MemoryError:
            raise
        except BaseException as error:
            card.failure = request.failure or str(Unscored(FailureKind.CHECK_FAILED, f"raised {describe(error)}"))
        for phase, part, plugin in self._single:
            if card.failure:
                break
            mark(item, phase)
            try:
                returned = _raising(part, partial(plugin.call, request.problem, request.completion, card.check))
                card.scores[part.name] = to_score(part.spec, returned, request.completion, card.checked)
            except Unscored as failure:
                card.failure = str(failure)
        return card

    def _call_together(self, part: Part, plugin: LoadedReward, cards: Sequence[_Card]) -> list[Score | Unscored]:
        """A batch reward called once with all, or an async one awaited for all at once."""
        if not cards:
            return []
        arguments = [(card.request.problem, card.request.completion, card.checked) for card in cards]
        try:
            if not plugin.batch:
                outcomes: list[Score | Unscored]
                outcomes = _raising(part, lambda: self._run(self._concurrently(part, plugin, arguments)))
                return outcomes
            columns = [list(column) for column in zip(*arguments, strict=True)]
            returned = _raising(part, lambda: list(self._called(plugin, columns)))
        except Unscored as failure:
            return [failure] * len(cards)
        if len(returned) != len(cards):
            cause = f"{part.spec} returned {len(returned)} verdicts for {len(cards)} completions"
            return [Unscored(FailureKind.INVALID_SCORE, cause)] * len(cards)
        return [_caught(part, value, given) for value, given in zip(returned, arguments, strict=True)]

    def _called(self, plugin: LoadedReward, arguments: Sequence[Any]) -> Any:
        result = plugin.call(*arguments)
        return self._run(result) if plugin.is_async else result

    def _run(self, coroutine: Any) -> Any:
        assert self._loop is not None, "made where any plug-in is async"
        return self._loop.run_until_complete(coroutine)

    async def _concurrently(self, part: Part, plugin: LoadedReward, arguments: Sequence[Any]) -> list[Score | Unscored]:
        async def one(given: Any) -> Score | Unscored:
            deadline = asyncio.timeout(part.deadline_s)
            try:
                async with deadline:
                    returned = await plugin.call(*given)
            except MemoryError:
                raise
            except BaseException as error:
                if deadline.expired():
                    return Unscored(FailureKind.PLUGIN_TIMEOUT, overdue(part))
                return _raised(part, error)
            return _caught(part, returned, given)

        return list(await asyncio.gather(*(one(given) for given in arguments)))

    def _finish(self, card: _Card) -> Score:
        if card.check is None:
            return Score(reward=None, failure=card.failure)
        if not card.failure:
            try:
                return combine(self._combine, self._parts, card.scores, card.check)
            except Unscored as failure:
                card.failure = str(failure)
        return judged(card.check, reward=None, parts=recorded(card.scores), failure=card.failure)


def overdue(part: Part) -> str:
    """The cause of a PluginTimeout."""
    return f"{part.spec} took over {part.deadline_s:g} s"


def _together(plugin: LoadedReward) -> bool:
    return plugin.batch or plugin.is_async


def _raising(part: Part, call: Callable[[], Any]) -> Any:
    """The call's result; whatever it raises, SystemExit too, becomes an Unscored (MemoryError is the pool's)."""
    try:
        return call()
    except MemoryError:
        raise
    except BaseException as error:
        raise _raised(part, error) from None


def _raised(part: Part, error: BaseException) -> Unscored:
    return Unscored(FailureKind.PLUGIN_RAISED, f"{part.spec} raised {describe(error)}")


def _caught(part: Part, returned: object, given: tuple[Problem, str, DerivationCheck]) -> Score | Unscored:
    _, completion, check = given
    try:
        return to_score(part.spec, returned, completion, check)
    except Unscored as failure:
        return failure
