"""A prompt computed once for its completions gives what rows of their own give: to the last digits, on every path."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from rlreason.engines import policy
from rlreason.engines.objective import UpdateTally, micro_batch_losses, policy_figures
from rlreason.engines.policy import PolicyModule, load_policy, micro_batch, plan_passes
from rlreason.engines.shared_prompts import FAMILIES, can_share, describe_row, flat_row, share_prompts
from rlreason.engines.torch_learner import TorchLearner
from rlreason.recipe.objectives import Correction, Critic, GspoLoss, Kl
from tests.engines.updates import UNEVEN, grouped, policy_settings

CPU = torch.device("cpu")
SHAPE = {
    **{"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0},
}


EVEN = ((8, (5, 5, 5)), (8, (5, 5, 5)))


def gradients_of(module, batch, plan, said, shared, reference=None):
    """(tally, gradient of every weight) of an update's micro-batches."""
    module.zero_grad()
    tally = UpdateTally()
    for loss in micro_batch_losses(module, batch, plan, said, CPU, tally, reference=reference, shared=shared):
        loss.backward()
    return tally, {name: weight.grad.clone() for name, weight in module.named_parameters() if weight.grad is not None}


def assert_same(one, other):
    (tally, gradients), (tally_2, gradients_2) = one, other
    alike = [name for name in tally.sums if name not in ("computed", "padding")]
    assert [tally.sums[name] for name in alike] == pytest.approx([tally_2.sums[name] for name in alike], abs=1e-4)
    assert gradients.keys() == gradients_2.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, gradients_2[name], rtol=1e-4, atol=1e-5)


# --- the row


def test_a_flat_row_worked_by_hand():
    # prompt 11 12 with completions 13 and 14 15; prompt 21 with completion 22
    sequences = [np.array(own) for own in ([11, 12, 13], [21, 22], [11, 12, 14, 15])]
    lengths = np.array([2, 1, 2])
    tokens, places, numbers = flat_row(sequences, lengths)
    assert tokens.tolist() == [[11, 12, 21, 13, 22, 14, 15]]
    assert [each.tolist() for each in places] == [[0, 1, 3], [2, 4], [0, 1, 5, 6]]
    row = describe_row(places, lengths, numbers, CPU)
    assert row.positions.tolist() == [[0, 1, 0, 2, 1, 2, 3]]
    assert row.prompts.tolist() == [[0, 1], [2, 0]]
    assert row.queries.tolist() == [[3, 0], [4, 0], [5, 6]]
    assert row.keys.tolist() == [[0, 1, 3, 0], [2, 4, 0, 0], [0, 1, 5, 6]]
    # the third completion's tokens see three and four keys, the second's first one two
    assert row.visible[2, 0].long().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert row.visible[1, 0, 0].long().tolist() == [1, 1, 0, 0]
    # of [prompts | queries], flattened: 0 1 | 2 _ || 4 _ | 6 _ | 8 9
    assert row.outputs.tolist() == [0, 1, 2, 4, 6, 8, 9]


def test_a_completion_s_first_token_is_predicted_by_the_shared_prompt_s_last():
    batch = grouped(((2, (1, 2)),))
    part = micro_batch(batch, [0, 1], CPU, shared=True)
    assert part.tokens.shape == (1, 5)
    assert part.columns.tolist() == [1, 1, 3]
    assert part.sequence.tolist() == [0, 1, 1]
    assert part.targets.tolist() == [batch.tokens[place] for place in (2, 5, 6)]
    # seven tokens in two sequences, five of them distinct, none padding
    assert (part.held, part.computed, part.padding) == (7, 5, 0)


# --- the model


def tiny(family: str, **changes):
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**SHAPE, **changes}))


@pytest.mark.parametrize("groups", [UNEVEN, EVEN])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_same_logprobs_and_gradients(family, groups):
    model = tiny(family, sliding_window=None)
    assert can_share(model)
    rows, flat = PolicyModule(model), PolicyModule(copy.deepcopy(model))
    share_prompts(flat.model)
    batch, said = grouped(groups), policy_settings()
    everything = [list(range(len(batch.lengths)))]
    found = [
        policy_figures(module, batch, everything, said, CPU, shared=shared).logprobs
        for module, shared in ((rows, False), (flat, True))
    ]
    np.testing.assert_allclose(*found, rtol=0, atol=1e-5)
    assert_same(
        gradients_of(rows, batch, everything, said, shared=False),
        gradients_of(flat, batch, everything, said, shared=True),
    )


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("mistral", {"sliding_window": 4}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
        ("llama", {"attn_implementation": "eager"}),
        ("gpt_neox", {}),
    ],
)
def test_what_is_not_known_to_be_exact_keeps_its_rows(family, changes):
    assert not can_share(tiny(family, **changes))


def test_a_model_that_can_share_still_reads_padded_rows(tied):
    plain, able = AutoModelForCausalLM.from_pretrained(tied), AutoModelForCausalLM.from_pretrained(tied)
    share_prompts(able)
    tokens = torch.arange(2, 32).view(3, 10)
    assert torch.equal(plain(tokens).logits, able(tokens).logits)


