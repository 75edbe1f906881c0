"""Seconds of each piece of an update: what a recipe's stage asks, divided by what its GPUs are able to do.

Pure arithmetic over `Rates`; which pieces overlap is the pipelines' (`phases`, `streaming`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rlreason.recipe.schema import Recipe
from rlreason.recipe.stages import OnPolicy
from rlreason.simulate.rates import (
    ConstantLengths,
    EmpiricalLengths,
    Lengths,
    LinearDecoding,
    LognormalLengths,
    ModelSize,
    Rates,
)

_SAMPLE = 8192
"""Completions that a distribution's moments are taken from."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one update of a stage asks for.

    Attributes:
        prompts, group: P prompts of G completions.
        minibatches: optimizer updates made of them.
        max_new_tokens: where completions are cut.
        checkpoint_every: updates between checkpoints.
        sequences: that a generator decodes together, at most.
        tensor_parallel: GPUs of a generator.
        zero_stage: of the learner.
        pass_tokens: that a rank holds activations for at a time.
        model: its size.
    """

    prompts: int
    group: int
    minibatches: int
    max_new_tokens: int
    checkpoint_every: int
    sequences: int
    tensor_parallel: int
    zero_stage: int
    pass_tokens: int
    model: ModelSize

    @property
    def completions(self) -> int:
        """Of an update."""
        return self.prompts * self.group


def work_of(recipe: Recipe, stage: OnPolicy, model: ModelSize, *, on_gpu: bool = True) -> Work:
    """What a stage asks for, and how the recipe's engines would take it. Dynamic sampling is taken to draw once."""
    resources = recipe.resources
    return Work(
        prompts=stage.prompts_per_update,
        group=stage.group_size,
        minibatches=stage.minibatches,
        max_new_tokens=stage.sampling.max_new_tokens,
        checkpoint_every=stage.checkpoint_every,
        sequences=resources.max_concurrent,
        tensor_parallel=resources.tensor_parallel,
        zero_stage=resources.zero_stage,
        pass_tokens=resources.tokens_a_pass(on_gpu=on_gpu),
        model=model,
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """Who has which GPUs. Co-located, generators and learners take turns on all of them.

    Attributes:
        generators: each of `tensor_parallel` GPUs.
        learners: ranks, one GPU each.
    """

    generators: int
    learners: int
    tensor_parallel: int = 1
    colocated: bool = False

    @property
    def generator_gpus(self) -> int:
        """That generate."""
        return self.generators * self.tensor_parallel

    @property
    def gpus(self) -> int:
        """All."""
        return self.generator_gpus if self.colocated else self.generator_gpus + self.learners


def draw_lengths(lengths: Lengths, random: np.random.Generator, prompts: int, group: int, longest: int) -> np.ndarray:
    """[prompts, group] int64 tokens, at least 1 and at most `longest`."""
    if isinstance(lengths, ConstantLengths):
        drawn = np.full((prompts, group), lengths.tokens)
    elif isinstance(lengths, LognormalLengths):
        drawn = np.rint(random.lognormal(math.log(lengths.median), lengths.sigma, (prompts, group)))
    else:
        recorded = np.array(lengths.groups)
        chosen = recorded[random.integers(len(recorded), size=prompts)]
        if group == recorded.shape[1]:
            drawn = chosen
        else:  # another size of group: drawn again from within the recorded one
            drawn = np.take_along_axis(chosen, random.integers(recorded.shape[1], size=(prompts, group)), axis=1)
    return np.clip(drawn, 1, longest).astype(np.int64)


def lognormal_of(lengths: EmpiricalLengths) -> LognormalLengths:
    """The lognormal with the same median and the same quartiles' distance: a cut tail does not move these."""
    logs = np.log(np.concatenate([np.array(group) for group in lengths.groups]))
    low, middle, high = np.quantile(logs, [0.25, 0.5, 0.75])
    return LognormalLengths(type="lognormal", median=math.exp(middle), sigma=(high - low) / 1.3489795)


class Costs:
    """The seconds of everything, for one layout."""

    def __init__(self, rates: Rates, work: Work, layout: Layout) -> None:
        self.rates, self.work, self.layout = rates, work, layout

    def draw(self, random: np.random.Generator) -> np.ndarray:
        """[P, G] int64, tokens of an update's completions."""
        return draw_lengths(self.rates.lengths, random, self.work.prompts, self.work.group, self.work.max_new_tokens)

    @cached_property
    def step_seconds(self) -> np.ndarray:
        """[sequences + 1] float64: a decoding step of a generator in which so many sequences get a token."""
        decoding, running = self.rates.decoding, np.arange(self.work.sequences + 1)
        if isinstance(decoding, LinearDecoding):
            seconds = decoding.step_s + decoding.sequence_s * running
        elif decoding.type == "measured":
            at = np.array([point.sequences for point in decoding.points], dtype=float)
            step = at / np.array([point.tokens_per_s for point in decoding.points])
            seconds = np.where(running > at[-1], running * step[-1] / at[-1], np.interp(running, at, step))
        else:
            model, width = self.work.model, self.layout.tensor_parallel
            read = model.parameters * model.value_bytes + running * self._context * model.cache_bytes_per_token
            memory = read / (decoding.bandwidth * decoding.bandwidth_share * width)
            arithmetic = 2 * model.parameters * running / (decoding.flops * decoding.flops_share * width)
            seconds = decoding.step_s + np.maximum(memory, arithmetic)
        return np.where(running > 0, seconds, 0.0)

    @cached_property
    def _context(self) -> float:
        """Tokens that a running sequence has behind it on average, a long one being met more often: E[L^2] / 2 E[L]."""
        sample = draw_lengths(
            self.rates.lengths, np.random.default_rng(0), _SAMPLE, self.work.group, self.work.max_new_tokens
        ).astype(float)
        return self.rates.prompt_tokens + float((sample**2).mean() / (2 * sample.mean()))

    @cached_property
    def read_token_s(self) -> float:
        """Seconds in which a generator reads one token that it did not sample."""
        decoding = self.rates.decoding
        if isinstance(decoding, LinearDecoding):
            return decoding.prompt_token_s
        if decoding.type == "measured":
            return 1 / decoding.prefill_tokens_per_s
        reached = decoding.flops * decoding.flops_share * self.layout.tensor_parallel
        return 2 * self.work.model.parameters / reached

    @property
    def prompt_s(self) -> float:
        """Seconds in which a generator reads one prompt."""
        return self.read_token_s * self.rates.prompt_tokens

    def score_s(self, completions: int) -> float:
        """Until so many completions are scored."""
        return self.rates.scoring.completion_s * completions

    @property
    def drive_s(self) -> float:
        """The driver's own part of an update."""
        return self.rates.driving.update_s + self.rates.driving.completion_s * self.work.completions

    def learn_s(self, lengths: np.ndarray) -> float:
        """All optimizer updates of a batch whose completions have these tokens.

        A rank trains its share of the tokens, and never less than the longest sequence. ZeRO 0 to 2 send the gradients
        and bring the weights once an optimizer update; ZeRO 3 brings the weights twice and sends the gradients once a
        pass (Rajbhandari et al. 2020, section 7). Nothing is taken to overlap with the arithmetic.
        """
        learning, work, ranks = self.rates.learning, self.work, self.layout.learners
        prompt = self.rates.prompt_tokens
        share = max((lengths.sum() + lengths.size * prompt) / ranks, lengths.max() + prompt)
        speed = learning.tokens_per_s
        if speed is None:
            assert learning.flops is not None, "one of the two is given"
            speed = learning.flops * learning.flops_share / (6 * work.model.parameters)
        rounds = work.minibatches
        if work.zero_stage == 3:
            rounds *= math.ceil(share / work.minibatches / work.pass_tokens)
        seconds = share / speed + work.minibatches * learning.update_s
        if ranks > 1:
            sent = (3 if work.zero_stage == 3 else 2) * work.model.parameters * work.model.value_bytes
            each = sent * (ranks - 1) / ranks / learning.bandwidth if learning.bandwidth else 0.0
            seconds += rounds * (each + learning.latency_s * math.ceil(math.log2(ranks)))
        return float(seconds)

    @property
    def sync_s(self) -> float:
        """Weights to the generators; co-located, the two switches between the phases with it."""
        syncing, model = self.rates.syncing, self.work.model
        seconds = syncing.latency_s
        if syncing.bandwidth:
            seconds += model.parameters * model.value_bytes / syncing.bandwidth
        if self.layout.colocated:
            seconds += self.rates.switching.sleep_s + self.rates.switching.wake_s
        return seconds
