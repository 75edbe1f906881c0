"""A stage that loses its learner goes on by itself, and what broke in a run is written down."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil
import pytest

from rlreason.cli import main
from rlreason.engines.protocols import PolicyBatch
from rlreason.engines.torch_learner import TorchLearner
from rlreason.errors import EngineFailed, LearnerLost, RunFailed, StagesMissing
from rlreason.recipe.plan import PlannedStage
from rlreason.records.incidents import read_incidents
from rlreason.records.run_folder import RunFolder
from rlreason.stages.recovery import Recovery
from rlreason.types import Incident
from tests.stages.small import RECIPE, Recorder, assert_same_results, run, write_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was left alone."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(recipe, folder)
    return folder


def lose_at(monkeypatch: pytest.MonkeyPatch, *losses: int) -> None:
    """The learner dies in these updates, the first time that each is made."""
    left, update = list(losses), TorchLearner.update

    def dying(self: TorchLearner, batch: PolicyBatch, number: int, on_policy: bool) -> Mapping[str, float]:
        if number in left:
            left.remove(number)
            raise LearnerLost("learner-1", "died", "killed by signal 9", detect_s=0.5, recover_s=20.0)
        return update(self, batch, number, on_policy)

    monkeypatch.setattr(TorchLearner, "update", dying)


def test_a_stage_that_lost_its_learner_ends_with_the_records_of_a_run_left_alone(recipe, whole, tmp_path, monkeypatch):
    lose_at(monkeypatch, 2, 4)
    progress = Recorder()
    run(recipe, tmp_path / "run", progress=progress)
    assert_same_results(whole, tmp_path / "run")
    # a state is saved after every second update: the first loss costs update 1, the second update 3
    assert [done for kind, done in progress.started if kind == "rl"] == [0, 0, 2]
    first, second = read_incidents(RunFolder(tmp_path / "run"))
    assert (first.actor, first.kind, first.blame, first.detect_s, first.recover_s) == (
        *("learner-1", "died", "infrastructure"),
        *(0.5, 20.0),
    )
    assert first.lost == "1 updates of stage rl, made again from its state after 0"
    assert second.lost == "1 updates of stage rl, made again from its state after 2"
    assert any("learner-1 died: killed by signal 9" in note and "goes on" in note for note in progress.notes)
    assert any(note.startswith("2 incidents: learner-1 died 2x") for note in progress.notes)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["incidents"] == {"died": 2}


@pytest.mark.parametrize("ending", [EngineFailed("generator-0 died"), KeyboardInterrupt()])
def test_a_learner_that_was_lost_is_written_down_also_where_its_stage_never_goes_on(ending):
    incidents = list[Incident]()
    raised = [LearnerLost("learner-1", "died", "killed by signal 9", detect_s=0.5, recover_s=20.0) for _ in range(2)]

    def run() -> None:  # no start of the stage is told
        raise raised.pop() if raised else ending

    stage = cast(PlannedStage, SimpleNamespace(name="rl"))
    with pytest.raises(type(ending)):
        Recovery(Recorder(), incidents.append).attempt(stage, run, lambda: None)
    first, second, *ended = incidents
    assert (first.actor, first.recover_s, second.actor) == ("learner-1", 20.0, "learner-1")
    assert "the learner was lost again" in first.lost and second.lost == "stage rl did not go on"
    assert [incident.kind for incident in ended] == (["EngineFailed"] if isinstance(ending, EngineFailed) else [])


def test_an_engine_that_failed_ends_the_run_and_is_written_down_with_its_class(recipe, tmp_path, monkeypatch):
    def failing(self: TorchLearner, batch: PolicyBatch, number: int, on_policy: bool) -> Mapping[str, float]:
        raise EngineFailed("learner-0 died, and the learner was lost 4 times")

    monkeypatch.setattr(TorchLearner, "update", failing)
    with pytest.raises(EngineFailed):
        run(recipe, tmp_path / "run")
    (incident,) = read_incidents(RunFolder(tmp_path / "run"))
    assert (incident.actor, incident.kind, incident.blame) == ("stage rl", "EngineFailed", "infrastructure")


def test_a_reward_that_always_raises_is_blamed_on_the_plug_in(tmp_path):
    reward = "def score(problem, completion, derivation):\n    raise ValueError('no')\n"
    broken = write_recipe(tmp_path / "recipe", variety=reward)
    with pytest.raises(RunFailed):
        run(broken, tmp_path / "run")
    incident = read_incidents(RunFolder(tmp_path / "run"))[-1]
    assert (incident.kind, incident.blame) == ("ScoringFailed", "plug-in")


class Killer(Recorder):
    """Kills every scoring worker after the third update."""

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        if (stage.type, done) == ("rl", 3):
            for child in psutil.Process().children():
                if "rlreason.rewards.worker" in " ".join(child.cmdline()):
                    os.kill(child.pid, signal.SIGKILL)


def test_scoring_workers_that_are_killed_change_no_record_and_are_incidents(recipe, whole, tmp_path):
    run(recipe, tmp_path / "run", progress=Killer())
    assert_same_results(whole, tmp_path / "run")
    incidents = read_incidents(RunFolder(tmp_path / "run"))
    assert incidents and {(incident.actor, incident.kind, incident.lost) for incident in incidents} == {
        ("rewards", "crash", "nothing")
    }


ARMS = """arms:
  sft: [atomic]
  sft_rft: {after: sft, stages: [rft]}
  sft_rft_again: {after: sft_rft, stages: [again]}
  sft_rl: {after: sft, stages: [rl]}
