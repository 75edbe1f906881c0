"""What an exported package is made of: a task's problems as rows, its check as rewards, its turns as an environment.

Imported by the packages that `verifiers_package` writes, inside the library's own commands and trainers. The problems
travel in the rows, so that scoring makes none; the checker is built from the package's `Source`, once a process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import verifiers.v1 as vf
from pydantic import Field

from rlreason.errors import TaskError, one_of
from rlreason.rewards import builtin
from rlreason.tasks import Task, build_task
from rlreason.tasks.environment import replay
from rlreason.tasks.sampling import sample
from rlreason.types import DerivationCheck, Problem


@dataclass(frozen=True)
class Source:
    """The task that a package serves.

    Attributes:
        name, type, parameters: as in a recipe's `tasks.NAME`.
        rows: level -> how many problems it serves, unless the run says otherwise.
        cells: level -> the cells that have problems there.
    """

    name: str
    type: str
    parameters: Mapping[str, Any]
    rows: Mapping[str, int]
    cells: Mapping[str, Sequence[str]]

    @cached_property
    def task(self) -> Task:
        """The task itself."""
        return build_task(self.name, self.type, self.parameters)

    def problems(self, level: str, rows: int | None, patterns: Sequence[str]) -> list[Problem]:
        """Problems with different prompts, the cells in turn.

        Raises:
            TaskError: unknown level, or patterns that match no cell of it.
        """
        if level not in self.rows:
            raise TaskError(one_of(f"level of task {self.name!r}", level, self.rows, "--env.taskset.level"))
        wanted = {cell.name for cell in self.task.match_cells(patterns, "--env.taskset.cells")}
        cells = [cell for cell in self.cells[level] if cell in wanted]
        if not cells:
            raise TaskError(
                f"level {level!r} of task {self.name!r} has no problems in cells {', '.join(sorted(wanted))}; "
                f"it has them in {', '.join(self.cells[level])}"
            )
        return sample(self.task, level, cells, self.rows[level] if rows is None else rows)


class ServedData(vf.TaskData):
    """A row: the prompt, its gold answer, and the problem that both came from."""

    answer: str
    problem: dict[str, Any]
    """All of `rlreason.types.Problem`, as plain values."""


class ServedTask(vf.Task[ServedData]):
    """The task's check as rewards: the answer pays, the other two are recorded and pay what a run gives them."""

    source: ClassVar[Source]

    @property
    def problem(self) -> Problem:
        """The problem of this row."""
        values = self.data.problem
        return Problem(**{**values, "turns": tuple(values["turns"])})  # a list, where the row came over a wire

    def verdict(self, trace: Any) -> DerivationCheck:
        """The task's own check of what the policy wrote."""
        turns = [(message.content or "").strip() for message in trace.assistant_messages]
        task = self.source.task
        if task.max_turns == 1:
            return task.check(self.problem, turns[-1] if turns else "")
        return replay(task.environment(self.problem), turns).score()

    @vf.reward(weight=1.0)
    async def answer(self, trace: vf.Trace) -> float:
        """1 where the final answer is right."""
        return builtin.answer(self.problem, "", self.verdict(trace))

    @vf.reward(weight=0.0)
    async def derivation(self, trace: vf.Trace) -> dict[str, float]:
        """Share of the steps that are right; nothing where the task does not check steps."""
        verdict = self.verdict(trace)
        if verdict.derivation_correct is None:
            return {}
        return {"derivation": builtin.derivation(self.problem, "", verdict)}

    @vf.reward(weight=0.0)
    async def format(self, trace: vf.Trace) -> float:
        """1 where a final answer could be read."""
        return builtin.format(self.problem, "", self.verdict(trace))


class ServedConfig(vf.TasksetConfig):
    """Which problems are served."""

    level: str = "train"
    """The split, such as train or iid."""
    rows: int | None = Field(default=None, ge=1)
    """How many; None: as many as the package was written for."""
    cells: list[str] = Field(default=["*"], min_length=1)
    """Patterns of difficulty cells, such as "complementary/*"."""


class ServedRows:
    """The loading half of a taskset, mixed into a package's own class."""

    config: Any

    def load(self) -> Iterator[Any]:
        """Its problems, cells in turn."""
        made = type(self).task_type()  # type: ignore[attr-defined]
        for problem in made.source.problems(self.config.level, self.config.rows, self.config.cells):
            data = ServedData(
                id=problem.id, name=problem.cell, prompt=problem.prompt, answer=problem.answer, problem=asdict(problem)
            )
            yield made(data, self.config.task)


class ServedEnvConfig(vf.EnvConfig):
    """The policy in plain turns, in a process of this machine: no tools, so nothing to fence in."""

    agent: vf.AgentConfig = vf.AgentConfig(harness={"id": "null"}, runtime=vf.SubprocessConfig())


class ServedEnv(vf.Env[ServedEnvConfig]):
    """One turn, or as many as the task's own environment plays."""

    async def run(self, task: Any, agents: Any) -> None:
        """See `vf.Env.run`."""
        served = task.source.task
        if served.max_turns == 1:
            await agents.agent.run(task)
            return
        environment = served.environment(task.problem)
        async with agents.agent.interaction(task) as interaction:
            segment = await interaction.turn()
            for _ in range(served.max_turns - 1):
                if segment.terminated:
                    break
                environment.act(segment.last_reply)
                if environment.done:
                    break
                segment = await interaction.turn(environment.observe().strip())
