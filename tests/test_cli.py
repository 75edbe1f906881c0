from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlreason import cli
from rlreason.errors import EngineFailed, MachineError

COMMANDS = [
    *["", "run", "plan", "recipes", "sample", "tasks", "report", "doctor", "schema"],
    *["reward new", "reward check", "reward list", "bench", "bench rl", "bench tasks", "bench rewards"],
    *["bench curriculum", "bench verdict"],
    *["cluster render", "cluster wait", "submit", "status", "logs", "stop"],
]
HEAVY = {
    "numpy",
    "pandas",
    "pyarrow",
    "torch",
    "ray",
    "transformers",
    "vllm",
    "deepspeed",
    "plotly",
    "scipy",
    "yaml",
}


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["rlreason", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_every_help_imports_nothing_heavy():
    code = (
        "import sys, contextlib; from rlreason.cli import app\n"
        f"for command in {COMMANDS!r}:\n"
        "    with contextlib.suppress(SystemExit): app([*command.split(), '--help'])\n"
        f"    print('HEAVY', command, sorted({HEAVY!r} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("HEAVY")]
    assert lines == [f"HEAVY {command} []" for command in COMMANDS]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_teaches_by_example(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert call(monkeypatch, *command.split(), "--help") == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line.startswith(f"rlreason {command}".strip())]


def test_recipes_lists_the_quickstart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert call(monkeypatch, "recipes", "--json") == 0
    assert "quickstart" in [row["name"] for row in json.loads(capsys.readouterr().out)]


def test_plan_shows_what_arms_share(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert call(monkeypatch, "plan", "quickstart", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    shared = [stage for stage in plan["stages"].values() if stage["name"] == "atomic"]
    assert [sorted(stage["arms"]) for stage in shared] == [["sft_atomic", "sft_atomic_rl"]]
    assert call(monkeypatch, "plan", "quickstart") == 0
    assert "sft_atomic_rl" in capsys.readouterr().out


def test_plan_sizes_a_recipe_for_a_model_and_gpus_that_are_not_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def plan(*more: str) -> dict[str, Any]:
        assert call(monkeypatch, "plan", "quickstart", "--set", "resources.accelerator=auto", "--json", *more) == 0
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return told

    large = plan("--model", "qwen2.5-7b", "--gpus", "2", "--gpu-memory", "80")
    assert large["memory"]["parameters"] == 7_615_616_512
    assert (large["machine"]["gpus"], large["fits"], len(large["shortages"])) == (2, False, 1)
    assert large["shortages"][0].startswith("a learner rank needs ")
    small = plan("--gpus", "1")
    assert (small["fits"], small["memory"]["colocated"]) == (True, True)
    assert plan("--gpus", "0")["memory"]["on_gpu"] is False
    assert call(monkeypatch, "plan", "quickstart", "--gpu-memory", "24") == 2
    assert "--gpu-memory 24 is of the GPUs that --gpus counts; give both" in capsys.readouterr().err
    assert call(monkeypatch, "plan", "quickstart", "--model", "qwen9") == 2
    assert "--model 'qwen9' is not one of smollm2-135m" in capsys.readouterr().err


def test_sample_prints_problems_with_derivations(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    arguments = ("sample", "quickstart", "--level", "zero_shot", "--cell", "complementary/*", "--count", "2")
    assert call(monkeypatch, *arguments, "--json") == 0
    problems = json.loads(capsys.readouterr().out)
    assert [problem["level"] for problem in problems] == ["zero_shot", "zero_shot"]
    assert all(problem["target"].strip().endswith(problem["answer"]) for problem in problems)
    assert call(monkeypatch, *arguments) == 0
    assert problems[0]["prompt"].strip() in capsys.readouterr().out


def test_sample_takes_parameters_of_the_task(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert call(monkeypatch, "sample", "quickstart", "--set", "people=thirty") == 2
    assert "people" in capsys.readouterr().err
    assert call(monkeypatch, "sample", "quickstart", "--set", "people") == 2
    assert "KEY=VALUE" in capsys.readouterr().err


def test_tasks_lists_types_and_their_parameters(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert call(monkeypatch, "tasks", "--json") == 0
    listed = {row["type"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"complementary", "tail", "rules"} <= set(listed)
    assert call(monkeypatch, "tasks", "complementary") == 0
    assert "people" in capsys.readouterr().out


def test_the_schema_names_every_section(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert call(monkeypatch, "schema") == 0
    assert {"model", "tasks", "stages", "arms"} <= set(json.loads(capsys.readouterr().out)["properties"])


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("plan", "quickstat"), "quickstart"),
        (("plan", "quickstart", "--set", "evaluation.problms=3"), "problems"),
        (("sample", "quickstart", "--level", "zeroshot"), "zero_shot"),
        (("sample", "quickstart", "--task", "peple"), "people"),
        (("sample", "quickstart", "--cell", "complementry/*"), "complementary/2"),
        (("tasks", "complementry"), "complementary"),
        (("bench", "rl", "--peer", "tlr"), "trl"),
        (("report", "no/such/folder"), "no/such/folder"),
    ],
)
def test_a_wrong_word_is_one_paragraph_with_the_remedy_and_exit_code_2(
    arguments: tuple[str, ...], names: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("rlreason: ")
    assert names in error
    assert "Traceback" not in error


def test_doctor_exits_with_2_only_where_something_required_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert call(monkeypatch, "doctor", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    from rlreason import doctor

    monkeypatch.setattr(doctor, "version_of", lambda package: None)
    assert call(monkeypatch, "doctor") == 2
    assert "make setup" in " ".join(capsys.readouterr().out.split())


def install_runner(monkeypatch: pytest.MonkeyPatch, error: BaseException, calls: list[dict[str, Any]]) -> None:
    """Put a runner in place of the real one that notes how it was called and then fails."""

    def run_recipe(loaded: Any, folder: Path, **settings: Any) -> None:
        calls.append({"recipe": loaded.recipe, "folder": folder, "allow_change": settings["allow_change"]})
        raise error

    runner = ModuleType("rlreason.stages.runner")
    runner.run_recipe = run_recipe  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rlreason.stages.runner", runner)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (EngineFailed("generator 0 died"), 1, "EngineFailed: generator 0 died"),
        (MachineError("port 6379 is in use"), 2, "port 6379 is in use"),
        (KeyboardInterrupt(), 130, "To go on: rlreason run quickstart --set evaluation.problems=7"),
    ],
)
def test_how_a_run_ends_is_its_exit_code(
    error: BaseException,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    calls: list[dict[str, Any]] = []
    install_runner(monkeypatch, error, calls)
    assert call(monkeypatch, "run", "quickstart", "--set", "evaluation.problems=7") == code
    assert says in capsys.readouterr().err
    assert calls[0]["folder"] == Path("runs/quickstart")
    assert calls[0]["recipe"].evaluation.problems == 7
    assert calls[0]["allow_change"] is False
