"""Plays an episode of an environment with turns that the policy has written already.

The library's environment drives the conversation: it is given an agent that says the written turns, one after the
other, and waits forever where there is none left; what it was told by then is what the policy reads next. So nothing is
held open between turns, and any process can play an episode again. Draws from Python's and numpy's global generators
are seeded from the row, and what an environment says must be the same every time: `Episode` refuses one that is not.
Nothing here decodes tokens or asks a model.
"""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import verifiers
import verifiers.v1 as vf
from verifiers.v1.state import state_cls
from verifiers.v1.utils.decorators import invoke

from rlreason.errors import TaskError
from rlreason.tasks.verifiers.packages import Opened, row_values
from rlreason.tasks.verifiers.texts import observation_text, prompt_text
from rlreason.types import DerivationCheck

UNPLAYED = "max_turns"
"""The library's name for an end that came because the agent had no turns left."""


@dataclass(frozen=True, slots=True)
class Played:
    """An episode as far as its turns go.

    Attributes:
        heard: what the policy read before each turn, the prompt first: [turns taken] where the episode is over, one
            more where it waits for the next turn.
        trace: the library's record with its rewards, None where the episode waits.
    """

    heard: tuple[str, ...]
    trace: Any = None


def play(opened: Opened, row: Any, turns: Sequence[str], max_turns: int, *, to_the_end: bool = False) -> Played:
    """Play these turns.

    Args:
        row: the library's task.
        turns: what the policy wrote, in order; what follows the end of the episode is ignored.
        max_turns: the environment's next words after so many turns are not answered.
        to_the_end: where the turns run out, end the episode and score it instead of waiting.
    Raises:
        TaskError: the environment itself failed.
    """
    with _seeded(row):
        try:
            return asyncio.run(_play(opened, row, _Script(tuple(turns), max_turns, to_the_end)))
        except TaskError:
            raise
        except Exception as error:
            ident = opened.env.config.taskset.id
            raise TaskError(
                f"environment {ident!r}, row {row.data.idx}, turn {len(turns)}: {type(error).__name__}: {error}"
            ) from error


class Episode:
    """An episode of several turns, as `rlreason.tasks.environment.Environment` asks for it."""

    def __init__(
        self, opened: Opened, row: Any, max_turns: int, verdict: Callable[[Any, Sequence[str]], DerivationCheck]
    ) -> None:
        """`verdict` makes a verdict of a trace and the turns."""
        self._opened = opened
        self._row = row
        self._max_turns = max_turns
        self._verdict = verdict
        self._turns: list[str] = []
        self._played = play(opened, row, (), max_turns)

    @property
    def done(self) -> bool:
        """See `Environment.done`."""
        return self._played.trace is not None

    def act(self, text: str) -> None:
        """See `Environment.act`.

        Raises:
            TaskError: the environment failed, or spoke otherwise than when the same turns were played before.
        """
        before = self._played.heard
        self._turns.append(text)
        self._played = play(self._opened, self._row, self._turns, self._max_turns)
        again = self._played.heard[: len(before)]
        if again != before:
            turn = next(number for number, (one, other) in enumerate(zip(before, again, strict=True)) if one != other)
            raise TaskError(
                f"environment {self._opened.env.config.taskset.id!r} does not say the same when the same turns are "
                f"played again: before turn {turn + 1} {before[turn]!r}, then {again[turn]!r}; an episode must follow "
                "from its row and its turns, so this environment cannot be a task here"
            )

    def observe(self) -> str:
        """See `Environment.observe`."""
        return "" if self.done else self._played.heard[-1]

    def score(self) -> DerivationCheck:
        """See `Environment.score`."""
        trace = self._played.trace
        if trace is None:
            trace = play(self._opened, self._row, self._turns, self._max_turns, to_the_end=True).trace
        return self._verdict(trace, self._turns)


@dataclass(slots=True)
class _Script:
    """The turns that were written, and what was heard before each."""

    turns: tuple[str, ...]
    max_turns: int
    to_the_end: bool
    heard: list[str] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, heard: str) -> str | None:
        """The policy's next turn; None where it has none and the episode is to end."""
        taken = len(self.heard)
        if taken == len(self.turns) and self.to_the_end:
            return None
        self.heard.append(heard)
        if taken < len(self.turns):
            return self.turns[taken]
        self.waiting.set()
        return await asyncio.get_running_loop().create_future()  # for ever: `_play` cancels it


