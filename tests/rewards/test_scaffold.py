"""What `reward new` writes works as it stands: its own tests pass, its style holds, and `reward check` lets it off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlreason.errors import UserError
from rlreason.recipe.schema import Reward
from rlreason.rewards.check import check_reward
from rlreason.rewards.loader import resolve
from rlreason.rewards.samples import trial_of_task
from rlreason.rewards.scaffold import KINDS, write_reward
from rlreason.tasks import build_task
from rlreason.tasks.sampling import sample


def test_every_kind_passes_its_own_tests_and_the_linter(tmp_path):
    folder = tmp_path / "rewards"
    for kind in KINDS:
        write_reward(f"my_{kind}", folder, kind)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "rewards"]
    tests = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert tests.returncode == 0 and "10 passed" in tests.stdout, tests.stdout + tests.stderr
    for words in (["check", "--select", "E,F,I,UP,B,SIM,RUF,C4"], ["format", "--check"]):
        linter = [sys.executable, "-m", "ruff", *words, "--line-length", "120", "--isolated", str(folder)]
        done = subprocess.run(linter, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_test_that_was_written_can_fail(tmp_path):
    file, test = write_reward("mine", tmp_path, "answer")
    file.write_text(file.read_text().replace("float(found == problem.answer)", "1.0"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 1 and "1 failed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_sound(kind, tmp_path):
    file, _ = write_reward("mine", tmp_path, kind)
    task = build_task("small", "complementary", {"people": 16, "hops": {2: 1}})
    trial = trial_of_task(task, sample(task, "train", ["complementary/2"], 3))
    report = check_reward(Reward(spec=f"{file}:score"), trial)
    assert report.ok, report.findings
    assert not [row for row in report.rows if row.failures]


def test_the_forms_are_what_they_are_called(tmp_path):
    forms = {}
    for kind in KINDS:
        file, _ = write_reward(f"my_{kind}", tmp_path, kind)
        loaded = resolve(f"{file}:score")
        forms[kind] = (loaded.batch, loaded.is_async)
    assert forms == {
        "answer": (False, False),
        "steps": (False, False),
        "batch": (True, False),
        "async": (False, True),
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my-reward", "such as 'my_reward'"),
        ("class", "letters, digits and underscores"),
        ("2nd", "letters, digits and underscores"),
        ("../up", "letters, digits and underscores"),
        ("json", "name of an installed module; choose another, such as 'json_reward'"),
        ("test_mine", "call it 'mine'"),
    ],
)
def test_a_name_that_will_not_do_is_refused_with_one_that_will(name, words, tmp_path):
    with pytest.raises(UserError, match=words):
        write_reward(name, tmp_path, "answer")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "test_mine.py").write_text("precious")
    with pytest.raises(UserError, match=r"test_mine\.py is there already"):
        write_reward("mine", tmp_path, "answer")
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]
    assert (tmp_path / "test_mine.py").read_text() == "precious"
