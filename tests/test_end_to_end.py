"""The whole of it on the real stack: Ray, vLLM and DeepSpeed under the command line, tiny everything.

Starting the stack takes most of the time, so it is started four times in all: once for a run that is left alone, and
three times for one that is stopped with Ctrl-C, then killed, and then goes on to its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from tests.stages.small import RECIPE, assert_same_results, write_recipe

UPDATES = 20
CHECKPOINT_EVERY = 2
REAL = RECIPE.replace(
    "resources: {generator: torch, learner: torch, threads: 1, accelerator: cpu, micro_batch_tokens: 512}",
    "resources: {accelerator: cpu, micro_batch_tokens: 512, kv_cache_gib: 0.05}",
)
# with a step scorer, so that its actor is started, used, killed and resumed like the others
REAL += "scorers: {ratio: {type: implicit, policy: sft}}\n"
REAL = REAL.replace("type: rl\n", "type: rl\n    credit: {type: process_return, steps: ratio, weight: 0.1}\n")
PATIENCE_S = 240
pytestmark = pytest.mark.timeout(1200)
RAYS_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""When a driver is killed these try for a minute to tell a server that is gone, then end. They hold no device."""
OURS = re.compile(
    r"|\d+ stages.*|starting engines .*|engines ready after \d+ s|\[\d/\d\] \w+ of [\w, ]+ +\d:\d\d:\d\d  .*"
    r"|sft_rl against sft on iid: (synthesis|amplification|no gain|not enough evidence)"
    r"|arm +iid *|sft(_rl)? +\d+\.\d \[.*\] *|greedy answers right, per cent.*|report: .*"
    r"|rlreason: stopped; what was done is kept in .*"
)
"""Every line that a run may print."""


