"""Loggers without any of their packages: a tool of the test's own, told what metrics.jsonl says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from rlreason.errors import MachineError
from rlreason.loggers import Loggers, follow, open_loggers
from rlreason.loggers.contract import LoggedStage, RunFacts
from rlreason.loggers.headline import headline_of
from rlreason.loggers.registry import TOOLS, check_installed
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.schema import Recipe
from rlreason.records import RunFolder
from tests.watch.small_run import planned_run, tell


class Notebook:
    """A tool that writes down what it is told."""

    def __init__(self, facts: RunFacts, rewrites: bool) -> None:
        self.facts, self.rewrites = facts, rewrites
        self.begun: list[tuple[str, int]] = []
        self.points: list[tuple[int, dict[str, float]]] = []
        self.figures: Mapping[str, float] = {}
        self.closed = False
        self.breaks = False

    def begin(self, stage: LoggedStage, update: int) -> None:
        self.begun.append((stage.name, update))

    def log(self, update: int, at: float, metrics: Mapping[str, float]) -> None:
        if self.breaks:
            raise ConnectionError("no route")
        self.points.append((update, dict(metrics)))

    def headline(self, figures: Mapping[str, float], text: str) -> None:
        self.figures = figures

    def close(self) -> None:
        self.closed = True


class Quiet:
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def run_started(self, *arguments: object) -> None: ...

    def stage_started(self, *arguments: object) -> None: ...

    def stage_advanced(self, *arguments: object) -> None: ...

    def stage_finished(self, *arguments: object) -> None: ...


@pytest.fixture(params=[False, True], ids=["grows", "rewrites"])
def notebooks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Notebook]:
    """Every tool that is built, in order; each stands for one start of the run."""
    built: list[Notebook] = []

    def build(name: str, facts: RunFacts) -> Notebook:
        built.append(Notebook(facts, request.param))
        return built[-1]

    monkeypatch.setattr(follow, "build", build)
    return built


def begun_run(tmp_path: Path) -> RunFolder:
    folder = planned_run(tmp_path / "first")
    folder.recipe_path.write_text("name: tiny\n")
    return folder


def started(folder: RunFolder, *names: str) -> Loggers:
    loggers = Loggers(names or ("tensorboard",), folder)
    loggers.start()
    return loggers


def test_every_update_is_told_once_with_its_finite_metrics(tmp_path: Path, notebooks: list[Notebook]):
    folder = begun_run(tmp_path)
    with started(folder) as loggers:
        tell(folder, "sft-0", [1, 2], at=5.0, loss=0.5, reward_mean=None)
        assert loggers.catch_up() == loggers.catch_up() == []
        tell(folder, "rl-0", [1], at=6.0, loss=0.25)
        loggers.catch_up()
    (notebook,) = notebooks
    assert notebook.begun == [("atomic.sft.seed0.0", 1), ("rl.sft_rl.seed0.0", 1)]
    assert notebook.points == [(1, {"loss": 0.5}), (2, {"loss": 0.5}), (1, {"loss": 0.25})]
    assert notebook.closed
    assert (notebook.facts.project, notebook.facts.name) == ("tiny", "first")


def test_a_resumed_stage_replaces_what_it_does_again_or_is_not_told_twice(tmp_path: Path, notebooks: list[Notebook]):
    folder = begun_run(tmp_path)
    tell(folder, "rl-0", [1, 2, 3, 4], at=5.0, loss=1.0)
    started(folder)  # and killed here: nothing is closed
    with started(folder) as loggers:
        tell(folder, "rl-0", [3, 4, 5], at=9.0, loss=2.0)  # its last state was that of update 2
        loggers.catch_up()
    first, second = notebooks
    assert first.points == [(update, {"loss": 1.0}) for update in (1, 2, 3, 4)]
    again = [3, 4, 5] if second.rewrites else [5]
    assert second.points == [(update, {"loss": 2.0}) for update in again]
    assert second.begun == [("rl.sft_rl.seed0.0", again[0])]
    assert first.facts.key == second.facts.key


def test_updates_made_again_within_one_start_are_seen_too(tmp_path: Path, notebooks: list[Notebook]):
    folder = begun_run(tmp_path)
    with started(folder) as loggers:
        tell(folder, "rl-0", [1, 2, 3], at=5.0, loss=1.0)
        loggers.catch_up()
        tell(folder, "rl-0", [2, 3, 4], at=6.0, loss=2.0)
        loggers.catch_up()
    (notebook,) = notebooks
    assert [update for update, _ in notebook.points] == ([1, 2, 3, 2, 3, 4] if notebook.rewrites else [1, 2, 3, 4])
    assert [update for _, update in notebook.begun] == ([1, 2] if notebook.rewrites else [1])


def test_a_logger_that_is_added_later_is_told_everything(tmp_path: Path, notebooks: list[Notebook]):
    folder = begun_run(tmp_path)
    tell(folder, "rl-0", [1, 2], at=5.0, loss=1.0)
    started(folder, "tensorboard")
    started(folder, "tensorboard", "trackio")
    assert [len(notebook.points) for notebook in notebooks] == [2, 2]  # the third start of a tool had nothing to tell


def test_a_logger_that_fails_is_given_up_with_a_note_and_told_the_rest_later(tmp_path: Path, notebooks: list[Notebook]):
    folder = begun_run(tmp_path)
    loggers, shown = Loggers(("trackio",), folder), Quiet()
    progress = loggers.watching(shown)
    progress.run_started([], [])
    stage = PlannedStage("rl-0", "rl", "rl", 0, None, None, ("sft_rl",))
    tell(folder, "rl-0", [1], at=5.0, loss=1.0)
    progress.stage_advanced(stage, 1, {})
    notebooks[0].breaks = True
    tell(folder, "rl-0", [2], at=5.0, loss=1.0)
    progress.stage_advanced(stage, 2, {})
    tell(folder, "rl-0", [3], at=5.0, loss=1.0)
    progress.stage_finished(stage, 1.0)
    (note,) = shown.notes
    assert note.startswith("logger trackio failed and is told no more: ConnectionError: no route")
    started(folder, "trackio")
    assert notebooks[1].points == [(2, {"loss": 1.0}), (3, {"loss": 1.0})]


def test_the_headline_is_told_without_a_new_update(tmp_path: Path, notebooks: list[Notebook]):
    with started(begun_run(tmp_path)) as loggers:
        loggers.headline({"arms": {"sft": {"levels": {"iid": {"pass_at_1": 0.5}}}}})
    assert notebooks[0].figures == {"sft/iid": 0.5}


def test_the_headline_has_a_number_an_arm_and_level_and_a_line_a_verdict():
    verdict = {"arm": "rl", "base": "sft", "level": "iid", "verdict": "amplification"}
    arms = {"rl": {"levels": {"iid": {"pass_at_1": 0.75, "n": 8}}}, "sft": {}}
    assert headline_of({"arms": arms, "verdict": {"verdicts": [verdict]}}) == (
        {"rl/iid": 0.75},
        "rl against sft on iid: amplification",
    )
    assert headline_of({"arms": arms, "verdict": None})[1] == ""


def test_a_recipe_without_loggers_has_none(tmp_path: Path):
    shown = Quiet()
    with open_loggers((), RunFolder(tmp_path)) as loggers:
        assert loggers.watching(shown) is shown
        assert loggers.headline({"arms": {}}) == []
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rlreason.loggers.registry.find_spec", lambda name: None if name == "wandb" else object())
    with pytest.raises(MachineError, match=r"'wandb' needs the package wandb.*`pip install wandb`, or take it out"):
        open_loggers(("tensorboard", "wandb"), RunFolder(tmp_path))
    check_installed(["tensorboard"])


def test_a_recipe_may_name_every_logger_and_no_other():
    field = Recipe.model_json_schema()["properties"]["loggers"]
    assert sorted(field["items"]["enum"]) == sorted(TOOLS)


def test_how_far_each_was_told_is_kept_in_the_folder(tmp_path: Path, notebooks: list[Notebook]):
    folder = begun_run(tmp_path)
    tell(folder, "rl-0", [1, 2], at=5.0, loss=1.0)
    started(folder)
    kept = json.loads((folder.path / "loggers.json").read_text())
    size = folder.metrics_path.stat().st_size
    assert kept["loggers"] == {"tensorboard": {"bytes": size, "told": {"rl-0": 2}}}