"""
RFT = """
  rft: &rft
    type: rft
    data:
      - {cells: ["complementary/*"]}
    rounds: 1
    prompts: 2
    samples: 1
    updates: 1
    sampling: {temperature: 1.0, max_new_tokens: 1}
    optimizer: {learning_rate: 2.0e-3}
  again: *rft
"""


@pytest.fixture
def hopeless(tmp_path: Path) -> Path:
    """A recipe whose rejection fine-tuning never has a right sample: its completions are one token long."""
    head, _, rest = RECIPE.partition("arms:\n")
    tail = rest[rest.index("evaluation:") :]
    return write_recipe(tmp_path / "recipe", head.rstrip("\n") + RFT + ARMS + tail)


def test_a_run_that_keeps_going_has_every_stage_that_does_not_need_the_one_that_failed(hopeless, tmp_path):
    progress = Recorder()
    with pytest.raises(StagesMissing) as raised:
        run(hopeless, tmp_path / "run", progress=progress, keep_going=True)
    # atomic, rft, again, rl, and an evaluation of each arm: rft fails, and again and two evaluations need it
    assert progress.finished == ["sft", "evaluate", "rl", "evaluate"]
    told = str(raised.value)
    assert "there is nothing to train" in told
    rft, again = "rft of sft_rft, sft_rft_again", "again of sft_rft_again"
    assert told.startswith(f"4 stages are missing; those that do not need them are done\n  {rft}: ")
    assert f"evaluate of sft_rft, which needs {rft}; {again}, which needs {rft}; evaluate of" in told
    assert sum("there is nothing to train" in note for note in progress.notes) == 1
    folder = RunFolder(tmp_path / "run")
    (incident,) = read_incidents(folder)
    assert (incident.actor, incident.kind, incident.blame) == ("stage rft", "RunFailed", "data")
    assert incident.done == "the stages that do not need it were run"
    assert json.loads(folder.manifest_path.read_text())["finished"] is None


def test_the_command_reports_what_is_there_and_ends_with_exit_code_1(hopeless, tmp_path, monkeypatch, capsys):
    asked = ["rlreason", "run", str(hopeless), "--folder", str(tmp_path / "run"), "--keep-going"]
    monkeypatch.setattr(sys, "argv", asked)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "StagesMissing: 4 stages are missing" in capsys.readouterr().err
    summary = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert {arm for arm, told in summary["arms"].items() if told["levels"]} == {"sft", "sft_rl"}
    # the same command goes on with what is missing, and that alone
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert "4 done before" in told
    assert "StagesMissing: 4 stages are missing" in told


def test_a_run_that_is_not_to_keep_going_ends_at_the_first_failure(hopeless, tmp_path):
    progress = Recorder()
    with pytest.raises(RunFailed, match="there is nothing to train"):
        run(hopeless, tmp_path / "run", progress=progress)
    assert progress.finished == ["sft", "evaluate"]
    (incident,) = read_incidents(RunFolder(tmp_path / "run"))
    assert incident.done == "the run stopped"


def test_what_the_infrastructure_fails_in_ends_a_run_that_keeps_going(recipe, tmp_path, monkeypatch):
    def failing(self: TorchLearner, batch: PolicyBatch, number: int, on_policy: bool) -> Mapping[str, float]:
        raise EngineFailed("learner: out of memory")

    monkeypatch.setattr(TorchLearner, "update", failing)
    with pytest.raises(EngineFailed, match="out of memory"):
        run(recipe, tmp_path / "run", keep_going=True)
