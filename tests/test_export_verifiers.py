from __future__ import annotations

import asyncio
import importlib
import re
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import verifiers.v1 as vf
from typer.testing import CliRunner

from rlreason.cli import app
from rlreason.errors import TaskError, UserError
from rlreason.export.verifiers_package import write_package
from rlreason.tasks import build_task, registry
from rlreason.tasks.environment import replay
from rlreason.tasks.lookup import Lookup
from rlreason.tasks.verifiers import Verifiers, VerifiersParameters
from rlreason.types import DerivationCheck, Problem
from tests.tasks.verifiers_packages import SUMS, install

LOOKUP = ["--set", "people=12", "--set", "facts=[3, 5]", "--set", "world_seed=4"]


def exported(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """Exports as a user does, and puts the package on the path."""
    result = CliRunner().invoke(app, ["export", "verifiers", *words, "--output", str(folder)])
    assert result.exit_code == 0, result.output
    (name,) = re.findall(r"vf-eval (\S+) ", result.output)
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop(name.replace("-", "_"), None)
    importlib.invalidate_caches()
    return name


def load(name: str, **settings: Any) -> Any:
    """The environment, as verifiers' own commands load it."""
    return vf.load_environment(vf.resolve_env_config({"taskset": {"id": name, **settings}}))


def scored(row: Any, *turns: str) -> dict[str, float]:
    """What the package's rewards say of these turns, through the library's scoring; parts that pay nothing too."""
    trace = vf.Trace(
        task=vf.TraceTask(type=type(row).__name__, data=row.data),
        agent=vf.AgentInfo(config=vf.AgentConfig(model="none")),
    )
    for turn in turns:
        parent = len(trace.nodes) - 1 if trace.nodes else None
        trace.nodes.append(vf.MessageNode(parent=parent, message=vf.AssistantMessage(content=turn), sampled=True))
    asyncio.run(row.score(trace))
    return {"total": trace.reward, **{key: reward.score for key, reward in trace.rewards.items()}}


def test_an_exported_task_serves_its_problems_and_scores_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = exported(tmp_path / "out", monkeypatch, "lookup", *LOOKUP, "--train-rows", "5", "--test-rows", "3")
    assert name == "rlreason-lookup"
    task = build_task("lookup", "lookup", {"people": 12, "facts": [3, 5], "world_seed": 4})
    rows = list(load(name).taskset)
    assert [row.data.id for row in rows] == [
        f"train/lookup-{n}/{i}" for n, i in ((3, 0), (5, 0), (3, 1), (5, 1), (3, 2))
    ]
    problem = task.problem("train", "lookup/5", 1)
    row = rows[3]
    assert (row.data.prompt, row.data.answer, row.problem) == (problem.prompt, problem.answer, problem)
    everything = {"total": 1.0, "answer": 1.0, "derivation": 1.0, "format": 1.0}
    assert scored(row, problem.target) == everything
    assert scored(row, "I do not know") == {"total": 0.0, "answer": 0.0, "derivation": 0.0, "format": 0.0}
    bare = problem.target[task.check(problem, problem.target).steps[-1].end :]  # the answer without its one step
    check = task.check(problem, bare)
    assert scored(row, bare) == {**everything, "total": float(check.answer_correct), "derivation": 0.0}


def test_level_cells_and_rows_are_settings_of_the_exported_taskset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = exported(tmp_path / "out", monkeypatch, "lookup", *LOOKUP, "--name", "my-lookup", "--test-rows", "3")
    assert name == "my-lookup"
    rows = list(load(name, level="iid", cells=["lookup/5"]).taskset)
    assert [row.data.id for row in rows] == [f"iid/lookup-5/{index}" for index in range(3)]
    assert len(list(load(name, level="iid", rows=7).taskset)) == 7
    with pytest.raises(TaskError, match=r"level of task 'lookup' 'test' is not one of train, validation, iid"):
        list(load(name, level="test").taskset)
    with pytest.raises(TaskError, match=r"cell of task 'lookup' 'lookup/9' is not one of lookup/3, lookup/5"):
        list(load(name, cells=["lookup/9"]).taskset)


def test_a_run_can_make_the_steps_pay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = exported(tmp_path / "out", monkeypatch, "lookup", *LOOKUP, "--name", "steps-pay", "--train-rows", "1")
    (row,) = load(name, task={"rewards": {"derivation": {"weight": 0.5}}}).taskset
    assert scored(row, row.problem.target)["total"] == 1.5


def test_an_exported_task_read_back_pays_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = exported(tmp_path / "out", monkeypatch, "lookup", *LOOKUP, "--name", "there-and-back", "--train-rows", "6")
    task = Verifiers("back", VerifiersParameters(environment=name, max_turns=1, test_arguments={"level": "iid"}))
    problem = task.problem("train", "there-and-back/1", 2)
    assert problem.prompt.startswith("User: ") and problem.answer
    target = problem.detail["row"]["problem"]["target"]
    verdict = task.check(problem, target)
    assert (verdict.reward, verdict.parts) == (1.0, {"answer": 1.0, "derivation": 1.0, "format": 1.0})
    assert task.check(problem, "no").reward == 0.0


def test_the_package_says_what_it_is_and_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = exported(tmp_path / "out", monkeypatch, "tail", "--set", "algorithm=lcs", "--name", "tail-lcs")
    project = tomllib.loads((tmp_path / "out" / "pyproject.toml").read_text())["project"]
    assert project["name"] == name and "verifiers>=0.4" in project["dependencies"]
    assert any(needed.startswith("rlreason>=") for needed in project["dependencies"])
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "vf-eval tail-lcs" in readme and "train, validation, iid, medium, long" in readme


class Insisting(Lookup):
    """Looks facts up, and asks again up to three times until the answer is right."""

    type = "insisting"

    @property
    def max_turns(self) -> int:
        return 3

    def environment(self, problem: Problem) -> Asking:
        return Asking(problem, [])


@dataclass
class Asking:
    problem: Problem
    turns: list[str]

    @property
    def done(self) -> bool:
        return len(self.turns) == 3 or self.turns[-1:] == [self.problem.answer]

    def act(self, text: str) -> None:
        self.turns.append(text)

    def observe(self) -> str:
        return f" No, not {self.turns[-1]}. "

    def score(self) -> DerivationCheck:
        last = self.turns[-1] if self.turns else None
        return DerivationCheck(last, last == self.problem.answer, None)


@pytest.fixture
def insisting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task type of several turns, as an installed package would bring it."""
    point = EntryPoint("insisting", f"{__name__}:Insisting", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])


@pytest.mark.usefixtures("insisting")
def test_a_task_of_several_turns_is_played_by_the_library_s_own_environment(tmp_path, monkeypatch):
    # played through the `verifiers` task, which drives the exported environment with turns written beforehand
    name = exported(tmp_path / "out", monkeypatch, "insisting", *LOOKUP, "--train-rows", "4")
    assert "up to 3 turns" in (tmp_path / "out" / "README.md").read_text()
    task = Verifiers("back", VerifiersParameters(environment=name, max_turns=8, test_share=0.25))
    problem = task.problem("train", f"{name}/1", 0)
    right = replay(task.environment(problem), ["Nobody", problem.answer])
    assert (right.done, right.score().parts) == (True, {"answer": 1.0, "format": 1.0})
    again = task.environment(problem)
    again.act("Nobody")
    assert (again.done, again.observe()) == (False, "\nUser: No, not Nobody.\nAssistant:")
    wrong = replay(again, ["Somebody", "Anybody", problem.answer])  # the fourth turn is not taken
    assert (wrong.done, wrong.score().parts) == (True, {"answer": 0.0, "format": 1.0})


@pytest.mark.parametrize("name", ["Has Space", "9lives", "trailing-", "under_score"])
def test_a_name_that_no_package_can_have_is_refused(name: str, tmp_path: Path):
    with pytest.raises(UserError, match="cannot be a package's; use small letters, digits and hyphens"):
        write_package(build_task("lookup", "lookup", {}), name, tmp_path / "out", {"train": ["lookup/4"]}, 1, 1)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "mine").touch()
    with pytest.raises(UserError, match="exists and is not an empty folder; name another, or remove it"):
        write_package(build_task("lookup", "lookup", {}), None, tmp_path, {"train": ["lookup/4"]}, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_verifiers_environment_is_not_exported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "sums-again", SUMS)
    task = build_task("theirs", "verifiers", {"environment": "sums-again"})
    with pytest.raises(TaskError, match="is a verifiers environment already: 'sums-again'"):
        write_package(task, None, tmp_path / "out", {"train": ["sums-again/1"]}, 1, 1)
