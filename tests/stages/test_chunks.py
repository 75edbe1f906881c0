"""Completions that go on under new weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.protocols import SampleBatch, SamplingSettings
from rlreason.stages.chunks import ChunkedGenerator
from rlreason.stages.rollouts import complete
from tests.stages.parrot import END, Scripted, ask, parrot_context

SETTINGS = SamplingSettings(1.0, 1.0, 7)


class Counting:
    """Says how long what it continues is, until a completion is as long as its seed's last digit; version as told."""

    def __init__(self) -> None:
        self.version = 0
        self.asked: list[tuple[list[int], list[int], int, bool]] = []

    def refresh(self) -> None:
        self.version += 1

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        self.asked.append(
            ([len(prompt) for prompt in prompts], list(seeds), settings.max_new_tokens, settings.continued)
        )
        # the first token of a prompt says how long its completion is to be
        pieces = []
        for prompt in prompts:
            there, wanted = len(prompt) - 1, int(prompt[0])
            pieces.append(np.arange(there, min(there + settings.max_new_tokens, wanted)) + 100)
        return SampleBatch(
            tokens=np.concatenate(pieces).astype(np.int32),
            logprobs=np.full(sum(map(len, pieces)), -float(self.version), dtype=np.float32),
            lengths=np.array([len(piece) for piece in pieces], dtype=np.int32),
            stopped=np.array(
                [len(prompt) - 1 + len(piece) == prompt[0] for prompt, piece in zip(prompts, pieces, strict=True)]
            ),
            policy_version=self.version,
        )


def test_what_is_unfinished_goes_on_under_the_new_weights_and_every_token_says_which():
    inner = Counting()
    chunked = ChunkedGenerator(inner, 3, inner.refresh)
    batch = chunked.generate([np.array([2]), np.array([9]), np.array([4])], [11, 12, 13], SETTINGS)
    # 2 tokens and done; 7 of 9, where the budget ends; 4 in two chunks
    assert [tokens.tolist() for tokens, _ in batch.split()] == [
        [100, 101],
        [100, 101, 102, 103, 104, 105, 106],
        [100, 101, 102, 103],
    ]
    assert batch.stopped.tolist() == [True, False, True]
    assert [own.tolist() for own in batch.split_versions()] == [[1, 1], [1, 1, 1, 2, 2, 2, 3], [1, 1, 1, 2]]
    # each token has the log-probability under which it was sampled
    assert np.array_equal(batch.logprobs, -batch.policy_versions)
    assert batch.policy_version == 1
    assert inner.asked == [
        ([1, 1, 1], [11, 12, 13], 3, False),
        ([4, 4], [derive_seed(12, "chunk", 1), derive_seed(13, "chunk", 1)], 3, True),
        ([7], [derive_seed(12, "chunk", 2)], 1, True),
    ]


def test_where_no_new_weights_came_one_version_sampled_all_of_it():
    inner = Counting()
    batch = ChunkedGenerator(inner, 3, lambda: None).generate([np.array([9])], [1], SETTINGS)
    assert (batch.policy_version, batch.policy_versions) == (0, None)


def test_an_episode_says_which_version_wrote_each_turn():
    context = parrot_context({"hi": "ab.", "hi" + "ab." + "AB": "bye."})
    assert isinstance(context.engines.generator, Scripted)  # a version more with every request
    ((episode,),) = complete(context, [ask("hi")], [[5]], SamplingSettings(1.0, 1.0, 20))
    assert episode.text == "abABbye"
    assert episode.tokens[2] == END
    # turn, what the environment answered, turn
    assert episode.policy_versions.tolist() == [7, 7, 7, 7, 7, 8, 8, 8, 8]
    assert episode.policy_version == 7