async def _play(opened: Opened, row: Any, script: _Script) -> Played:
    seat = _Seat(opened, script)
    running = asyncio.ensure_future(_drive(opened.env, row, seat))
    waiting = asyncio.ensure_future(script.waiting.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        running.result()
        return Played(tuple(script.heard), seat.trace)
    running.cancel()
    await asyncio.wait({running})
    return Played(tuple(script.heard))


async def _drive(env: Any, row: Any, seat: _Seat) -> None:
    """One episode, as the library's `Env.run_episode` does it with a model."""
    agents = vf.Agents(env.config, lambda name, spec: seat)
    await env.setup(agents)
    await env.run(row, agents)
    if seat.trace is None:
        raise RuntimeError("the environment ended without asking its agent anything")
    episode = vf.Episode(env=vf.EnvInfo(id=env.config.env_id), task=_told(row), ok=True)
    episode.traces.append(seat.trace)
    await env.finalize(row, episode)


class _Seat:
    """What an environment gets for an agent."""

    def __init__(self, opened: Opened, script: _Script) -> None:
        self.config = getattr(opened.env.config, opened.seat)
        self.trainable = True
        self.trace: Any = None
        self._name = opened.seat
        self._with_roles = opened.plays_turns
        self._script = script

    async def run(self, task: Any, **_: Any) -> Any:
        """The task asked once: its prompt, one turn."""
        async with self.interaction(task) as conversation:
            await conversation.turn()
        return conversation.trace

    @asynccontextmanager
    async def interaction(self, task: Any, **_: Any) -> AsyncIterator[_Conversation]:
        """The conversation; scored when its block is left."""
        if self.trace is not None:
            raise RuntimeError("the environment seats its agent more than once an episode; a policy plays it once")
        self.trace = vf.Trace(
            task=_told(task),
            state=state_cls(type(task))(),
            agent=vf.AgentInfo(config=self.config, name=self._name, trainable=self.trainable),
            verifiers=vf.VersionInfo(version=verifiers.__version__),
        )
        available = {"trace": self.trace, "runtime": None}
        await invoke(task.setup, available)
        conversation = _Conversation(task, self.trace, self._script, self._with_roles)
        yield conversation
        self.trace.stop("user_closed")
        await invoke(task.finalize, available)
        await task.score(self.trace, None)
        self.trace.is_completed = self.trace.ok = True


class _Conversation:
    """What an environment gets for an open interaction."""

    def __init__(self, task: Any, trace: Any, script: _Script, with_roles: bool) -> None:
        self.trace = trace
        self._task = task
        self._script = script
        self._with_roles = with_roles
        self._over = False

    async def turn(self, message: Any = None) -> Any:
        """The environment's words, answered with the policy's next turn; see the library's `Interaction.turn`."""
        if self._over:
            raise RuntimeError("the exchange is over")
        messages = self._messages(message)
        text = None if await self._stopped() else await self._script.answer(self._text(messages))
        if text is None:
            self.trace.stop(UNPLAYED)
            self._over = True
            return vf.Segment(messages=[], terminated=True)
        reply = vf.AssistantMessage(content=text)
        for one in messages:
            self._commit(one, sampled=False)
        self._commit(reply, sampled=True)
        self.trace.calls.append(vf.ModelCall(node=len(self.trace.nodes) - 1, finish_reason="stop"))
        return vf.Segment(messages=[reply])

    def _messages(self, message: Any) -> list[Any]:
        opening, prompt = not self.trace.nodes, self._task.data.prompt
        if (message is None) != (opening and prompt is not None):
            raise ValueError("a row's prompt opens the exchange, and every later turn says something")
        said = prompt if message is None else message
        listed = [vf.UserMessage(content=said)] if isinstance(said, str) else [_typed(one) for one in said]
        system = self._task.data.system_prompt if opening else None
        return [vf.SystemMessage(content=system), *listed] if system else listed

    def _text(self, messages: list[Any]) -> str:
        return observation_text(messages) if self.trace.nodes else prompt_text(messages, self._with_roles)

    async def _stopped(self) -> bool:
        """Whether the turns are used up, or one of the task's stops says so."""
        if self.trace.num_turns >= self._script.max_turns:
            return True
        for stop in self._task.hooks("stop"):
            outcome = invoke(stop, {vf.Trace: self.trace})
            if await outcome if asyncio.iscoroutine(outcome) else outcome:
                self.trace.stop(stop.__name__)
                return True
        return False

    def _commit(self, message: Any, sampled: bool) -> None:
        parent = len(self.trace.nodes) - 1 if self.trace.nodes else None
        self.trace.nodes.append(vf.MessageNode(parent=parent, message=message, sampled=sampled))


def _told(task: Any) -> Any:
    return vf.TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash)


def _typed(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    kinds = {"system": vf.SystemMessage, "user": vf.UserMessage, "assistant": vf.AssistantMessage}
    return kinds.get(message["role"], vf.ToolMessage).model_validate(message)


@contextmanager
def _seeded(row: Any) -> Iterator[None]:
    """Python's and numpy's global generators seeded from the row, and afterwards as they were."""
    seed = zlib.crc32(json.dumps(row_values(row), sort_keys=True).encode())
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
