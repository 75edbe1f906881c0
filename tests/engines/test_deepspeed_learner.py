"""The learner that ships against the plain one in this process: same updates, whatever the ranks and the ZeRO stage."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from rlreason.engines.checkpoints import verify
from rlreason.engines.codec import TextCodec
from rlreason.engines.learner_state import LearnerState
from rlreason.engines.protocols import SupervisedJob
from rlreason.engines.torch_learner import TorchLearner
from rlreason.engines.weights import read_checkpoint
from rlreason.recipe.objectives import Critic
from rlreason.recipe.training import Lora, Optimizer
from tests.engines.deepspeed_rank import PolicyWork, ResumeWork, StageWork
from tests.engines.pairs import make_pairs, preference_job
from tests.engines.rows import make_rows, make_step_rows
from tests.engines.updates import UNEVEN, draw_batch, grouped, policy_settings

pytestmark = pytest.mark.slow
RANKS = 2
RATE = 1e-3


def untimed(reports: list[tuple[int, dict[str, float]]]) -> list[tuple[int, dict[str, float]]]:
    """Reports without the seconds that each update took, which must be there."""
    assert all(metrics["seconds"] > 0 for _, metrics in reports)
    return [(update, {**metrics, "seconds": 0.0}) for update, metrics in reports]


def on_ranks(folder: Path, work: list[Any], ranks: int = RANKS) -> list[Any]:
    """Do the work on a group of processes; what rank 0 found."""
    (folder / "work.pkl").write_bytes(pickle.dumps(work))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.engines.deepspeed_rank", str(folder), str(rank), str(ranks), str(port)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=(folder / f"rank-{rank}.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        for rank in range(ranks)
    ]
    try:
        codes = [process.wait(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0] * ranks, (folder / "rank-0.log").read_text()[-3000:]
    return pickle.loads((folder / "found.pkl").read_bytes())


def worst(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    assert found.keys() == expected.keys()
    return max(float(np.abs(found[name] - expected[name]).max()) for name in expected)


@pytest.fixture(scope="module")
def work(tied) -> PolicyWork:
    return PolicyWork(
        checkpoint=tied,
        settings=policy_settings(optimizer=Optimizer(learning_rate=RATE, max_grad_norm=0.5)),
        batches=(draw_batch(tied, 0), draw_batch(tied, 1), grouped(UNEVEN)),  # of the last, prompts are computed once
        zero_stages=(0, 1, 2, 3),
    )


@pytest.fixture(scope="module")
def found(work, tmp_path_factory) -> dict[int, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    results = on_ranks(folder, [work])
    return {
        stage: {
            **result,
            "state": folder / f"zero-{stage}" / "state",
            "saved": load_file(folder / f"zero-{stage}" / "model" / "model.safetensors"),
        }
        for stage, result in zip(work.zero_stages, results, strict=True)
    }


@pytest.fixture(scope="module")
def expected(work) -> dict[str, Any]:
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.begin(work.checkpoint, work.settings, None)
    result: dict[str, Any] = {}
    for update, batch in enumerate(work.batches, 1):
        result[f"metrics_{update}"] = learner.update(batch, update, on_policy=update == 1)
        result[f"after_{update}"] = {name: tensor.numpy().copy() for name, tensor in learner.weights()}
    return result


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_zero_stage_on_two_ranks_makes_the_plain_learner_s_updates(found, expected, stage):
    for update in (1, 2, 3):
        ours, plain = found[stage][f"after_{update}"], expected[f"after_{update}"]
        # Adam divides a gradient by its own size, rounding included, so the few that are nearly 0 may differ by more
        off = np.concatenate([np.abs(ours[name] - plain[name]).ravel() for name in plain])
        assert np.quantile(off, 0.999) < 1e-5 and off.max() < 0.1 * RATE, update
    (metrics,), plain = found[stage]["metrics"], expected["metrics_1"]
    for name in ("loss", "grad_norm", "mismatch_mean", "entropy", "completion_tokens", "trained_tokens"):
        assert metrics[name] == pytest.approx(plain[name], rel=1e-4, abs=1e-6), name
    assert metrics["learning_rate"] == plain["learning_rate"]


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_refused_update_makes_no_step_on_any_rank(found, stage):
    assert found[stage]["refused"].startswith("update 2: generator and learner disagree")
    assert worst(found[stage]["after_refusal"], found[stage]["after_1"]) == 0.0


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_restored_group_makes_the_same_next_update(found, stage):
    assert worst(found[stage]["resumed_3"], found[stage]["after_3"]) == 0.0


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_state_of_two_ranks_is_whole_and_holds_no_pickle_whatever_the_zero_stage(found, expected, stage):
    saved = verify(found[stage]["state"])
    assert {path.name for path in saved.folder.iterdir()} == {"learner.safetensors", "manifest.json"}
    assert (saved.about["learner"], saved.about["ranks"], saved.about["zero_stage"]) == ("deepspeed", RANKS, stage)
    state, name = LearnerState(saved.folder), "model.lm_head.weight"
    name = name if f"weights/{name}" in state else "model.model.embed_tokens.weight"
    assert np.abs(state[f"weights/{name}"].numpy() - expected["after_2"][name.removeprefix("model.")]).max() < 1e-5
    assert state[f"step/{name}"] == 2 and state.names("random") == {"0", "1"}


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_another_number_of_ranks_goes_on_with_a_state(found, expected, work, stage):
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.begin(work.checkpoint, work.settings, found[stage]["state"])
    learner.update(work.batches[2], 3, on_policy=False)
    ours, wanted = {name: tensor.numpy() for name, tensor in learner.weights()}, expected["after_3"]
    off = np.concatenate([np.abs(ours[name] - wanted[name]).ravel() for name in wanted])
    assert np.quantile(off, 0.999) < 1e-5 and off.max() < 0.1 * RATE


def test_three_ranks_go_on_with_a_state_of_the_plain_learner_under_any_zero_stage(work, expected, tmp_path):
    # nothing divides by three, so ZeRO's slices are padded
    plain = TorchLearner(dtype="float32", micro_batch_tokens=24)
    plain.begin(work.checkpoint, work.settings, None)
    for update, batch in enumerate(work.batches[:2], 1):
        plain.update(batch, update, on_policy=False)
    plain.save_state(tmp_path / "state", {})
    plain.end()
    resumed = [
        ResumeWork(work.checkpoint, work.settings, work.batches[2], tmp_path / "state", tmp_path / str(stage), stage)
        for stage in (0, 2, 3)
    ]
    for stage, result in zip((0, 2, 3), on_ranks(tmp_path, resumed, ranks=3), strict=True):
        ours, wanted = result["after_3"], expected["after_3"]
        off = np.concatenate([np.abs(ours[name] - wanted[name]).ravel() for name in wanted])
        assert np.quantile(off, 0.999) < 1e-5 and off.max() < 0.1 * RATE, stage
        assert worst(result["resumed_4"], result["after_4"]) == 0.0, stage


def test_a_critic_adapters_an_average_and_bfloat16_come_back_to_the_bit(tied, tmp_path):
    batch = draw_batch(tied)
    batch = replace(batch, returns=np.linspace(-1, 1, len(batch.advantages)).astype(np.float32))
    tried = [
        (3, {"critic": Critic()}, "float32"),
        (1, {"lora": Lora(rank=2, alpha=4, dropout=0.5)}, "float32"),
        (2, {"optimizer": Optimizer(learning_rate=RATE, ema=0.5)}, "float32"),
        (0, {}, "bfloat16"),
        (1, {}, "bfloat16"),
        (3, {}, "bfloat16"),
    ]
    resumed = [
        ResumeWork(tied, policy_settings(**changes), batch, None, tmp_path / str(number), stage, dtype)
        for number, (stage, changes, dtype) in enumerate(tried)
    ]
    for (stage, changes, dtype), result in zip(tried, on_ranks(tmp_path, resumed), strict=True):
        assert worst(result["after_4"], result["after_3"]) > 0.0, (stage, changes, dtype)
        assert worst(result["resumed_4"], result["after_4"]) == 0.0, (stage, changes, dtype)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_saved_model_holds_the_weights_that_are_served(found, stage):
    served = {name: array for name, array in found[stage]["after_2"].items() if name != "lm_head.weight"}
    assert worst(found[stage]["saved"], served) == 0.0


@pytest.fixture
def job(tied, tmp_path) -> SupervisedJob:
    return SupervisedJob(
        checkpoint=tied,
        output=tmp_path / "trl" / "model",
        state=tmp_path / "trl" / "state",
        updates=4,
        batch_rows=4,
        optimizer=Optimizer(learning_rate=1e-2, warmup_updates=2, schedule="linear"),
        checkpoint_every=3,
        seed=0,
    )


@pytest.mark.parametrize(("ranks", "zero_stage"), [(1, 1), (2, 3)])
def test_a_supervised_stage_under_trl_and_deepspeed_is_the_plain_learner_s(job, tmp_path, ranks, zero_stage):
    rows = make_rows(repeats=6)
    plain = replace(job, output=tmp_path / "plain" / "model", state=tmp_path / "plain" / "state")
    reports: list[dict[str, float]] = []
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.supervised(plain, rows, lambda update, metrics: reports.append(dict(metrics)))

    ((figures, trl_reports),) = on_ranks(tmp_path, [StageWork(job, rows, zero_stage)], ranks)
    assert figures == {"updates_run": 4.0, "deepspeed": 1.0}
    assert [update for update, _ in trl_reports] == [1, 2, 3, 4]
    for (_, found), wanted in zip(trl_reports, reports, strict=True):
        assert found["learning_rate"] == pytest.approx(wanted["learning_rate"])
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
        assert found["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-3)
    found, wanted = (dict(read_checkpoint(folder)) for folder in (job.output, plain.output))
    found.pop("lm_head.weight", None)  # TRL writes a tied head out
    assert worst(found, wanted) < 1e-4


@pytest.mark.parametrize(("ranks", "zero_stage"), [(1, 1), (2, 3)])
def test_a_step_scorer_under_deepspeed_is_the_plain_learner_s(job, tmp_path, ranks, zero_stage):
    rows = make_step_rows(repeats=6)
    job = replace(job, objective="step_labels")
    plain = replace(job, output=tmp_path / "plain" / "model", state=tmp_path / "plain" / "state")
    reports: list[dict[str, float]] = []
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.supervised(plain, rows, lambda update, metrics: reports.append(dict(metrics)))
    ((figures, trainer_reports),) = on_ranks(tmp_path, [StageWork(job, rows, zero_stage)], ranks)
    assert figures == {"updates_run": 4.0, "deepspeed": 1.0}
    for (_, found), wanted in zip(trainer_reports, reports, strict=True):
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
        assert found["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-3)
    found, wanted = (load_file(folder / "model.safetensors") for folder in (job.output, plain.output))
    assert "score.weight" in found and worst(found, wanted) < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": Optimizer(learning_rate=1e-2, warmup_updates=2, schedule="linear", ema=0.5)},
        {"lora": Lora(rank=2, alpha=4)},
    ],
    ids=["average", "adapters"],
)
def test_what_a_stage_under_trl_leaves_instead_of_its_weights_is_the_plain_learner_s(job, tmp_path, changes):
    rows, job = make_rows(repeats=6), replace(job, **changes)
    plain = replace(job, output=tmp_path / "plain" / "model", state=tmp_path / "plain" / "state")
    TorchLearner(dtype="float32", micro_batch_tokens=24).supervised(plain, rows, lambda update, metrics: None)
    on_ranks(tmp_path, [StageWork(job, rows, zero_stage=1)])
    whole = dict(read_checkpoint(job.output))
    assert worst(whole, dict(read_checkpoint(plain.output))) < 1e-4
    # as if killed after the state of update 3
    shutil.rmtree(job.output)
    ((figures, _),) = on_ranks(tmp_path, [StageWork(job, rows, zero_stage=1)])
    assert figures["updates_run"] == 1.0
    assert worst(dict(read_checkpoint(job.output)), whole) == 0.0


def test_the_number_loss_under_trl_and_deepspeed_is_the_plain_learner_s(job, tmp_path):
    (digits,) = TextCodec(job.checkpoint).encode(["0123456789"])
    sequences = [(11, 12, *digits[at : at + 2].tolist(), 1) for at in (0, 3, 7, 1)] + [(11, 12, 13, 1)]
    rows, job = make_rows(repeats=6, sequences=sequences), replace(job, number_loss=0.3)
    plain = replace(job, output=tmp_path / "plain" / "model", state=tmp_path / "plain" / "state")
    reports: list[dict[str, float]] = []
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.supervised(plain, rows, lambda update, metrics: reports.append(dict(metrics)))
    ((_, trl_reports),) = on_ranks(tmp_path, [StageWork(job, rows, zero_stage=1)])
    assert len(trl_reports) == len(reports) == 4
    for (_, found), wanted in zip(trl_reports, reports, strict=True):
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
        assert found["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-3)
    found, wanted = (dict(read_checkpoint(folder)) for folder in (job.output, plain.output))
    found.pop("lm_head.weight", None)  # TRL writes a tied head out
    assert worst(found, wanted) < 1e-4


@pytest.mark.parametrize(("ranks", "zero_stage"), [(1, 1), (2, 3)])
def test_preferences_under_trl_and_deepspeed_are_the_plain_learner_s(tied, tmp_path, ranks, zero_stage):
    trl, plain = (preference_job(tied, tmp_path / name) for name in ("trl", "plain"))
    reports: list[dict[str, float]] = []
    learner = TorchLearner(dtype="float32", micro_batch_tokens=24)
    learner.preferences(plain, make_pairs(), lambda update, metrics: reports.append(dict(metrics)))
    ((figures, trl_reports),) = on_ranks(tmp_path, [StageWork(trl, make_pairs(), zero_stage)], ranks)
    assert figures == {"updates_run": 3.0, "deepspeed": 1.0}
    assert trl_reports[0][1]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert [update for update, _ in trl_reports] == [1, 2, 3]
    for (_, found), wanted in zip(trl_reports, reports, strict=True):
        assert found["preference_accuracy"] == wanted["preference_accuracy"]
        assert found["learning_rate"] == pytest.approx(wanted["learning_rate"])
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
        assert found["preference_margin"] == pytest.approx(wanted["preference_margin"], rel=1e-3, abs=1e-5)
        assert found["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-3)
    found, wanted = (dict(read_checkpoint(job.output)) for job in (trl, plain))
    found.pop("lm_head.weight", None)  # TRL writes a tied head out
    # Adam divides a gradient by its own size, rounding included, so the few that are nearly 0 may differ by more
    off = np.concatenate([np.abs(found[name] - wanted[name]).ravel() for name in wanted])
    assert np.quantile(off, 0.999) < 1e-5 and off.max() < 0.1 * trl.optimizer.learning_rate


def test_a_killed_preference_stage_resumes_under_trl_to_the_same_weights(tied, tmp_path):
    work = [StageWork(preference_job(tied, tmp_path / "trl"), make_pairs(), zero_stage=1)]
    job = work[0].job
    ((_, reports),) = on_ranks(tmp_path, work)
    whole = read_checkpoint(job.output)
    shutil.rmtree(job.output)
    ((figures, again),) = on_ranks(tmp_path, work)
    assert figures["updates_run"] == 1.0
    assert worst(dict(read_checkpoint(job.output)), dict(whole)) == 0.0
    assert untimed(again) == untimed(reports)


def test_a_killed_supervised_stage_resumes_under_trl_to_the_same_weights(job, tmp_path):
    work = [StageWork(job, make_rows(repeats=6), zero_stage=1)]
    ((_, reports),) = on_ranks(tmp_path, work)
    whole = read_checkpoint(job.output)
    # as if killed after the state of update 3
    shutil.rmtree(job.output)
    ((figures, again),) = on_ranks(tmp_path, work)
    assert figures["updates_run"] == 1.0
    assert worst(dict(read_checkpoint(job.output)), dict(whole)) == 0.0
    # what the killed driver may not have written down is reported again, with the seconds that it took
    assert untimed(again) == untimed(reports)
    assert again[:3] == reports[:3]
