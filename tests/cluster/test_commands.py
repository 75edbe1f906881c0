"""`rlreason cluster render` from a recipe to a file, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from rlreason import cli

KUBERAY = ("--target", "kuberay", "--storage", "/mnt/runs", "--image", "rlreason:1.0")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["rlreason", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def render(monkeypatch: pytest.MonkeyPatch, recipe: str, *arguments: str) -> int:
    return call(monkeypatch, "cluster", "render", recipe, *arguments)


def test_a_recipe_that_ships_is_rendered_with_its_overrides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    changed = ("--set", "resources.learners=2", "--set", "seeds=[3]")
    assert render(monkeypatch, "quickstart", *KUBERAY, *changed) == 0
    config_map, job = yaml.safe_load_all(capsys.readouterr().out)
    assert yaml.safe_load(config_map["data"]["recipe.yaml"])["seeds"] == [3]
    groups = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    limits = [group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in groups]
    assert [limit["nvidia.com/gpu"] for limit in limits] == ["1", "2"]


def test_the_recipes_words_and_overrides_are_those_of_the_script(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    script = tmp_path / "job.sh"
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: quickstart\n")
    slurm = ("--target", "slurm", "--storage", "/scratch/runs", "--output", str(script))
    assert render(monkeypatch, str(mine), *slurm, "--set", "seeds=[3]", "--set", "resources.accelerator=cpu") == 0
    assert capsys.readouterr().out == f"wrote {script}\n"
    # an absolute path: the script may be submitted from anywhere
    words = f"rlreason run {mine} --set 'seeds=[3]' --set resources.accelerator=cpu --folder"
    assert words in script.read_text()
    assert "folder=/scratch/runs/mine\n" in script.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "slurm", "--storage", "runs"), "--storage 'runs' is not allowed; write an absolute path"),
        (("--target", "helm", "--storage", "/r"), "--target 'helm' is not one of kuberay, slurm, autoscaler, skypilot"),
        ((*KUBERAY, "--output", "/nowhere/job.yaml"), "/nowhere/job.yaml cannot be written (No such file"),
        (
            (*KUBERAY, "--gpus-per-node", "2", "--set", "resources.tensor_parallel=4"),
            "does not fit a machine of 2 GPUs",
        ),
    ],
)
def test_what_cannot_be_rendered_is_refused(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert render(monkeypatch, "quickstart", *arguments) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""


@pytest.mark.parametrize("target", ["kuberay", "skypilot"])
def test_a_recipe_whose_files_lie_outside_of_what_travels_is_refused(
    target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "outside.py").write_text("def score(problem, completion, derivation): return 1.0\n")
    (tmp_path / "recipe").mkdir()
    mine = tmp_path / "recipe" / "mine.yaml"
    mine.write_text('extends: quickstart\nrewards: {parts: [{spec: "../outside.py:score"}]}\n')
    assert render(monkeypatch, str(mine), "--target", target, "--storage", "/mnt/runs", "--image", "a") == 2
    assert "rewards.parts[0].spec: '../outside.py'" in capsys.readouterr().err


def test_a_model_of_unknown_sizes_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from rlreason.stages import binding

    monkeypatch.setattr(binding, "read_shape", lambda folder: None)
    assert render(monkeypatch, "quickstart", *KUBERAY) == 2
    assert "tiny-base are not known, so no cluster can be measured" in capsys.readouterr().err
