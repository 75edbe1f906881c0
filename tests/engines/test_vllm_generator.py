"""The generator that ships, in this process, against transformers on the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlreason.engines.objective import check_mismatch
from rlreason.engines.protocols import PolicyBatch, SampleBatch, SamplingSettings
from rlreason.engines.scratch import make_model
from rlreason.engines.torch_learner import TorchLearner
from rlreason.errors import WeightSyncMismatch
from rlreason.recipe.schema import Architecture
from rlreason.recipe.training import Optimizer
from tests.engines.conftest import WORDS
from tests.engines.updates import draw_batch, policy_settings

pytestmark = pytest.mark.slow
SAMPLED = SamplingSettings(temperature=1.3, top_p=1.0, max_new_tokens=10)


def start(checkpoint: Path, max_tokens: int = 64):
    from rlreason.engines.vllm_generator import VllmGenerator

    return VllmGenerator(
        checkpoint,
        dtype="float32",
        max_tokens=max_tokens,
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


# --- learner and generator on the same tokens: what makes the ratio of a policy gradient 1


def log_ratios(learner: TorchLearner, generator, prompts: list[np.ndarray], settings: SamplingSettings) -> np.ndarray:
    """log learner - log generator of every token that the generator samples."""
    samples = generator.generate(prompts, range(len(prompts)), settings).split()
    total = sum(len(tokens) for tokens, _ in samples)
    batch = PolicyBatch(
        tokens=np.concatenate([part for pair in zip(prompts, samples, strict=True) for part in (pair[0], pair[1][0])]),
        prompt_lengths=np.array([len(prompt) for prompt in prompts], dtype=np.int32),
        lengths=np.array([len(tokens) for tokens, _ in samples], dtype=np.int32),
        generator_logprobs=np.concatenate([logprobs for _, logprobs in samples]),
        advantages=np.zeros(total, dtype=np.float32),
        weights=np.zeros(total, dtype=np.float32),
    )
    return learner.figures(batch).logprobs - batch.generator_logprobs


def peaked(checkpoint: Path, folder: Path) -> Path:
    """The checkpoint with weights three times as large, so that its distributions are far from flat."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3 if parameter.dim() > 1 else 1
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("settings", [SamplingSettings(0.6, 0.9, 40), SamplingSettings(1.0, 1.0, 40)])
def test_the_ratio_of_learner_to_generator_is_one_where_nothing_was_learned(settings, tied, tmp_path, capsys):
    checkpoint = peaked(tied, tmp_path)
    learner = TorchLearner(dtype="float32", micro_batch_tokens=256)
    rate = Optimizer(learning_rate=1e-30)
    learner.begin(
        checkpoint, policy_settings(optimizer=rate, temperature=settings.temperature, top_p=settings.top_p), None
    )
    generator = start(checkpoint)
    found = []
    for update in range(1, 4):  # every sync sends the same weights again
        found.append(log_ratios(learner, generator, make_prompts(), settings))
        learner.update(draw_batch(checkpoint, update), update, on_policy=False)
        generator.load_weights(learner.weights(), policy_version=update)
    generator.close()
    off = np.abs(np.concatenate(found))
    with capsys.disabled():
        print(
            f"\ntemperature {settings.temperature}, top-p {settings.top_p}: {len(off)} tokens, |log ratio| mean "
            f"{off.mean():.1e}, largest {off.max():.1e}"
        )
    assert off.max() < 1e-4


def test_keys_and_values_cached_under_old_weights_would_be_seen(tmp_path, monkeypatch):
    shape = Architecture(layers=2, width=64, heads=2, max_positions=512)
    checkpoint = make_model(tmp_path / "long", shape, WORDS, seed=5)
    random = np.random.default_rng(0)
    prompts = [random.integers(2, 280, 300).astype(np.int32) for _ in range(4)]  # longer than a block of the cache
    settings = SamplingSettings(1.0, 1.0, 8)
    learner = TorchLearner(dtype="float32", micro_batch_tokens=512)
    learner.begin(checkpoint, policy_settings(optimizer=Optimizer(learning_rate=3e-2), temperature=1.0), None)
    generator = start(checkpoint, max_tokens=320)
    assert np.abs(log_ratios(learner, generator, prompts, settings)).mean() < 1e-4
    learner.update(draw_batch(checkpoint), 1, on_policy=False)
    with monkeypatch.context() as patch:
        patch.setattr(generator._llm, "reset_prefix_cache", lambda: True)
        generator.load_weights(learner.weights(), policy_version=1)
    stale = float(np.abs(log_ratios(learner, generator, prompts, settings)).mean())
    with pytest.raises(WeightSyncMismatch, match="no step was made"):
        check_mismatch({"mismatch_mean": stale}, policy_settings(), torch.float32, 2)
    generator.load_weights(learner.weights(), policy_version=1)
    assert np.abs(log_ratios(learner, generator, prompts, settings)).mean() < 1e-4
    generator.close()
