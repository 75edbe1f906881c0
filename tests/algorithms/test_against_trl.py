"""The same tensors through TRL's own code and through ours: equal to 1e-5, or a test named so where they differ.

TRL computes its loss in a method of its trainer, and its advantages and importance weights in the middle of one that
also generates. The first is called unbound on a stand-in for the trainer; of the second, the statements in question are
taken from its source and run. No arithmetic of TRL's is written down here.
"""

import ast
import inspect
import textwrap
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlreason.algorithms.advantages import batch_advantages, group_relative_advantages, leave_one_out_advantages
from rlreason.algorithms.corrections import importance_weights
from rlreason.algorithms.denominators import token_weights
from rlreason.algorithms.kl import kl_estimate
from rlreason.algorithms.losses import cispo, clipped_surrogate, sequence_surrogate

SEQUENCES, WIDTH, BUDGET = 6, 9, 12
CLIP_LOW, CLIP_HIGH, DELTA, BETA = 0.2, 0.28, 2.0, 0.05


@pytest.fixture(scope="module")
def trl():
    from trl.trainer import grpo_trainer, rloo_trainer

    return SimpleNamespace(grpo=grpo_trainer, rloo=rloo_trainer)


@pytest.fixture
def batch():
    """Padded [B, T] logprobs with ratios on all sides of every clip, advantages of both signs, lengths from 1 to T."""
    random = torch.Generator().manual_seed(17)
    lengths = torch.tensor([9, 4, 1, 7, 5, 9])
    generator = -3 * torch.rand(SEQUENCES, WIDTH, dtype=torch.float64, generator=random)
    off = 0.6 * torch.randn(SEQUENCES, WIDTH, dtype=torch.float64, generator=random)
    reference = generator + 0.3 * torch.randn(SEQUENCES, WIDTH, dtype=torch.float64, generator=random)
    advantages = torch.tensor([1.2, -0.8, 0.5, -1.5, 0.0, -0.4], dtype=torch.float64)
    mask = (torch.arange(WIDTH) < lengths[:, None]).long()
    return SimpleNamespace(
        lengths=lengths,
        generator=generator,
        learner=generator + off,
        reference=reference,
        advantages=advantages,
        mask=mask,
    )


def trainer(loss_type: str, learner: torch.Tensor, **options: Any) -> SimpleNamespace:
    """What `GRPOTrainer._compute_loss` reads of a trainer: one process, no accumulation, no vLLM."""
    settings = SimpleNamespace(delta=options.pop("delta", None), use_bias_correction_kl=False, steps_per_generation=1)
    return SimpleNamespace(
        args=settings,
        loss_type=loss_type,
        importance_sampling_level=options.pop("level", "token"),
        beta=options.pop("beta", 0.0),
        epsilon_low=CLIP_LOW,
        epsilon_high=options.pop("epsilon_high", CLIP_HIGH),
        max_completion_length=BUDGET,
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
        current_gradient_accumulation_steps=1,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _get_per_token_logps_and_entropies=lambda *_, **__: (learner, torch.zeros_like(learner), None),
        **options,
    )


def theirs(module: Any, name: str, batch: SimpleNamespace, stand_in: SimpleNamespace, learner: torch.Tensor) -> Any:
    """(loss, its gradient [B, T]) of a trainer's `_compute_loss`."""
    no_prompt = batch.mask[:, :0]
    inputs = {
        "prompt_ids": no_prompt,
        "prompt_mask": no_prompt,
        "completion_ids": torch.zeros_like(batch.mask),
        "completion_mask": batch.mask,
        "advantages": batch.advantages,
        "old_per_token_logps": batch.generator,
        "old_logps": (batch.generator * batch.mask).sum(1),
        "ref_per_token_logps": batch.reference,
        "num_items_in_batch": batch.mask.sum(),
    }
    loss = getattr(module, name)._compute_loss(stand_in, None, inputs)
    return loss.item(), torch.autograd.grad(loss, learner)[0]


def grpo_loss(trl: SimpleNamespace, batch: SimpleNamespace, loss_type: str, **options: Any) -> Any:
    learner = batch.learner.clone().requires_grad_()
    return theirs(trl.grpo, "GRPOTrainer", batch, trainer(loss_type, learner, **options), learner)


