"""What an update costs in counts, which no noise of a machine changes: the guard of the speed.

Taken from the tensors themselves, by torch's own hooks, on the in-process engines: what they do must stay so, however.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from rlreason.algorithms.logprobs import token_logprobs
from rlreason.bench.learner import make_batch
from rlreason.bench.words import Words, WordsParameters
from rlreason.engines.protocols import PolicyBatch, PolicySettings
from rlreason.engines.scratch import make_model
from rlreason.engines.torch_generator import TorchGenerator
from rlreason.engines.torch_learner import TorchLearner
from rlreason.recipe.objectives import ClippedLoss
from rlreason.recipe.schema import Architecture
from rlreason.recipe.training import Optimizer

VOCABULARY = 1024


class Seen(TorchDispatchMode):
    """Bytes that copies wrote, and the largest result of any operation, forward and backward."""

    COPIES = ("aten.copy_.default", "aten.clone.default", "aten._to_copy.default", "aten.cat.default")

    def __init__(self) -> None:
        super().__init__()
        self.copied: Counter[str] = Counter()
        self.largest = 0
        self.rows_of_logits = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        found = function(*arguments, **(options or {}))
        for tensor in found if isinstance(found, tuple | list) else (found,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
                if tensor.ndim == 2 and tensor.shape[1] == VOCABULARY:
                    self.rows_of_logits = max(self.rows_of_logits, len(tensor))
                if str(function) in self.COPIES:
                    self.copied[str(function)] += tensor.nbytes
        return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    architecture = Architecture(layers=1, width=32, heads=1, max_positions=160, tie_embeddings=False)
    words = Words("words", WordsParameters(prompt_words=1)).words()  # of 1,024 tokens with the bytes
    return make_model(tmp_path_factory.mktemp("counts"), architecture, words, seed=0)


@contextmanager
def learner(checkpoint: Path, budget: int) -> Iterator[TorchLearner]:
    """A learner that holds `budget` tokens in a pass."""
    settings = PolicySettings(
        optimizer=Optimizer(learning_rate=1e-5),
        loss=ClippedLoss(),
        updates=1,
        temperature=1.0,
        mismatch_tolerance=None,
        seed=0,
    )
    made = TorchLearner(dtype="float32", micro_batch_tokens=budget)
    made.begin(checkpoint, settings, None)
    yield made
    made.close()


@contextmanager
def passes() -> Iterator[list[int]]:
    """Positions that went through each forward pass of a model, as its embedding saw them."""
    seen: list[int] = []

    def note(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if isinstance(module, torch.nn.Embedding):
            seen.append(arguments[0].numel())

    hook = register_module_forward_pre_hook(note)
    try:
        yield seen
    finally:
        hook.remove()


def even_batch(sequences: int, prompt: int, completion: int, group: int = 1) -> PolicyBatch:
    """A batch whose completions are all `completion` long, `group` of each prompt."""
    random, total = np.random.default_rng(0), sequences * completion
    prompts = random.integers(2, 700, (sequences // group, prompt)).repeat(group, axis=0)
    completions = random.integers(2, 700, (sequences, completion))
    return PolicyBatch(
        tokens=np.concatenate([prompts, completions], axis=1).reshape(-1).astype(np.int32),
        prompt_lengths=np.full(sequences, prompt, np.int32),
        lengths=np.full(sequences, completion, np.int32),
        generator_logprobs=np.full(total, -6.0, np.float32),
        advantages=random.normal(size=total).astype(np.float32),
        weights=np.full(total, 1 / total, np.float32),
    )


def test_an_update_takes_as_many_forward_passes_as_its_budget_asks_for(checkpoint: Path):
    with learner(checkpoint, budget=64) as ours, passes() as seen:
        metrics = ours.update(even_batch(8, prompt=10, completion=6), 1, on_policy=False)
    # 8 sequences of 16 tokens, 64 a pass; each goes through the model once, and nothing else does
    assert seen == [64, 64]
    assert (metrics["forward_passes"], metrics["trained_tokens"]) == (2.0, 128.0)


def test_a_prompt_goes_through_the_model_once_for_its_group(checkpoint: Path):
    with learner(checkpoint, budget=4096) as ours, passes() as seen:
        metrics = ours.update(even_batch(8, prompt=100, completion=30, group=8), 1, on_policy=False)
    # 100 + 8 x 30 tokens in place of 8 x 130
    assert seen == [340]
    assert (metrics["trained_tokens"], metrics["padded_share"]) == (1040.0, 0.0)


def test_groups_that_teach_nothing_do_not_go_through_the_model(checkpoint: Path):
    batch = even_batch(16, prompt=100, completion=30, group=8)
    batch.advantages[: 8 * 30] = 0
    with learner(checkpoint, budget=4096) as ours, passes() as seen:
        metrics = ours.update(batch, 1, on_policy=False)
    assert seen == [340]
    assert (metrics["computed_tokens"], metrics["trained_tokens"]) == (340.0, 2080.0)


def test_little_of_a_packed_batch_is_padding(checkpoint: Path):
    batch = make_batch(np.random.default_rng(1), sequences=256, prompt=32, longest=48)
    with learner(checkpoint, budget=2048) as ours:
        metrics = ours.update(batch, 1, on_policy=False)
    # in the order they come, rows of 80 for a mean of 56.5 would be 29 % padding
    assert metrics["padded_share"] < 0.05


def test_logits_are_made_of_completion_tokens_alone(checkpoint: Path):
    with learner(checkpoint, budget=4096) as ours, Seen() as seen:
        ours.update(even_batch(16, prompt=40, completion=4), 1, on_policy=False)
    # 16 completions of 4 tokens, of 16 x 44 that go through the model; the head's own gradient has 1,024 rows of 32
    assert seen.rows_of_logits == 64


def test_logits_of_a_large_vocabulary_are_never_held_whole():
    head = torch.nn.Linear(8, 5000, bias=False)
    hidden, targets = torch.randn(64, 8, requires_grad=True), torch.randint(5000, (64,))
    with Seen() as seen:
        logprobs, _ = token_logprobs(hidden, targets, head, chunk_elements=4 * 5000)
        logprobs.sum().backward()
    # 4 rows of 5,000 at a time, of 64; the head's gradient of 5,000 x 8 is larger than they are
    assert hidden.grad is not None and seen.largest == 5000 * 8


def test_a_sync_copies_the_weights_twice(checkpoint: Path):
    generator = TorchGenerator(checkpoint, dtype="float32", max_concurrent=4)
    with learner(checkpoint, budget=64) as ours, Seen() as seen:
        packed = ours.weights()
        generator.load_weights(packed, policy_version=1)
    # into the buffer that travels, and from it into the generator's model
    assert sum(seen.copied.values()) == 2 * packed.buffer.nbytes