@dataclass
class Driver:
    """A run's process, everything it ever started, and what it printed."""

    process: subprocess.Popen[str]
    log: Path
    started: set[psutil.Process]

    def wait_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not reached():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            self.look()
            time.sleep(0.02)

    def look(self) -> None:
        try:
            self.started |= set(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return

    def finish(self) -> int:
        """Exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.log.read_text()
            self.look()
            time.sleep(0.2)
        return self.process.returncode

    def left_over(self, but: tuple[str, ...] = ()) -> list[str]:
        """What is still alive half a minute later of all that was started, but for processes of these names."""
        names = {}
        for process in self.started:
            with contextlib.suppress(psutil.NoSuchProcess):
                names[process] = process.name()
        _, alive = psutil.wait_procs([process for process, name in names.items() if name not in but], timeout=30)
        return [names[process] for process in alive]

    def foreign_lines(self) -> list[str]:
        """Lines printed that are not ours."""
        return [line for line in self.log.read_text().splitlines() if not OURS.fullmatch(line.strip())]


def start(recipe: Path, folder: Path) -> Driver:
    log = folder.with_suffix(".log")
    command = [sys.executable, "-m", "rlreason", "run", str(recipe), "--folder", str(folder)]
    command += ["--set", f"stages.rl.updates={UPDATES}", "--set", f"stages.rl.checkpoint_every={CHECKPOINT_EVERY}"]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "COLUMNS": "200"},
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that Ctrl-C can reach it and its children, and not the tests
    )
    return Driver(process, log, set())


def updates_done(folder: Path) -> int:
    """The newest RL update in the live stream of metrics."""
    if not (folder / "metrics.jsonl").exists():
        return 0
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rl = [line for line in lines if line.startswith('{"stage": "rl-') and line.endswith("}")]
    return json.loads(rl[-1])["update"] if rl else 0


def figures(folder: Path, kind: str) -> dict[str, float]:
    (done,) = folder.glob(f"stages/{kind}-*/done.json")
    return json.loads(done.read_text())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"), REAL)


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Driver]:
    """(folder, driver) of a run that was left alone."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    driver = start(recipe, folder)
    assert driver.finish() == 0, driver.log.read_text()
    return folder, driver


@pytest.fixture(scope="module")
def whole(finished: tuple[Path, Driver]) -> Path:
    return finished[0]


def test_a_run_leaves_no_process_and_prints_nothing_of_the_libraries_(finished):
    _, driver = finished
    names = {process.pid for process in driver.started}
    assert len(names) > 5, "Ray's own processes, a generator, a learner, a step scorer and a scoring worker were seen"
    assert driver.left_over() == []
    assert driver.foreign_lines() == []


def test_the_report_is_there_in_its_three_forms(whole):
    report = json.loads((whole / "report" / "report.json").read_text())
    assert {"arms", "recipe", "versions", "seconds"} <= set(report)
    assert set(report["arms"]) == {"sft", "sft_rl"}
    for arm in report["arms"].values():
        level = arm["levels"]["iid"]
        assert {"n", "pass_at_1", "ci95", "pass_at_k", "derivation_correct"} <= set(level)
        assert level["n"] == 6 and set(level["pass_at_k"]) == {"1", "2"}
    page = (whole / "report" / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html") and "sft_rl" in page
    assert (whole / "report" / "report.md").read_text().startswith("#")


def test_supervised_fine_tuning_ran_under_a_real_deepspeed_engine(whole):
    assert figures(whole, "sft")["deepspeed"] == 1
    manifest = json.loads((whole / "manifest.json").read_text())
    assert (manifest["hardware"]["generator"], manifest["hardware"]["learner"]) == ("vllm", "deepspeed")


def test_generator_and_learner_held_the_same_weights_at_every_update(whole):
    updates = read_table(RunFolder(whole), "updates")
    mismatch = updates[updates["metric"] == "mismatch_mean"]
    assert mismatch["update"].tolist() == list(range(1, UPDATES + 1))
    assert mismatch["value"].max() < 1e-4
    rollouts = read_table(RunFolder(whole), "rollouts")
    assert len(rollouts) == UPDATES * 3 * 4
    assert (rollouts["policy_version"] == rollouts["update"] - 1).all()
    assert rollouts["advantage"].abs().max() > 0.5, "there was something to learn"


def test_the_step_scorer_judged_every_step_of_every_rollout(whole):
    rollouts = read_table(RunFolder(whole), "rollouts")
    steps = [
        (len(json.loads(steps)), json.loads(said)["ratio"]) for steps, said in rollouts[["steps", "step_scores"]].values
    ]
    assert all(count == len(said) for count, said in steps)
    assert sum(count for count, _ in steps) > UPDATES and any(score != 0 for _, said in steps for *_, score in said)


def test_the_policy_learned_from_its_rewards(whole):
    rewards = read_table(RunFolder(whole), "rollouts").groupby("update")["reward"].mean()
    assert rewards.tail(5).mean() > rewards.head(5).mean()


def test_stopped_and_killed_it_leaves_no_process_and_ends_with_the_records_of_a_run_left_alone(recipe, whole, tmp_path):
    folder = tmp_path / "stopped"
    driver = start(recipe, folder)
    driver.wait_until(lambda: updates_done(folder) >= 3)
    os.killpg(driver.process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the whole group
    assert driver.finish() == 130, driver.log.read_text()
    assert driver.left_over() == []
    assert driver.foreign_lines() == []
    assert "To go on: rlreason run" in driver.log.read_text()

    driver = start(recipe, folder)
    stopped = updates_done(folder)
    driver.wait_until(lambda: updates_done(folder) >= stopped + 3)
    driver.look()
    driver.process.kill()
    driver.process.wait()
    assert driver.left_over(but=RAYS_AGENTS) == []
    assert updates_done(folder) < UPDATES

    driver = start(recipe, folder)
    assert driver.finish() == 0, driver.log.read_text()
    assert driver.left_over() == []
    assert figures(folder, "rl")["updates_run"] < UPDATES, "it went on at a checkpoint"
    assert_same_results(whole, folder)
