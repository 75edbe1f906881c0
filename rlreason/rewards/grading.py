"""Scores completions in this process: the task's check first, then the rubric's rewards, then their combination.

Of tasks of several turns it also answers unfinished episodes, since their environments may be anybody's code. A worker
of `pool` runs all but the combination, which needs no plug-in and is done by whoever asked, while the worker goes on.
Everything a plug-in may raise or return becomes a Score or a typed failure here; deadlines, memory caps and crashes are
the pool's affair, which `mark` tells what is being worked on.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rlreason.errors import RewardError
from rlreason.rewards.contract import to_score
from rlreason.rewards.failures import FailureKind, Unscored, describe
from rlreason.rewards.isolated import in_fork
from rlreason.rewards.loader import LoadedReward, resolve
from rlreason.rewards.rubric import Combine, Part, combine, judged, recorded
from rlreason.tasks.contract import Task
from rlreason.tasks.environment import replay
from rlreason.types import DerivationCheck, Problem, Score

CHECK = 0
"""Phase in which the task checks the derivation; phase p > 0 is the rubric's part p - 1."""

Mark = Callable[[int, int], None]


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
    """One completion to score, or one episode to answer.

    Attributes:
        failure: where one is known already, only the task's check is run.
        turns: of a task of several turns, the policy's; the check is then the environment's verdict over them. Empty:
            the check reads the completion.
        answer: what the environment says to the last of the turns is asked, and no score.
    """

    problem: Problem
    completion: str
    failure: str = ""
    turns: tuple[str, ...] = ()
    answer: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What an environment says to the last turn of an episode.

    Attributes:
        observation: what the policy reads next; "" where the episode is over.
        done: the episode is over.
        failure: "" or the typed cause for which there is no answer.
    """

    observation: str = ""
    done: bool = False
    failure: str = ""


@dataclass(slots=True)
class Judgement:
    """What the check and the rewards said of one completion.

    Attributes:
        check: None where the check itself failed.
        scores: a part's name -> what its plug-in returned; all parts are there where there is no failure.
        failure: "" or the typed cause for which the completion has no reward, or the episode no answer.
        answer: where one was asked: what is to be observed, and whether the episode is over.
    """

    check: DerivationCheck | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    failure: str = ""
    answer: tuple[str, bool] | None = None

    @property
    def checked(self) -> DerivationCheck:
        """The task's check, where nothing has failed."""
        assert self.check is not None, "a check that raised is a failure"
        return self.check


def combined(how: Combine, parts: tuple[Part, ...], judgement: Judgement) -> Score:
    """The Score of a judged completion."""
    if judgement.check is None:
        return Score(reward=None, failure=judgement.failure)
    failure = judgement.failure
    if not failure:
        try:
            return combine(how, parts, judgement.scores, judgement.check)
        except Unscored as unscored:
            failure = str(unscored)
    return judged(judgement.check, reward=None, parts=recorded(judgement.scores), failure=failure)


def answered(judgement: Judgement) -> Answer:
    """The answer to an episode that was asked for one."""
    if judgement.answer is None:
        return Answer(failure=judgement.failure)
    return Answer(*judgement.answer)


