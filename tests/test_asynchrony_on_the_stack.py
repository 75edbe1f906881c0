"""Sampling ahead on Ray, vLLM and DeepSpeed: which weights sample what, and that generator and learner agree on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from rlreason.recipe.plan import PlannedStage
from rlreason.records.incidents import read_incidents
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from tests.stages.small import Recorder, run
from tests.test_algorithms_on_the_stack import RECIPE, REWARD, RL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ASKED = RL | {"updates": 5, "checkpoint_every": 2}
STAGES = {
    "one_step_off": ASKED | {"asynchrony": {}},
    "newest": ASKED | {"asynchrony": {"mode": "newest", "partial_rollouts": True, "chunk_tokens": 4}, "correction": {}},
}


def write(folder: Path, *names: str) -> Path:
    """The recipe with these of the stages, an arm each."""
    stages = {name: STAGES[name] for name in names}
    values = RECIPE | {"scorers": {}, "stages": stages, "arms": {name: [name] for name in names}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parity.py").write_text(REWARD)
    (folder / "stack.yaml").write_text(json.dumps(values))
    return folder / "stack.yaml"


def rollouts_of(folder: Path) -> dict[str, pd.DataFrame]:
    """The rollouts of each stage, by the stage's name."""
    stages = json.loads((folder / "plan.json").read_text())["stages"]
    rows = read_table(RunFolder(folder), "rollouts")
    return {stages[stage]["name"]: own for stage, own in rows.groupby("stage")}


def test_the_real_engines_sample_ahead_with_the_weights_that_they_should(tmp_path):
    run(write(tmp_path, *STAGES), tmp_path / "run")
    found = rollouts_of(tmp_path / "run")
    ahead = found["one_step_off"]
    assert (ahead["policy_version"] == np.maximum(0, ahead["update"] - 2)).all()
    assert ahead[ahead["update"] == 1]["learner_mismatch"].max() < 1e-3
    newest = found["newest"]
    assert (newest["update"] - 1 - newest["policy_version"]).between(0, 1).all()
    for row in newest[newest["policy_versions"].notna()].itertuples():
        assert len(row.policy_versions) == len(row.completion_tokens)
        assert row.policy_versions[0] == row.policy_version
        assert (np.diff(row.policy_versions) >= 0).all()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run one step off that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run(write(folder, "one_step_off"), folder / "run")
    return folder / "run"


def assert_repeats(folder: Path, whole: Path) -> None:
    columns = ["update", "problem", "sample", "policy_version", "reward", "completion_tokens", "generator_logprobs"]
    expected, found = rollouts_of(whole)["one_step_off"], rollouts_of(folder)["one_step_off"]
    pd.testing.assert_frame_equal(found[columns], expected[columns], check_exact=True)


def test_a_killed_run_repeats_the_undisturbed_one(whole, tmp_path):
    recipe = write(tmp_path, "one_step_off")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", progress=Recorder(stop=("rl", 3)))
    run(recipe, tmp_path / "run")
    assert_repeats(tmp_path / "run", whole)


class Killer(Recorder):
    """Kills the process of an actor when three updates are made, whatever it is about."""

    def __init__(self, actor: str) -> None:
        super().__init__()
        self._actor = actor

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        again = (stage.type, done) in self.advanced
        super().stage_advanced(stage, done, metrics)
        if (stage.type, done) == ("rl", 3) and not again:
            (victim,) = [
                process
                for process in psutil.Process().children(recursive=True)
                if process.cmdline()[:1] and process.cmdline()[0].startswith(f"ray::{self._actor}")
            ]
            victim.kill()


@pytest.mark.parametrize(("actor", "name"), [("GeneratorActor", "generator-0"), ("LearnerActor", "learner-0")])
def test_an_engine_that_dies_while_the_other_works_is_replaced_and_nothing_is_lost(whole, tmp_path, actor, name):
    run(write(tmp_path, "one_step_off"), tmp_path / "run", progress=Killer(actor))
    assert_repeats(tmp_path / "run", whole)
    (incident,) = read_incidents(RunFolder(tmp_path / "run"))
    assert (incident.actor, incident.kind) == (name, "died")
