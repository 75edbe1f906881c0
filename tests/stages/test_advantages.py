from types import SimpleNamespace

import numpy as np
import pytest

from rlreason.engines.protocols import PolicyBatch, PolicyFigures
from rlreason.errors import RunFailed
from rlreason.stages.advantages import ADVANTAGES, assign
from rlreason.types import Score
from tests.stages.groups import config, failed, group

REWARDS = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
SCORED = np.ones((2, 4), dtype=bool)


@pytest.mark.parametrize(
    ("advantage", "expected"),
    [
        # (1 - .5) / .5; (1 - .25) / sqrt(3 / 16)
        ({"type": "grpo"}, [[1, -1, -1, 1], [-0.57735, -0.57735, 1.73205, -0.57735]]),
        ({"type": "grpo", "scale": "none"}, [[0.5, -0.5, -0.5, 0.5], [-0.25, -0.25, 0.75, -0.25]]),
        # 1 - (0 + 0 + 1) / 3; 0 - 2 / 3; 0 - 1 / 3; 1 - 0
        ({"type": "rloo"}, [[2 / 3, -2 / 3, -2 / 3, 2 / 3], [-1 / 3, -1 / 3, 1, -1 / 3]]),
        # (1 - .5) / .5; (1 - .25) / .25
        ({"type": "maxrl"}, [[1, -1, -1, 1], [-1, -1, 3, -1]]),
        # mean 3/8 of all, deviation sqrt(15) / 8: 5 / sqrt(15) and -3 / sqrt(15)
        ({"type": "reinforce_plus_plus"}, (8 * REWARDS - 3) / np.sqrt(15)),
    ],
)
def test_the_recipe_s_advantage_worked_by_hand(advantage, expected):
    said = config(advantage=advantage, group_size=4).advantage
    np.testing.assert_allclose(ADVANTAGES[said.type](said, REWARDS, SCORED), expected, rtol=1e-4)


def test_pass_at_2_praises_the_only_right_one_and_blames_less_where_the_others_are_right():
    said = config(advantage={"type": "pass_at_k", "k": 2}, group_size=4).advantage
    found = ADVANTAGES[said.type](said, REWARDS, SCORED)
    assert found[1, 2] > found[0, 0] > 0 > found[0, 1]
    assert found[0, 0] == found[0, 3] and found[1, 0] == found[1, 1] == found[1, 3]


def test_rewards_that_the_method_is_not_made_for_stop_the_run():
    groups = [group("a", ([3], Score(-1.0)), ([4], Score(1.0)))]
    with pytest.raises(RunFailed, match=r"advantage maxrl: .*No step was made"):
        assign(
            SimpleNamespace(),
            groups,
            np.array([[-1.0, 1.0]]),
            np.ones((1, 2), bool),
            config(advantage={"type": "maxrl"}),
        )


class Critic:
    """A learner that expects 0.5 before every token."""

    def figures(self, batch: PolicyBatch) -> PolicyFigures:
        return PolicyFigures(np.zeros(len(batch.advantages)), np.full(len(batch.advantages), 0.5, dtype=np.float32))


def test_a_critic_shares_the_reward_out_among_the_tokens():
    groups = [group("a", ([3, 4], Score(1.0)), ([5], failed("no")))]
    rewards, scored = np.array([[1.0, np.nan]]), np.array([[True, False]])
    context = SimpleNamespace(engines=SimpleNamespace(learner=Critic()))
    said = config(advantage={"type": "gae", "gamma": 1.0, "lam": 0.5}, critic={})
    found = assign(context, groups, rewards, scored, said)
    # last token: 1 - .5; the one before: (.5 - .5) + .5 x .5; returns are these plus the values
    assert found.returns is not None
    np.testing.assert_allclose(found.returns[0, 0], [0.75, 1.0])
    # whitened over the two trained tokens, of mean .375 and deviation .125
    np.testing.assert_allclose(found.credit[0], [[-1, 1], [0, 0]], atol=1e-3)
    np.testing.assert_allclose(found.advantages, [[0, 0]], atol=1e-3)