class Grader:
    """The tasks and the loaded rewards of one rubric."""

    def __init__(self, setup: Setup) -> None:
        """Builds every task once and imports every plug-in.

        Raises:
            TaskError, RewardError: a task or a reward cannot be had, or a batch or async one is asked to be fresh.
        """
        module, _, function = setup.task_builder.partition(":")
        build = getattr(importlib.import_module(module), function)
        self._tasks: dict[str, Task] = {name: build(**spec) for name, spec in setup.tasks.items()}
        self._combine = setup.combine
        self._parts = setup.parts
        folders = [Path(folder) for folder in setup.folders]
        loaded = [(part, resolve(part.spec, folders, part.kwargs)) for part in setup.parts]
        _refuse_fresh_together(loaded)
        self._plugins = [plugin for _, plugin in loaded]
        phases = list(enumerate(loaded, start=1))
        self._single = [(phase, part, plugin) for phase, (part, plugin) in phases if not _together(plugin)]
        self._together = [(phase, part, plugin) for phase, (part, plugin) in phases if _together(plugin)]
        self._loop = asyncio.new_event_loop() if any(plugin.is_async for _, plugin in loaded) else None

    @property
    def modules(self) -> list[ModuleType]:
        """The modules whose functions decide a score: of this package's graders, the tasks and the plug-ins."""
        homes = {kind.__module__ for task in self._tasks.values() for kind in type(task).__mro__[:-1]}
        homes |= {_home(plugin.call) for plugin in self._plugins}
        ours = __name__.rpartition(".")[0] + "."
        return [module for name, module in list(sys.modules.items()) if name in homes or name.startswith(ours)]

    def grade(self, requests: Sequence[Request], mark: Mark, deliver: Callable[[Score], None]) -> None:
        """As `judge`, with each request's Score delivered."""
        self.judge(requests, mark, lambda judgement: deliver(combined(self._combine, self._parts, judgement)))

    def judge(self, requests: Sequence[Request], mark: Mark, deliver: Callable[[Judgement], None]) -> None:
        """Judge all requests, in order.

        Args:
            requests: [N], all to be scored or all to be answered.
            mark: called as mark(item, phase) before each step of the work, item N standing for all of them together.
            deliver: called N times, with what was said of each request, as soon as it is known.
        Raises:
            MemoryError: what was marked last did not fit.
        """
        if requests and requests[0].answer:
            for item, request in enumerate(requests):
                mark(item, CHECK)
                deliver(self._answer(request))
            return
        if not self._together:
            for item, request in enumerate(requests):
                deliver(self._alone(item, request, mark))
            return
        judgements = [self._alone(item, request, mark) for item, request in enumerate(requests)]
        for phase, part, plugin in self._together:
            mark(len(requests), phase)
            waiting = [pair for pair in zip(requests, judgements, strict=True) if not pair[1].failure]
            for (_, judgement), outcome in zip(waiting, self._call_together(part, plugin, waiting), strict=True):
                if isinstance(outcome, Unscored):
                    judgement.failure = str(outcome)
                else:
                    judgement.scores[part.name] = outcome
        for judgement in judgements:
            deliver(judgement)

    def _answer(self, request: Request) -> Judgement:
        """What the environment says to an episode that is not over yet."""
        if request.failure:
            return Judgement(failure=request.failure)
        try:
            episode = replay(self._tasks[request.problem.task].environment(request.problem), request.turns)
            said = "" if episode.done else episode.observe()
            # it is to be encoded, and a lone surrogate cannot be
            return Judgement(answer=(said.encode("utf-8", "replace").decode(), bool(episode.done)))
        except MemoryError:
            raise
        except BaseException as error:
            return Judgement(failure=str(Unscored(FailureKind.CHECK_FAILED, f"raised {describe(error)}")))

    def _check(self, request: Request) -> DerivationCheck:
        task = self._tasks[request.problem.task]
        if request.turns:
            return replay(task.environment(request.problem), request.turns).score()
        return task.check(request.problem, request.completion)

    def _alone(self, item: int, request: Request, mark: Mark) -> Judgement:
        """The check and the rewards that take one completion at a time."""
        judgement = Judgement(failure=request.failure)
        mark(item, CHECK)
        try:
            judgement.check = self._check(request)
        except MemoryError:
            raise
        except BaseException as error:
            judgement.failure = request.failure or str(Unscored(FailureKind.CHECK_FAILED, f"raised {describe(error)}"))
        for phase, part, plugin in self._single:
            if judgement.failure:
                break
            mark(item, phase)
            ask = partial(_ask, part, plugin, request, judgement.checked)
            try:
                if part.fresh:
                    returned = in_fork(part.spec, ask)
                    score = to_score(part.spec, returned, request.completion, judgement.checked)
                else:
                    score = ask()
                judgement.scores[part.name] = score
            except Unscored as failure:
                judgement.failure = str(failure)
        return judgement

    def _call_together(
        self, part: Part, plugin: LoadedReward, waiting: Sequence[tuple[Request, Judgement]]
    ) -> list[Score | Unscored]:
        """A batch reward called once with all, or an async one awaited for all at once."""
        if not waiting:
            return []
        arguments = [(request.problem, request.completion, judgement.checked) for request, judgement in waiting]
        try:
            if not plugin.batch:
                outcomes: list[Score | Unscored]
                outcomes = _raising(part, lambda: self._run(self._concurrently(part, plugin, arguments)))
                return outcomes
            columns = [list(column) for column in zip(*arguments, strict=True)]
            returned = _raising(part, lambda: list(self._called(plugin, columns)))
        except Unscored as failure:
            return [failure] * len(waiting)
        if len(returned) != len(waiting):
            cause = f"{part.spec} returned {len(returned)} verdicts for {len(waiting)} completions"
            return [Unscored(FailureKind.INVALID_SCORE, cause)] * len(waiting)
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


def overdue(part: Part) -> str:
    """The cause of a PluginTimeout."""
    return f"{part.spec} took over {part.deadline_s:g} s"


def _together(plugin: LoadedReward) -> bool:
    return plugin.batch or plugin.is_async


def _refuse_fresh_together(loaded: Sequence[tuple[Part, LoadedReward]]) -> None:
    for part, plugin in loaded:
        if part.fresh and _together(plugin):
            form = "a batch" if plugin.batch else "an async"
            raise RewardError(
                f"reward {part.name!r} ({part.spec}) is {form} reward, which scores many completions in one call, and "
                "`fresh: true` wants a process for each; drop `fresh`, or score one completion a call"
            )


def _home(call: Callable[..., Any]) -> str:
    """Name of the module that a plug-in, with or without kwargs, was written in."""
    plugin = call.func if isinstance(call, partial) else call
    return str(getattr(plugin, "__module__", ""))


def _ask(part: Part, plugin: LoadedReward, request: Request, check: DerivationCheck) -> Score:
    returned = _raising(part, partial(plugin.call, request.problem, request.completion, check))
    return to_score(part.spec, returned, request.completion, check)


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
