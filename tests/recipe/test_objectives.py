"""What an `rl` stage may say of its algorithm: sections that leave their type out, and pairs that contradict."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from rlreason.recipe.objectives import ClippedLoss, GrpoAdvantage
from tests.stages.groups import config

STEPS = {"type": "process_return"}


def test_a_section_that_leaves_its_type_out_is_of_the_default_one():
    said = config(loss={"clip_high": 0.28}, advantage={"scale": "none"}, curriculum={"floor": 0.1})
    assert said.loss == ClippedLoss(clip_high=0.28)
    assert said.advantage == GrpoAdvantage(scale="none")
    assert (said.curriculum.type, said.curriculum.floor) == ("uniform", 0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advantage": {"type": "gae"}}, "advantage gae needs values: give a `critic: {}`"),
        ({"critic": {}}, "critic with advantage grpo, which asks for no values"),
        (
            {"advantage": {"type": "gae"}, "critic": {}, "credit": STEPS},
            "advantage gae shares the reward out among the tokens itself: credit process_return would do it again",
        ),
        (
            {"loss": {"type": "gspo"}, "correction": {"level": "token"}},
            "loss gspo has one ratio a sequence, correction level token one a token",
        ),
        ({"advantage": {"type": "pass_at_k", "k": 3}}, "pass_at_k with k 3 needs a group_size of at least that"),
        ({"group_size": 1}, "advantage grpo compares the rollouts of a group, and group_size 1"),
        (
            {"group_size": 1, "credit": STEPS, "dynamic_sampling": {}},
            "dynamic_sampling looks for groups whose rewards differ, and group_size 1 has none",
        ),
        ({"kl": {"weight": 0.1, "estimator": "k1"}}, "place loss with estimator k1 has no gradient on average"),
        ({"kl": {"weight": 0.1, "place": "advantage"}}, "place advantage with estimator k3 is biased; use k1"),
        ({"correction": {"low": 1.2}}, "low 1.2 and high 2.0 must lie on the two sides of 1"),
        ({"loss": {"dual_clip": 0.5}}, "should be greater than 1|greater than 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_name(changes, message):
    with pytest.raises(ValidationError, match=message):
        config(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"group_size": 1, "credit": STEPS},
        {"group_size": 1, "advantage": {"type": "gae"}, "critic": {}},
        {"group_size": 1, "advantage": {"type": "reinforce_plus_plus"}},
        {"loss": {"type": "gspo"}, "correction": {"level": "sequence", "method": "mask", "low": 0.5}},
    ],
)
def test_what_looks_alike_and_makes_sense_is_accepted(changes):
    config(**changes)
