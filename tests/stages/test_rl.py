import time
from types import SimpleNamespace

import numpy as np
import pytest

from rlreason.engines.protocols import PolicyBatch
from rlreason.errors import ScoringFailed
from rlreason.stages import draws
from rlreason.stages.advantages import Assigned
from rlreason.stages.draws import Clock, Drawn, rewards_of
from rlreason.stages.rl import learn
from rlreason.types import Score
from tests.stages.groups import config, failed, group


def test_unscored_rollouts_are_nan_and_marked():
    groups = [group("a", ([3], Score(1.0)), ([4], failed("no"))), group("b", ([5], Score(0.0)), ([6], Score(0.5)))]
    rewards, scored = rewards_of(groups)
    np.testing.assert_array_equal(rewards, [[1.0, np.nan], [0.0, 0.5]])
    assert scored.tolist() == [[True, False], [True, True]]


def test_where_nothing_could_be_scored_the_commonest_cause_is_named():
    groups = [
        group("a", ([3], failed("PluginTimeout: slow")), ([4], failed("PluginRaised: KeyError"))),
        group("b", ([5], failed("PluginRaised: KeyError")), ([6], failed("PluginRaised: KeyError"))),
    ]
    with pytest.raises(ScoringFailed) as error:
        rewards_of(groups)
    assert "none of 4 rollouts could be scored; 3 times: PluginRaised: KeyError" in str(error.value)
    assert "No step was made" in str(error.value)


class Notebook:
    """A learner that writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], int, bool]] = []

    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> dict[str, float]:
        self.asked.append((batch.tokens.tolist(), update, on_policy))
        return {"loss": float(update), "mismatch_mean": 0.0}


def test_minibatches_are_numbered_on_and_only_the_first_is_on_policy():
    groups = [group(name, ([3 + index], Score(1.0)), prompt=(1,)) for index, name in enumerate("abcd")]
    notebook = Notebook()
    context = SimpleNamespace(engines=SimpleNamespace(learner=notebook))
    assigned = Assigned(np.zeros((4, 1)), np.zeros((4, 1, 1)))
    metrics = learn(context, groups, assigned, np.ones((4, 1), bool), 3, config(minibatches=2))
    # the third batch of rollouts in two halves: optimizer updates 5 and 6
    assert notebook.asked == [([1, 3, 1, 4], 5, True), ([1, 5, 1, 6], 6, False)]
    assert metrics["loss"] == 5.5


def test_stale_rollouts_are_held_against_the_generator_only_where_it_had_the_learner_s_weights():
    assigned = Assigned(np.zeros((2, 1)), np.zeros((2, 1, 2)))

    def asked(update: int, second: list[int] | None = None) -> bool:
        groups = [group("a", ([3, 4], Score(1.0))), group("b", ([5, 6], Score(0.0)))]
        if second is not None:
            object.__setattr__(groups[1].rollouts[0].completion, "policy_versions", np.array(second))
        notebook = Notebook()
        context = SimpleNamespace(engines=SimpleNamespace(learner=notebook))
        learn(context, groups, assigned, np.ones((2, 1), bool), update, config(asynchrony={}))
        return notebook.asked[0][2]

    # version 0 sampled all of it, and update 1 learns with version 0; update 2 with version 1
    assert asked(update=1)
    assert not asked(update=2)
    assert asked(update=2, second=[0, 1])


def test_a_clock_accounts_for_all_the_time():
    clock = Clock()
    for _ in range(2):
        with clock.phase("learn"):
            time.sleep(0.01)
    time.sleep(0.02)
    metrics = clock.metrics()
    assert metrics["seconds_learn"] >= 0.02
    assert metrics["seconds_other"] >= 0.02
    assert metrics["seconds"] == pytest.approx(metrics["seconds_learn"] + metrics["seconds_other"])


def test_what_is_sampled_again_keeps_the_probabilities_with_which_it_was_drawn(monkeypatch):
    later = SimpleNamespace(probabilities={"easy": 0.9, "hard": 0.1}, next=lambda count: pytest.fail("they are known"))
    scores = Score(1.0), Score(0.0)
    made = {name: group(name, *(([3], score) for score in scores)) for name in "ab"}

    def sample(context, stage, config, update, problems, clock):
        return [made[problem.id] for problem in problems]

    monkeypatch.setattr(draws, "sample", sample)
    old = Drawn(list(made.values()), *rewards_of(list(made.values())), np.arange(2), {"easy": 0.5, "hard": 0.5}, 1.0)
    found = draws.draw_groups(None, None, config(prompts_per_update=2), 3, later, Clock(), again=old)
    assert [each.problem.id for each in found.groups] == ["a", "b"]
    assert found.probabilities == {"easy": 0.5, "hard": 0.5}
    first = SimpleNamespace(probabilities={"easy": 0.9}, next=lambda count: [each.problem for each in made.values()])
    assert draws.draw_groups(None, None, config(prompts_per_update=2), 3, first, Clock()).probabilities == {"easy": 0.9}
