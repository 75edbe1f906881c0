import numpy as np
import pytest

from rlreason.engines.protocols import SampleBatch


def batch(tokens: list[list[int]], version: int = 3) -> SampleBatch:
    flat = np.array([token for own in tokens for token in own], dtype=np.int32)
    return SampleBatch(
        flat, -flat.astype(np.float32), np.array([len(own) for own in tokens]), flat[: len(tokens)] > 5, version
    )


def test_a_batch_is_split_into_its_completions():
    parts = batch([[5, 6, 7], [8], [9, 10]]).split()
    assert [tokens.tolist() for tokens, _ in parts] == [[5, 6, 7], [8], [9, 10]]
    assert [logprobs.tolist() for _, logprobs in parts] == [[-5, -6, -7], [-8], [-9, -10]]


def test_batches_of_several_generators_become_one_in_order():
    joined = SampleBatch.concatenate([batch([[5, 6, 7], [8]]), batch([[9, 10]])])
    assert [tokens.tolist() for tokens, _ in joined.split()] == [[5, 6, 7], [8], [9, 10]]
    assert joined.stopped.tolist() == [False, True, True]
    assert joined.policy_version == 3


def test_completions_of_different_policies_cannot_be_one_batch():
    with pytest.raises(ValueError, match=r"policy versions \[3, 4\] cannot be one batch"):
        SampleBatch.concatenate([batch([[1]]), batch([[2]], version=4)])