def ours(batch: SimpleNamespace, denominator: str, surrogate: Any, beta: float = 0.0) -> tuple[float, torch.Tensor]:
    """(loss, its gradient [B, T]) from the tokens of all completions in one row."""
    learner = batch.learner.clone().requires_grad_()
    at = batch.mask.bool()
    sequence = torch.arange(SEQUENCES)[:, None].expand(-1, WIDTH)[at]
    weights = torch.from_numpy(token_weights(batch.lengths.numpy(), denominator, BUDGET))[sequence]
    tokens = surrogate(learner[at], batch.generator[at], batch.advantages[sequence], sequence).loss
    if beta:
        tokens = tokens + beta * kl_estimate(learner[at], batch.reference[at], "k3")
    loss = (tokens * weights).sum()
    return loss.item(), torch.autograd.grad(loss, learner)[0]


def assert_equal(one: tuple[float, torch.Tensor], other: tuple[float, torch.Tensor]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-5, abs=1e-8)
    torch.testing.assert_close(one[1], other[1], rtol=1e-5, atol=1e-8)


def clipped(new: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, sequence: torch.Tensor) -> Any:
    return clipped_surrogate(new, old, advantages, CLIP_LOW, CLIP_HIGH)


def dual_clipped(new: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, sequence: torch.Tensor) -> Any:
    return clipped_surrogate(new, old, advantages, CLIP_LOW, CLIP_HIGH, DELTA)


def sequence_clipped(new: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, sequence: torch.Tensor) -> Any:
    return sequence_surrogate(new, old, advantages, sequence, CLIP_LOW, CLIP_HIGH)


DENOMINATORS = [("grpo", "sequences"), ("bnpo", "tokens"), ("dr_grpo", "constant"), ("dapo", "tokens")]


@pytest.mark.parametrize(("loss_type", "denominator"), DENOMINATORS)
def test_the_clipped_loss_is_trl_s(trl, batch, loss_type, denominator):
    assert_equal(ours(batch, denominator, clipped), grpo_loss(trl, batch, loss_type))


@pytest.mark.parametrize(("loss_type", "denominator"), DENOMINATORS)
def test_the_loss_with_k3_is_trl_s_with_beta(trl, batch, loss_type, denominator):
    assert_equal(ours(batch, denominator, clipped, beta=BETA), grpo_loss(trl, batch, loss_type, beta=BETA))


@pytest.mark.parametrize(("loss_type", "denominator"), DENOMINATORS)
def test_the_dual_clip_is_trl_s_delta(trl, batch, loss_type, denominator):
    found = ours(batch, denominator, dual_clipped)
    assert_equal(found, grpo_loss(trl, batch, loss_type, delta=DELTA))
    assert found[0] != pytest.approx(ours(batch, denominator, clipped)[0], rel=1e-4)  # it does bind here


def test_the_sequence_surrogate_is_trl_s_sequence_level(trl, batch):
    # TRL refuses the other denominators with it
    found = ours(batch, "sequences", sequence_clipped)
    assert_equal(found, grpo_loss(trl, batch, "grpo", level="sequence"))


def weighted(clip_low: float, clip_high: float) -> Any:
    return lambda new, old, advantages, sequence: cispo(new, old, advantages, clip_low, clip_high)


def test_cispo_is_trl_s_which_names_the_largest_weight_and_not_its_distance_from_one(trl, batch):
    assert_equal(ours(batch, "tokens", weighted(1.0, 0.8)), grpo_loss(trl, batch, "cispo", epsilon_high=1.8))


def test_cispo_differs_from_trl_s_where_a_lower_bound_is_asked_for(trl, batch):
    # The paper has both bounds and leaves the lower one open in its runs; TRL has the upper one alone.
    their_loss, _ = grpo_loss(trl, batch, "cispo", epsilon_high=1.8)
    assert ours(batch, "tokens", weighted(0.2, 0.8))[0] != pytest.approx(their_loss, rel=1e-2)


def test_the_clipped_share_is_that_of_trl(trl, batch):
    learner = batch.learner.clone().requires_grad_()
    stand_in = trainer("dapo", learner)
    theirs(trl.grpo, "GRPOTrainer", batch, stand_in, learner)
    at = batch.mask.bool()
    advantages = batch.advantages[:, None].expand(-1, WIDTH)[at]
    share = clipped(batch.learner[at], batch.generator[at], advantages, at).clipped.double().mean().item()
    assert [share] == pytest.approx(stand_in._metrics["train"]["clip_ratio/region_mean"])


