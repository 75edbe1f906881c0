"""The generator that ships, in this process, against transformers on the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from rlreason.engines.protocols import SampleBatch, SamplingSettings
from rlreason.engines.torch_learner import TorchLearner
from rlreason.recipe.stages import Optimizer
from tests.engines.updates import draw_batch, policy_settings

pytestmark = pytest.mark.slow
SAMPLED = SamplingSettings(temperature=1.3, top_p=1.0, max_new_tokens=10)


def start(checkpoint: Path):
    from rlreason.engines.vllm_generator import VllmGenerator

    return VllmGenerator(
        checkpoint,
        dtype="float32",
        max_tokens=64,
        max_concurrent=16,
        kv_cache_bytes=2**25,
        gpu_memory_share=0.4,
        tensor_parallel=1,
    )


@pytest.fixture(scope="module", params=["tied", "untied"])
def served(request, tmp_path_factory):
    """(an engine that was given other weights than it was loaded with, a checkpoint of those)."""
    checkpoint = request.getfixturevalue(request.param)
    learner = TorchLearner(dtype="float32", micro_batch_tokens=64)
    learner.begin(checkpoint, policy_settings(optimizer=Optimizer(learning_rate=3e-2)), None)
    for update in (1, 2, 3):
        learner.update(draw_batch(checkpoint, update), update, on_policy=False)
    folder = tmp_path_factory.mktemp("updated")
    learner.save_model(folder)
    generator = start(checkpoint)
    generator.generate(make_prompts(), range(12), SAMPLED)  # fills the cache of prefixes under the old weights
    generator.load_weights(learner.weights(), policy_version=3)
    yield generator, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    generator.close()


def make_prompts() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    prompts = [random.integers(2, 280, random.integers(4, 30)).astype(np.int32) for _ in range(6)]
    return prompts + prompts


def worst_difference(model, batch: SampleBatch, temperature: float) -> float:
    worst = 0.0
    for prompt, (tokens, logprobs) in zip(make_prompts(), batch.split(), strict=True):
        ids = torch.from_numpy(np.concatenate([prompt, tokens]).astype(np.int64))[None]
        with torch.no_grad():
            logits = model(ids).logits[0, len(prompt) - 1 : -1] / temperature
        expected = torch.log_softmax(logits, -1).gather(1, ids[0, len(prompt) :, None]).squeeze(1).numpy()
        worst = max(worst, float(np.abs(expected - logprobs).max()))
    return worst


def test_logprobs_after_a_weight_sync_are_transformers_of_the_new_weights(served):
    generator, model = served
    batch = generator.generate(make_prompts(), range(12), SAMPLED)
    assert batch.policy_version == 3
    assert worst_difference(model, batch, 1.3) < 1e-4


def test_greedy_decoding_is_transformers_and_scored_at_temperature_one(served):
    generator, model = served
    batch = generator.generate(make_prompts(), [0] * 12, SamplingSettings(0.0, 1.0, 10))
    for prompt, (tokens, _) in zip(make_prompts(), batch.split(), strict=True):
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=10)
        assert tokens.tolist() == expected[0, len(prompt) :].tolist()
    assert worst_difference(model, batch, 1.0) < 1e-4


def test_a_request_s_completion_depends_on_its_prompt_and_seed_alone(served):
    generator, _ = served
    prompts = make_prompts()
    together = [tokens.tolist() for tokens, _ in generator.generate(prompts, range(12), SAMPLED).split()]
    assert together[0] != together[6], "another seed"
    order = [11, 3, 7, 0, 5]
    apart = generator.generate([prompts[index] for index in order], order, SAMPLED)
    assert [tokens.tolist() for tokens, _ in apart.split()] == [together[index] for index in order]


def test_a_checkpoint_is_served_like_weights_are(served, tmp_path):
    generator, model = served
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 0.9
    model.float().save_pretrained(tmp_path)
    generator.load_checkpoint(tmp_path, policy_version=9)
    batch = generator.generate(make_prompts(), range(12), SAMPLED)
    assert batch.policy_version == 9
    assert worst_difference(AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64), batch, 1.3) < 1e-4
