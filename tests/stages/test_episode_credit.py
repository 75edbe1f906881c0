"""What an environment said is praised and blamed for nothing, wherever an update looks."""

from types import SimpleNamespace

import numpy as np
import pytest

from rlreason.engines.protocols import PolicyBatch, PolicyFigures
from rlreason.stages.advantages import assign
from rlreason.stages.batches import policy_batch
from rlreason.stages.rollouts import complete, sampling_settings
from rlreason.stages.steps import token_credit, token_ends
from rlreason.types import Group, Rollout, Score, Step
from tests.stages.groups import config
from tests.stages.parrot import Letters, ask, parrot_context

OWN = [1, 1, 1, 0, 0, 1, 1, 1, 1]
"""Of the episode "ab." - "AB" - "bye."."""


def episodes(*scores: Score) -> Group:
    """The episode above, and one of one turn, "bye."."""
    context = parrot_context({"x?": "ab.", "x?ab.AB": "bye.", "y?": "bye."})
    (first,), (second,) = complete(context, [ask("x?"), ask("y?")], [[1], [2]], sampling_settings(config().sampling))
    return Group(
        ask("x?"),
        tuple(
            Rollout(ask("x?"), i, each, score)
            for i, (each, score) in enumerate(zip((first, second), scores, strict=True))
        ),
    )


def test_weights_count_what_was_sampled():
    group = episodes(Score(1.0), Score(0.0))
    batch = policy_batch([group], np.ones((1, 2, 9)), np.ones((1, 2), bool), config())
    assert batch.lengths.tolist() == [9, 4]
    assert batch.loss_mask is not None and batch.loss_mask.tolist() == [*map(bool, OWN), *[True] * 4]
    # eleven tokens were sampled
    assert batch.weights.tolist() == pytest.approx([each / 11 for each in OWN] + [1 / 11] * 4)
    by_sequence = policy_batch(
        [group], np.ones((1, 2, 9)), np.ones((1, 2), bool), config(loss={"denominator": "sequences"})
    )
    assert by_sequence.weights.tolist() == pytest.approx([each / 14 for each in OWN] + [1 / 8] * 4)


def test_an_episode_that_ran_out_of_budget_can_be_left_out_whole():
    context = parrot_context({"x?": "ab.", "x?ab.AB": "cdefg."})
    ((cut,),) = complete(context, [ask("x?")], [[1]], sampling_settings(config().sampling))
    group = Group(ask("x?"), (Rollout(ask("x?"), 0, cut, Score(1.0)),))
    batch = policy_batch([group], np.ones((1, 1, 10)), np.ones((1, 1), bool), config(overlong="mask"))
    assert cut.finish_reason == "length" and not batch.weights.any()


def test_steps_lie_where_they_stand_in_the_transcript():
    (first, _) = episodes(Score(1.0), Score(0.0)).rollouts
    # end tokens have no letters; what follows one goes on behind the letters before it
    assert token_ends(Letters(), first.completion).tolist() == [1, 2, 2, 3, 4, 5, 6, 7, 7]


@pytest.mark.parametrize(
    ("credit", "expected"),
    [
        ({"type": "outcome"}, [0.5, 0.5, 0.5, 0, 0, 0.5, 0.5, 0.5, 0.5]),
        # steps "ab" (right) and "bye" (wrong) in "abABbye"
        ({"type": "first_error", "steps": "symbolic"}, [0.5, 0.5, 0.5, 0, 0, 0, 0, 0, 0]),
        # scores 1 and 0 of all steps: +1 and -1, each for its own tokens and all before
        (
            {"type": "process_return", "steps": "symbolic", "weight": 1.0},
            [0.5, 0.5, -0.5, 0, 0, -0.5, -0.5, -0.5, 0.5],
        ),
    ],
)
def test_credit_by_hand(credit, expected):
    steps = (Step(0, 2, "right", score=1.0), Step(4, 7, "wrong", "slip", 0.0))
    group = episodes(Score(1.0, steps=steps), Score(0.0))
    found = token_credit(Letters(), [group], np.array([[0.5, -0.5]]), np.ones((1, 2), bool), config(credit=credit))  # type: ignore[arg-type]
    assert found[0, 0].tolist() == expected
    assert found[0, 1].tolist() == [-0.5] * 4 + [0.0] * 5


class Critic:
    """A learner that expects the place of each sampled token among them, in tenths."""

    def figures(self, batch: PolicyBatch) -> PolicyFigures:
        assert batch.loss_mask is not None
        values = np.where(batch.loss_mask, np.cumsum(batch.loss_mask) / 10, np.nan).astype(np.float32)
        return PolicyFigures(np.zeros(len(values)), values)


def test_a_critic_s_tokens_follow_each_other_without_what_was_observed():
    group = episodes(Score(1.0), Score(0.0))
    context = SimpleNamespace(engines=SimpleNamespace(learner=Critic()))
    said = config(advantage={"type": "gae", "gamma": 1.0, "lam": 0.0}, critic={})
    assigned = assign(context, [group], np.array([[1.0, 0.0]]), np.ones((1, 2), bool), said)  # type: ignore[arg-type]
    assert assigned.returns is not None
    # with lambda 0 the return of a token is the value of the next one, and the reward at the end
    assert assigned.returns[0, 0].tolist() == pytest.approx([0.2, 0.3, 0.4, 0, 0, 0.5, 0.6, 0.7, 1.0])
    assert assigned.returns[0, 1].tolist() == pytest.approx([0.9, 1.0, 1.1, 0.0, 0, 0, 0, 0, 0])
    assert (assigned.credit[0, 0] == 0).tolist() == [not each for each in OWN]
    assert assigned.credit.sum() == pytest.approx(0.0, abs=1e-9)  # whitened over the eleven