def test_an_empty_completion_differs_trl_counts_it_in_the_mean_over_sequences(trl, batch):
    # TRL's "grpo" divides by all sequences of the batch, ours ("sequences") by those that have trained tokens: an
    # unscored rollout must not make the step of the others smaller.
    batch.lengths[2], batch.mask[2] = 0, 0
    loss, gradient = ours(batch, "sequences", clipped)
    their_loss, their_gradient = grpo_loss(trl, batch, "grpo")
    assert loss * (SEQUENCES - 1) / SEQUENCES == pytest.approx(their_loss, rel=1e-5)
    torch.testing.assert_close(gradient * (SEQUENCES - 1) / SEQUENCES, their_gradient, rtol=1e-5, atol=1e-8)


def test_micro_batches_differ_trl_s_bnpo_is_a_mean_of_their_means(trl, batch):
    # Two micro-batches of three sequences with 14 and 21 tokens: accumulated, a token of the first weighs more in TRL's
    # "bnpo". Our weights come from the whole update.
    whole, _ = grpo_loss(trl, batch, "bnpo")
    accumulated = 0.0
    for half in (slice(0, 3), slice(3, 6)):
        part = SimpleNamespace(**{name: value[half] for name, value in vars(batch).items()})
        learner = part.learner.clone().requires_grad_()
        stand_in = trainer("bnpo", learner)
        stand_in.current_gradient_accumulation_steps = 2
        accumulated += theirs(trl.grpo, "GRPOTrainer", part, stand_in, learner)[0]
    assert accumulated != pytest.approx(whole, rel=1e-2)
    assert ours(batch, "tokens", clipped)[0] == pytest.approx(whole, rel=1e-5)


def rloo_loss(trl: SimpleNamespace, batch: SimpleNamespace) -> Any:
    learner = batch.learner.clone().requires_grad_()
    return theirs(trl.rloo, "RLOOTrainer", batch, trainer("", learner), learner)


def test_the_rloo_loss_is_trl_s_while_on_policy(trl, batch):
    # TRL's RLOO sums a completion's logprobs and averages over completions: our constant denominator, times its budget
    batch.learner = batch.generator
    _, gradient = ours(batch, "constant", clipped)
    _, their_gradient = rloo_loss(trl, batch)
    torch.testing.assert_close(BUDGET * gradient * batch.mask, their_gradient, rtol=1e-5, atol=1e-8)


def test_the_rloo_loss_differs_off_policy_trl_clips_the_product_of_a_completion_s_ratios(trl, batch):
    # neither the token's ratio nor GSPO's geometric mean; a long completion leaves the clip after a small step
    _, their_gradient = rloo_loss(trl, batch)
    for surrogate in (clipped, sequence_clipped):
        _, gradient = ours(batch, "constant", surrogate)
        assert not torch.allclose(BUDGET * gradient, their_gradient, rtol=1e-2)


def run_statements(module: Any, name: str, first: str, last: str, **given: Any) -> dict[str, Any]:
    """Run statements of a trainer's generating method, from the one that starts with `first` to that with `last`."""
    source = textwrap.dedent(inspect.getsource(getattr(module, name)._generate_and_score_completions))
    bodies = [node.body for node in ast.walk(ast.parse(source)) if isinstance(getattr(node, "body", None), list)]
    statements = sorted((one for body in bodies for one in body), key=lambda one: one.lineno)
    begin = next(one for one in statements if ast.get_source_segment(source, one).startswith(first))
    body = next(body for body in bodies if begin in body)
    after = body[body.index(begin) :]
    end = next(at for at, one in enumerate(after) if ast.get_source_segment(source, one).startswith(last))
    scope = vars(module) | given
    exec(compile(ast.Module(after[: end + 1], type_ignores=[]), name, "exec"), scope)
    return scope


REWARDS = torch.tensor(
    [[1.0, 0.0, 0.0, 0.5], [0.2, 0.9, torch.nan, 0.4], [1.0, 1.0, 1.0, 1.0], [torch.nan, 0.3, torch.nan, torch.nan]],
    dtype=torch.float64,
)
SCORED = ~REWARDS.isnan().numpy()


