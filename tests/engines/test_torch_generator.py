import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from rlreason.engines.protocols import SamplingSettings
from rlreason.engines.torch_generator import TorchGenerator, draw
from rlreason.engines.torch_learner import TorchLearner
from tests.engines.updates import draw_batch, policy_settings

SAMPLED = SamplingSettings(temperature=1.5, top_p=1.0, max_new_tokens=12)
GREEDY = SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=12)
END = 1


def make_prompts(count: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(2, 280, random.integers(1, 9)).astype(np.int32) for _ in range(count)]


@pytest.fixture(scope="module")
def generator(tied):
    return TorchGenerator(tied, dtype="float32", max_concurrent=64)


@pytest.fixture(scope="module")
def ending(tied, tmp_path_factory):
    """`tied` with an end token that it samples often: its embedding points where the hidden states do on average."""
    model = AutoModelForCausalLM.from_pretrained(tied)
    with torch.no_grad():
        ids = torch.arange(2, 258).view(32, 8)
        hidden = model.model(ids).last_hidden_state.reshape(-1, 64)
        model.model.embed_tokens.weight[END] = hidden.mean(dim=0) / hidden.mean(dim=0).norm() * 1.5
    folder = tmp_path_factory.mktemp("ending")
    model.save_pretrained(folder)
    return folder


def completions(batch):
    return [(tokens.tolist(), logprobs.tolist()) for tokens, logprobs in batch.split()]


def test_greedy_decoding_equals_transformers_generate(tied, generator):
    model = AutoModelForCausalLM.from_pretrained(tied)
    prompts = make_prompts(5)
    batch = generator.generate(prompts, [0] * 5, GREEDY)
    for prompt, (tokens, _) in zip(prompts, batch.split(), strict=True):
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)
        assert tokens.tolist() == expected[0, len(prompt) :].tolist()


def test_decoding_stops_at_the_end_token_which_is_kept_and_scored(ending):
    generator = TorchGenerator(ending, dtype="float32", max_concurrent=64)
    batch = generator.generate(make_prompts(64), range(64), SAMPLED)
    assert 5 < batch.stopped.sum() < 64, "the model was made to stop often, and not always"
    for (tokens, logprobs), stopped in zip(batch.split(), batch.stopped, strict=True):
        assert (tokens == END).sum() == stopped
        assert not stopped or tokens[-1] == END
        assert stopped or len(tokens) == SAMPLED.max_new_tokens
        assert len(logprobs) == len(tokens)


def test_a_sequence_that_ended_changes_nothing_for_those_that_go_on(ending):
    generator = TorchGenerator(ending, dtype="float32", max_concurrent=64)
    prompts = make_prompts(16)
    together = completions(generator.generate(prompts, range(16), SAMPLED))
    for index, prompt in enumerate(prompts):
        (alone,) = completions(generator.generate([prompt], [index], SAMPLED))
        assert alone[0] == together[index][0]
        assert alone[1] == pytest.approx(together[index][1], abs=1e-5)


@pytest.mark.parametrize("max_concurrent", [1, 3, 64])
def test_a_request_s_completion_depends_on_its_prompt_and_seed_alone(tied, generator, max_concurrent):
    prompts = make_prompts(8) + make_prompts(4)  # the last four repeat
    seeds = list(range(100, 112))
    expected = completions(generator.generate(prompts, seeds, SAMPLED))
    order = np.random.default_rng(1).permutation(12)
    shuffled = TorchGenerator(tied, dtype="float32", max_concurrent=max_concurrent).generate(
        [prompts[index] for index in order], [seeds[index] for index in order], SAMPLED
    )
    for (tokens, logprobs), index in zip(completions(shuffled), order, strict=True):
        assert tokens == expected[index][0]
        assert logprobs == pytest.approx(expected[index][1], abs=1e-5)


def test_other_seeds_give_other_completions_of_the_same_prompt(generator):
    (prompt,) = make_prompts(1)
    batch = generator.generate([prompt] * 8 + [prompt], [*range(8), 0], SAMPLED)
    texts = [tuple(tokens) for tokens, _ in completions(batch)]
    assert len(set(texts)) == 8
    assert texts[8] == texts[0]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0, 1.5])
def test_logprobs_equal_those_of_a_full_forward_pass(tied, generator, temperature):
    model = AutoModelForCausalLM.from_pretrained(tied, dtype=torch.float64)
    prompts = make_prompts(6)
    batch = generator.generate(prompts, range(6), SamplingSettings(temperature, 1.0, 12))
    for prompt, (tokens, logprobs) in zip(prompts, batch.split(), strict=True):
        ids = torch.from_numpy(np.concatenate([prompt, tokens]).astype(np.int64))[None]
        with torch.no_grad():
            logits = model(ids).logits[0, len(prompt) - 1 : -1] / (temperature or 1.0)
        expected = torch.log_softmax(logits, -1).gather(1, ids[0, len(prompt) :, None]).squeeze(1)
        assert logprobs == pytest.approx(expected.numpy(), abs=1e-5)


