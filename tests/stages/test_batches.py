import numpy as np
import pytest

from rlreason.stages.batches import padded, policy_batch
from rlreason.types import Score
from tests.stages.groups import config, failed, group


def test_a_batch_worked_by_hand():
    groups = [
        group("a", ([3, 4], Score(1.0)), ([5, 6, 9], Score(0.0)), prompt=(1,)),
        group("b", ([7], failed("no")), ([8, 9], Score(1.0)), prompt=(1, 2)),
    ]
    # what stands behind a completion's last token is not looked at
    credit = np.array([[[1.0, 2.0, 7.0], [-1.0, -1.0, -3.0]], [[0.0, 7.0, 7.0], [0.5, 0.25, 7.0]]])
    scored = np.array([[True, True], [False, True]])
    batch = policy_batch(groups, credit, scored, config())
    assert batch.tokens.tolist() == [1, 3, 4, 1, 5, 6, 9, 1, 2, 7, 1, 2, 8, 9]
    assert batch.prompt_lengths.tolist() == [1, 1, 2, 2]
    assert batch.lengths.tolist() == [2, 3, 1, 2]
    assert batch.generator_logprobs.tolist() == pytest.approx([-0.3, -0.4, -0.5, -0.6, -0.9, -0.7, -0.8, -0.9])
    assert batch.advantages.tolist() == [1, 2, -1, -1, -3, 0, 0.5, 0.25]
    # seven trained tokens: the unscored one counts for nothing
    assert batch.weights.tolist() == pytest.approx([1 / 7] * 5 + [0] + [1 / 7] * 2)


@pytest.mark.parametrize(
    ("denominator", "weights"),
    [
        ("sequences", [1 / 6] * 2 + [1 / 9] * 3 + [0] + [1 / 6] * 2),  # three sequences, 2, 3 and 2 tokens
        ("constant", [1 / 40] * 5 + [0] + [1 / 40] * 2),  # four sequences of at most 10 tokens
    ],
)
def test_the_loss_s_denominator_is_the_recipe_s(denominator, weights):
    groups = [
        group("a", ([3, 4], Score(1.0)), ([5, 6, 9], Score(0.0))),
        group("b", ([7], failed("no")), ([8, 9], Score(1.0))),
    ]
    scored = np.array([[True, True], [False, True]])
    batch = policy_batch(groups, np.zeros((2, 2, 3)), scored, config(loss={"denominator": denominator}))
    assert batch.weights.tolist() == pytest.approx(weights)


def test_completions_cut_off_by_length_can_be_left_out_of_the_loss():
    groups = [group("a", ([3, 4], Score(1.0)), ([5, 6, 9], Score(0.0)))]  # only the second ends with the end token, 9
    batch = policy_batch(groups, np.ones((1, 2, 3)), np.ones((1, 2), bool), config(overlong="mask"))
    assert batch.weights.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3])


def test_what_stands_in_rows_is_flattened_and_back():
    groups = [group("a", ([3, 4], Score(1.0)), ([5, 6, 9], Score(0.0)))]
    rows = np.array([[[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]]])
    batch = policy_batch(groups, rows, np.ones((1, 2), bool), config(), returns=rows + 10, proximal_logprobs=-rows)
    assert batch.returns is not None and batch.returns.tolist() == [11, 12, 13, 14, 15]
    assert batch.proximal_logprobs is not None and batch.proximal_logprobs.tolist() == [-1, -2, -3, -4, -5]
    np.testing.assert_array_equal(padded(batch.returns, batch.lengths), [[11, 12, 0], [13, 14, 15]])


def test_tokens_of_other_weights_are_told_apart_where_there_are_such():
    groups = [group("a", ([3, 4], Score(1.0)), ([5, 6, 7], Score(0.0)))]
    credit, scored = np.zeros((1, 2, 3)), np.ones((1, 2), bool)
    assert policy_batch(groups, credit, scored, config()).current is None
    assert policy_batch(groups, credit, scored, config(), version=0).current is None
    assert not policy_batch(groups, credit, scored, config(), version=1).current.any()
    # the second went on under the next version
    object.__setattr__(groups[0].rollouts[1].completion, "policy_versions", np.array([0, 1, 1]))
    assert policy_batch(groups, credit, scored, config(), version=1).current.tolist() == [False] * 3 + [True] * 2