def trl_advantages(trl: SimpleNamespace, scale: str) -> np.ndarray:
    stand_in = SimpleNamespace(
        multi_objective_aggregation="sum_then_normalize", reward_weights=torch.ones(1).double(), scale_rewards=scale
    )
    scope = run_statements(
        trl.grpo,
        "GRPOTrainer",
        "unscorable_mask =",
        "advantages = torch.nan_to_num",
        self=stand_in,
        rewards_per_func=REWARDS.reshape(-1, 1),
        num_generations=REWARDS.shape[1],
        device="cpu",
    )
    return scope["advantages"].view(REWARDS.shape).numpy()


def test_advantages_without_scaling_are_trl_s(trl):
    # one of a group alone: 0 in both
    found = group_relative_advantages(REWARDS.numpy(), SCORED, scale="none")
    assert found == pytest.approx(trl_advantages(trl, "none"), abs=1e-5)


def test_group_relative_advantages_differ_from_trl_s_only_by_the_sample_deviation(trl):
    # TRL divides by the deviation with Bessel's correction, sqrt(n / (n - 1)) larger, and adds 1e-4 to it; and a lone
    # rollout has no such deviation there (NaN, made 0).
    count = SCORED.sum(axis=1, keepdims=True)
    centred = group_relative_advantages(REWARDS.numpy(), SCORED, scale="none")
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / np.maximum(count - 1, 1))
    found = group_relative_advantages(REWARDS.numpy(), SCORED, epsilon=0.0)
    bessel = np.sqrt((count - 1) / count) * deviation / (deviation + 1e-4)
    assert found * bessel == pytest.approx(trl_advantages(trl, "group"), abs=1e-5)


def test_batch_advantages_with_the_groups_baseline_differ_from_trl_s_batch_scale_by_one_factor(trl):
    # TRL centres on the groups and divides by the deviation of the rewards themselves, between groups included;
    # REINFORCE++ by that of the centred rewards. One number for the whole batch in either.
    found, their = batch_advantages(REWARDS.numpy(), SCORED, "group"), trl_advantages(trl, "batch")
    moved = found != 0
    factors = their[moved] / found[moved]
    assert factors == pytest.approx(np.full(moved.sum(), factors[0]), rel=1e-5)
    assert not their[~moved].any()
    assert factors[0] < 0.9


def test_leave_one_out_advantages_are_trl_s(trl):
    scope = run_statements(
        trl.rloo,
        "RLOOTrainer",
        "grouped_rewards =",
        "advantages = torch.nan_to_num",
        self=SimpleNamespace(normalize_advantages=False),
        rewards=REWARDS.reshape(-1),
        num_generations=REWARDS.shape[1],
    )
    their = scope["advantages"].view(REWARDS.shape).numpy()
    assert leave_one_out_advantages(REWARDS.numpy(), SCORED) == pytest.approx(their, abs=1e-5)


@pytest.mark.parametrize("method", ["truncate", "mask"])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_importance_weights_are_trl_s_for_vllm(trl, batch, method, level):
    low, high = 0.6, 1.4
    stand_in = SimpleNamespace(
        use_vllm=True,
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode=f"{level}_{method}",
        vllm_importance_sampling_clip_min=None if method == "truncate" else low,
        vllm_importance_sampling_clip_max=high,
    )
    scope = run_statements(
        trl.grpo,
        "GRPOTrainer",
        "if self.use_vllm and self.vllm_importance_sampling_correction:",
        "if self.use_vllm",
        self=stand_in,
        tool_mask=None,
        completion_mask=batch.mask,
        old_per_token_logps=batch.learner,
        sampling_per_token_logps=batch.generator,
    )
    at = batch.mask.bool()
    sequence = torch.arange(SEQUENCES)[:, None].expand(-1, WIDTH)[at]
    weights, share = importance_weights(batch.learner[at], batch.generator[at], sequence, method, level, low, high)
    their = scope["vllm_importance_sampling_ratio"].expand(-1, WIDTH)[at]
    torch.testing.assert_close(weights, their, rtol=1e-5, atol=1e-8)
    assert 0 < float(share) < 1