# --- the update


OPTIONS = {
    "plain": {},
    "several turns": {"loss_mask": lambda random, total: random.random(total) < 0.6},
    "gspo, one ratio a completion": {"loss": GspoLoss(type="gspo")},
    "sequence correction": {"correction": Correction(level="sequence", high=1.1)},
    "entropy and temperature": {"entropy_weight": 0.2},
    "nucleus": {"top_p": 0.7},
    "later epochs": {"proximal_logprobs": lambda random, total: random.uniform(-6, -5, total).astype(np.float32)},
    "critic": {"critic": Critic(), "returns": lambda random, total: random.normal(size=total).astype(np.float32)},
    "kl": {"kl": Kl(weight=0.3, estimator="k3")},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_update_is_the_same_with_every_option(option, tied, other):
    changes = dict(OPTIONS[option])
    arrays = {name: changes.pop(name) for name in list(changes) if callable(changes[name])}
    said = policy_settings(**changes, reference=other if "kl" in changes else None)
    batch = grouped(UNEVEN, **arrays)
    module, reference = load_policy(tied, said, torch.float32, CPU)
    assert module.shares_prompts
    rows = gradients_of(module, batch, [[0, 3], [1, 2], [], [4, 5]], said, False, reference)
    flat = gradients_of(module, batch, [[5, 0, 2], [], [1, 3, 4]], said, True, reference)
    assert rows[0].metrics(said)["completion_tokens"] == flat[0].metrics(said)["completion_tokens"] > 0
    assert_same(rows, flat)


@pytest.mark.parametrize("budget", [1, 30, 10_000])
def test_a_learner_makes_the_same_update_either_way(tied, budget, monkeypatch):
    batch = grouped(UNEVEN)
    made = []
    for worth in (0.9, 0.0):
        monkeypatch.setattr(policy, "WORTH_SHARING", worth)
        learner = TorchLearner(dtype="float32", micro_batch_tokens=budget)
        learner.begin(tied, policy_settings(), None)
        metrics = learner.update(batch, 1, on_policy=False)
        made.append((metrics, dict(learner.weights()), learner.figures(batch).logprobs))
    (shared, weights, logprobs), (rows, weights_2, logprobs_2) = made
    distinct, all_of_it = 7 + 13 + 12 + 8 + 2 + 6, 3 * 7 + 13 + 2 * 12 + 8 + 2 + 6
    assert shared["trained_tokens"] == rows["trained_tokens"] == all_of_it
    assert shared["computed_tokens"] == (distinct if budget == 10_000 else shared["computed_tokens"])
    assert distinct <= shared["computed_tokens"] <= all_of_it <= rows["computed_tokens"]
    assert shared["padded_share"] == 0.0
    for name in ("loss", "grad_norm", "entropy", "mismatch_mean"):
        assert shared[name] == pytest.approx(rows[name], rel=1e-4), name
    np.testing.assert_allclose(logprobs, logprobs_2, rtol=0, atol=1e-4)
    for name in weights:
        torch.testing.assert_close(weights[name], weights_2[name], rtol=0, atol=2e-5)


def test_prompts_are_shared_only_where_that_saves_enough(tied):
    module, _ = load_policy(tied, policy_settings(), torch.float32, CPU)
    passes = {
        name: plan_passes(module, grouped(groups), 1, 1000)[0].shared
        # 8 + 40 of 2 x 28 tokens are left; 2 + 40 of 2 x 22 are; nothing repeats
        for name, groups in {"long": ((8, (20, 20)),), "short": ((2, (20, 20)),), "alone": ((30, (9,)),)}.items()
    }
    assert passes == {"long": True, "short": False, "alone": False}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(1, 9), min_size=1, max_size=5)), min_size=1),
    st.randoms(),
)
def test_every_token_stands_once_and_sees_its_own_sequence_alone(groups, random):
    batch = grouped(groups)
    order = list(range(len(batch.lengths)))
    random.shuffle(order)
    part = micro_batch(batch, order, CPU, shared=True)
    row = part.shared
    starts = np.cumsum(batch.prompt_lengths + batch.lengths) - (batch.prompt_lengths + batch.lengths)
    for index, sequence in enumerate(order):
        total = int(batch.prompt_lengths[sequence] + batch.lengths[sequence])
        own = batch.tokens[starts[sequence] : starts[sequence] + total]
        assert part.tokens[0, row.keys[index, :total]].tolist() == own.tolist()
        assert row.positions[0, row.keys[index, :total]].tolist() == list(range(total))
    distinct = {
        batch.tokens[at : at + prompt].tobytes(): prompt
        for at, prompt in zip(starts, batch.prompt_lengths, strict=True)
    }
    assert part.tokens.shape[1] == sum(distinct.values()) + batch.lengths.sum()
    assert len(set(row.outputs.tolist())) == part.tokens.shape[1]