def settings_of(temperature: float, top_p: float) -> SamplingSettings:
    return SamplingSettings(temperature, top_p, 1)


def test_draws_worked_by_hand():
    # probabilities 1/8, 1/2, 3/8: cumulative 0.125, 0.625, 1
    logits = torch.tensor([[1.0, 4.0, 3.0]]).log().repeat(5, 1)
    uniforms = torch.tensor([0.0, 0.1249, 0.1251, 0.6249, 0.9999], dtype=torch.float64)
    tokens, logprobs = draw(logits, uniforms, settings_of(1.0, 1.0))
    assert tokens.tolist() == [0, 0, 1, 1, 2]
    assert logprobs.exp().tolist() == pytest.approx([1 / 8, 1 / 8, 1 / 2, 1 / 2, 3 / 8])
    # temperature 1/2 squares them: 1/26, 16/26, 9/26
    tokens, logprobs = draw(logits, uniforms, settings_of(0.5, 1.0))
    assert tokens.tolist() == [0, 1, 1, 1, 2]
    assert logprobs.exp().tolist() == pytest.approx([1 / 26, 16 / 26, 16 / 26, 16 / 26, 9 / 26])


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.4, {1: 1.0}), (0.5, {1: 1.0}), (0.51, {1: 4 / 7, 2: 3 / 7}), (0.9, {0: 1 / 8, 1: 1 / 2, 2: 3 / 8})],
)
def test_top_p_keeps_the_fewest_tokens_that_reach_it_and_renormalises(top_p, kept):
    logits = torch.tensor([[1.0, 4.0, 3.0]]).log().repeat(200, 1)
    uniforms = torch.linspace(0, 1 - 1e-9, 200, dtype=torch.float64)
    tokens, logprobs = draw(logits, uniforms, settings_of(1.0, top_p))
    found = dict(zip(tokens.tolist(), logprobs.exp().tolist(), strict=True))
    assert found == pytest.approx(kept)
    for token, probability in kept.items():
        assert (tokens == token).double().mean().item() == pytest.approx(probability, abs=0.01)


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from([0.3, 1.0]), st.sampled_from([0.3, 0.8, 1.0]))
def test_what_is_drawn_is_possible_and_its_logprob_is_finite(seed, temperature, top_p):
    logits = torch.randn(16, 40, generator=torch.Generator().manual_seed(seed)) * 8
    logits[:, ::3] = -torch.inf
    uniforms = torch.from_numpy(np.random.default_rng(seed).random(16))
    uniforms[:2] = torch.tensor([0.0, np.nextafter(1.0, 0.0)])
    tokens, logprobs = draw(logits, uniforms, settings_of(temperature, top_p))
    assert (tokens % 3 != 0).all()
    assert torch.isfinite(logprobs).all() and (logprobs <= 1e-6).all()


def test_greedy_takes_the_largest_logit_and_scores_it_at_temperature_one():
    tokens, logprobs = draw(torch.tensor([[1.0, 4.0, 3.0]]).log(), torch.zeros(1).double(), settings_of(0.0, 0.1))
    assert tokens.tolist() == [1]
    assert logprobs.exp().tolist() == pytest.approx([1 / 2])


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_new_weights_are_served_whole_and_under_their_version(kind, tmp_path, request):
    start = request.getfixturevalue(kind)
    learner = TorchLearner(dtype="float32", micro_batch_tokens=64)
    learner.begin(start, policy_settings(), None)
    learner.update(draw_batch(start), 1, on_policy=True)
    stale = TorchGenerator(start, dtype="float32", max_concurrent=8)
    before = completions(stale.generate(make_prompts(4), range(4), SAMPLED))
    stale.load_weights(learner.weights(), policy_version=7)
    after = stale.generate(make_prompts(4), range(4), SAMPLED)
    assert after.policy_version == 7
    assert completions(after) != before
    learner.save_model(tmp_path)
    fresh = TorchGenerator(tmp_path, dtype="float32", max_concurrent=8)
    assert completions(after) == completions(fresh.generate(make_prompts(4), range(4), SAMPLED))


def test_another_checkpoint_can_be_served_by_the_same_engine(tied, other):
    generator = TorchGenerator(tied, dtype="float32", max_concurrent=8)
    generator.load_checkpoint(other, policy_version=2)
    expected = TorchGenerator(other, dtype="float32", max_concurrent=8).generate(make_prompts(3), range(3), SAMPLED)
    batch = generator.generate(make_prompts(3), range(3), SAMPLED)
    assert completions(batch) == completions(expected)
    assert (expected.policy_version, batch.policy_version) == (0, 2)
    generator.close()
    generator.close()
