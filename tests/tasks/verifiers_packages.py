"""Environment packages for the tests of the `verifiers` task, written into a folder as somebody would install them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

SUMS = """
import verifiers.v1 as vf


class SumsData(vf.TaskData):
    answer: str


class SumsTask(vf.Task[SumsData]):
    @vf.reward(weight=0.75)
    async def right(self, trace: vf.Trace) -> float:
        return float(trace.last_reply == self.data.answer)

    @vf.reward(weight=0.25)
    async def short(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply) <= 3)


class SumsConfig(vf.TasksetConfig):
    count: int = 20
    first: int = 0
    politely: bool = False


class SumsTaskset(vf.Taskset[SumsTask, SumsConfig]):
    def load(self):
        for i in range(self.config.first, self.config.first + self.config.count):
            system = "Answer with a number." if self.config.politely else None
            data = SumsData(prompt=f"{i} + 1 =", answer=str(i + 1), system_prompt=system)
            yield SumsTask(data, self.config.task)


__all__ = ["SumsTaskset"]
"""
"""Asked once, two rewards."""

GUESS = '''
import random

import verifiers.v1 as vf


class GuessData(vf.TaskData):
    top: int


class GuessTask(vf.Task[GuessData]):
    @vf.reward(weight=1.0)
    async def polite(self, trace: vf.Trace) -> float:
        return 0.5 * all("please" in message.content for message in trace.assistant_messages)


class GuessConfig(vf.TasksetConfig):
    tops: list[int] = [10, 20, 30, 40]
    unfair: bool = False


class GuessTaskset(vf.Taskset[GuessTask, GuessConfig]):
    def load(self):
        return [GuessTask(GuessData(prompt=None, top=top), self.config.task) for top in self.config.tops]


class GuessEnvConfig(vf.EnvConfig):
    player: vf.AgentConfig = vf.AgentConfig(max_turns=4)


class GuessEnv(vf.Env[GuessEnvConfig]):
    async def run(self, task, agents):
        """A number drawn from Python's global generator, unseeded; the tests know it is seeded for them."""
        secret = random.randint(1, task.data.top)
        if self.config.taskset.unfair:
            secret = random.SystemRandom().randint(1, 10**9)
        won = 0.0
        async with agents.player.interaction(task) as interaction:
            said = f"A number from 1 to {task.data.top}" + (f" ({secret})" if self.config.taskset.unfair else "")
            segment = await interaction.turn(said)
            while not segment.terminated:
                guess = int("".join(c for c in segment.last_reply if c.isdigit()) or 0)
                if guess == secret:
                    won = 1.0
                    break
                segment = await interaction.turn("higher" if guess < secret else "lower")
        interaction.trace.record_reward("won", won, 1.0)


__all__ = ["GuessTaskset", "GuessEnv"]
'''
"""Several turns, opened by the environment; the reward of the end is recorded by the environment itself."""


def install(folder: Path, name: str, source: str) -> str:
    """Write a package that `folder` on the path makes importable; returns its module's name."""
    module = name.replace("-", "_")
    (folder / module).mkdir()
    (folder / module / "__init__.py").write_text(source, encoding="utf-8")
    sys.modules.pop(module, None)
    importlib.invalidate_caches()
    return module
