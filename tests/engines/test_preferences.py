"""DPO in the in-process learner: its loss and gradient against the plain formula, and that nothing depends on cuts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from rlreason.engines.checkpoints import saved_states
from rlreason.engines.protocols import PreferenceJob
from rlreason.engines.torch_learner import TorchLearner
from tests.engines.pairs import ORDER, PAIRS, make_pairs, preference_job


def train(job: PreferenceJob, micro_batch_tokens: int = 24, stop: int | None = None) -> list[dict[str, float]]:
    """What was reported; killed where update `stop` reports."""
    reports: list[dict[str, float]] = []

    def report(update: int, metrics: dict[str, float]) -> None:
        reports.append(dict(metrics))
        if update == stop:
            raise KeyboardInterrupt

    learner = TorchLearner(dtype="float32", micro_batch_tokens=micro_batch_tokens)
    learner.preferences(job, make_pairs(), report)
    return reports


def weights(job: PreferenceJob) -> dict[str, np.ndarray]:
    return load_file(job.output / "model.safetensors")


def completion_logprob(model: torch.nn.Module, prompt: tuple[int, ...], completion: tuple[int, ...]) -> torch.Tensor:
    """From a whole forward pass over this sequence alone, in float64."""
    tokens = torch.tensor([[*prompt, *completion]])
    logprobs = torch.log_softmax(model(input_ids=tokens).logits[0, :-1], dim=-1)
    return logprobs.gather(1, tokens[0, 1:, None])[-len(completion) :].sum()


def reference_loss(policy: torch.nn.Module, reference: torch.nn.Module, pairs: tuple[int, ...]) -> torch.Tensor:
    """Equation 7 of the paper, a pair at a time, at the beta of `preference_job`."""
    losses = []
    for index in pairs:
        prompt, better, worse = PAIRS[index]
        ratios = [
            completion_logprob(policy, prompt, each) - completion_logprob(reference, prompt, each).detach()
            for each in (better, worse)
        ]
        losses.append(-torch.log(torch.sigmoid(0.2 * ratios[0] - 0.2 * ratios[1])))
    return torch.stack(losses).mean()


@pytest.fixture(scope="module")
def job(tied: Path, tmp_path_factory: pytest.TempPathFactory) -> PreferenceJob:
    return preference_job(tied, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def whole(job: PreferenceJob) -> list[dict[str, float]]:
    return train(job)


def test_the_first_update_has_no_preference_and_the_gradient_of_the_formula(job, whole):
    policy = AutoModelForCausalLM.from_pretrained(job.checkpoint, dtype=torch.float64)
    reference_loss(policy, policy, ORDER[:4]).backward()
    norm = math.sqrt(sum(float((parameter.grad**2).sum()) for parameter in policy.parameters()))
    assert whole[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert whole[0]["preference_margin"] == pytest.approx(0.0, abs=1e-6)
    assert whole[0]["grad_norm"] == pytest.approx(norm, rel=1e-4)


def test_later_losses_are_against_the_checkpoint_that_it_started_from(job, tmp_path):
    # at the third update's weights: those of a stage that ends after two with the same learning rates
    optimizer = job.optimizer.model_copy(update={"schedule": "constant"})
    three = replace(job, optimizer=optimizer, output=tmp_path / "three", state=tmp_path / "state")
    two = replace(three, updates=2, output=tmp_path / "two")
    learner, pairs = TorchLearner(dtype="float32", micro_batch_tokens=24), make_pairs()
    learner.preferences(two, replace(pairs, order=pairs.order[:8]), lambda update, metrics: None)
    third = train(three)[2]
    policy, reference = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64) for folder in (two.output, job.checkpoint)
    )
    assert third["loss"] == pytest.approx(reference_loss(policy, reference, ORDER[8:]).item(), rel=1e-5)
    assert third["loss"] < math.log(2) and third["preference_accuracy"] == 1.0


def test_neither_loss_nor_weights_depend_on_the_micro_batches(job, whole, tmp_path):
    other = replace(job, output=tmp_path / "model", state=tmp_path / "state")
    for one, cut in zip(whole, train(other, micro_batch_tokens=1), strict=True):
        assert one == pytest.approx(cut, rel=1e-4, abs=1e-6)
    found, expected = weights(other), weights(job)
    assert max(np.abs(found[name] - expected[name]).max() for name in expected) < 2e-5


def test_a_killed_stage_resumes_to_the_same_weights(job, whole, tmp_path):
    other = replace(job, output=tmp_path / "model", state=tmp_path / "state")
    with pytest.raises(KeyboardInterrupt):
        train(other, stop=3)
    assert [state.name for state in saved_states(other.state)] == ["update-000002"]
    assert train(other) == whole[2:]
    found, expected = weights(other), weights(job)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
