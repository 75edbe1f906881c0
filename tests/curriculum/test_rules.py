"""One update of each rule, worked by hand, and what holds of all of them."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from rlreason.curriculum.by_difficulty import EasyToHard, Ordered, ReverseOrdered, SuccessTarget
from rlreason.curriculum.learned import Exp3S, Sec, SlidingUcb, Variance
from rlreason.curriculum.policies import RULES, build_rule
from rlreason.curriculum.rules import Rule, Seen, draw_probabilities
from rlreason.curriculum.thompson import Thompson, best_of
from rlreason.errors import RecipeError

NONE = np.nan
BOTH = np.array([True, True])
DIFFICULTIES = np.array([1, 2, 2, 4])
PLANNED = ("ordered", "reverse_ordered", "easy_to_hard")


def seen(payoffs, successes=None, probabilities=(0.5, 0.5)) -> Seen:
    payoffs = np.array(payoffs, dtype=float)
    successes = np.full_like(payoffs, np.nan) if successes is None else np.array(successes, dtype=float)
    return Seen(payoffs, successes, np.array(probabilities))


def build(name: str, shape: tuple[int, ...], difficulties=DIFFICULTIES) -> Rule:
    return build_rule(name, shape, difficulties, **({"updates": 8} if name in PLANNED else {}))


def test_sec_moves_half_way_to_the_mean_payoff_and_draws_by_softmax():
    rule = Sec((2,), alpha=0.5, tau=0.4)
    rule.learn(seen([[0.8, 0.4], [NONE, NONE]]))  # Q = (0 + 0.5 x (0.6 - 0), 0) = (0.3, 0)
    rule.learn(seen([[0.1, NONE], [1.0, NONE]]))  # Q = (0.3 + 0.5 x (0.1 - 0.3), 0.5) = (0.2, 0.5)
    # softmax((0.5, 1.25)) = 1 / (1 + e^0.75) and the rest
    first = 1 / (1 + math.exp(0.75))
    assert rule.shares(BOTH) == pytest.approx([first, 1 - first])


@pytest.mark.parametrize(("undrawn", "value"), [("keep", 0.3), ("decay", 0.15)])
def test_sec_keeps_or_decays_an_arm_that_was_not_drawn(undrawn, value):
    rule = Sec((2,), alpha=0.5, undrawn=undrawn)
    rule.learn(seen([[0.6], [NONE]]))
    rule.learn(seen([[NONE], [0.2]]))
    assert rule.memory()["values"] == pytest.approx([value, 0.1])


def test_ucb_adds_a_bonus_for_what_was_seldom_paid():
    rule = SlidingUcb((2,), window=2, tau=0.1)
    rule.learn(seen([[0.9, 0.2, 0.4], [0.35, NONE, NONE]]))
    # the window holds (0.2, 0.4) and (0.35); n = 4, of which 3 and 1: bonus sqrt(2 ln 5 / 4) and sqrt(2 ln 5 / 2)
    bounds = [0.3 + math.sqrt(2 * math.log(5) / 4), 0.35 + math.sqrt(2 * math.log(5) / 2)]
    first = 1 / (1 + math.exp((bounds[1] - bounds[0]) / 0.1))
    assert rule.shares(BOTH) == pytest.approx([first, 1 - first])


def test_exp3s_grows_weights_by_importance_weighted_payoffs():
    rule = Exp3S((2,), gamma=0.2, alpha=0.01)
    rule.learn(seen([[0.5, 0.3, NONE], [1.0, NONE, NONE]], probabilities=(0.8, 0.2)))
    # X = (0.8 / 0.8, 1.0 / 0.2) = (1, 5); w = 0.5 e^(0.2 x 1 / 2) and 0.5 e^(0.2 x 5 / 2), each + 3 e 0.01 / 2
    shared = 3 * math.e * 0.01 / 2
    grown = [0.5 * math.exp(0.1) + shared, 0.5 * math.exp(0.5) + shared]
    assert rule.memory()["weights"] == pytest.approx([grown[0] / sum(grown), grown[1] / sum(grown)])
    # p = 0.8 w + 0.2 / 2
    assert rule.shares(BOTH) == pytest.approx([0.8 * weight / sum(grown) + 0.1 for weight in grown])


def test_exp3s_survives_an_update_of_thousands_of_problems():
    rule = Exp3S((2,), gamma=1.0, alpha=0.0)
    rule.learn(seen([[1.0] * 4000, [0.0] * 4000]))  # e^4000 is more than a float holds
    assert rule.memory()["weights"] == pytest.approx([1.0, 0.0])


def test_exp3s_does_not_credit_an_arm_that_could_not_be_drawn():
    rule = Exp3S((2,), gamma=0.2, alpha=0.0)
    rule.learn(seen([[1.0], [NONE]], probabilities=(0.0, 1.0)))
    assert rule.memory()["weights"].tolist() == [0.5, 0.5]


def test_the_variance_rule_draws_in_proportion_to_a_running_mean():
    rule = Variance((2,), alpha=0.5, initial=0.2)
    rule.learn(seen([[0.1, 0.3], [NONE, NONE]]))  # 0.2 stays 0.2; the other is kept
    rule.learn(seen([[0.0, NONE], [0.4, NONE]]))  # 0.1 and 0.3
    assert rule.memory()["means"] == pytest.approx([0.1, 0.3])
    assert draw_probabilities(rule.shares(BOTH), np.ones(2), BOTH, 0.0) == pytest.approx([0.25, 0.75])


def test_thompson_counts_discounted_looks_at_the_payoff():
    rule = Thompson((2,), discount=0.5, spread=0.3, prior=0.4, slope_weight=0.0)
    rule.learn(seen([[0.8, 0.6], [NONE, NONE]]))  # one look of 0.7
    rule.learn(seen([[0.1, NONE], [NONE, NONE]]))  # 1.5 looks, sum 0.5 x 0.7 + 0.1 = 0.45
    mean, deviation = rule.posterior()
    assert mean == pytest.approx([(0.4 + 0.45) / 2.5, 0.4])
    assert deviation == pytest.approx([0.3 / math.sqrt(2.5), 0.3])
    # the first is the better one where a Normal of mean 0.34 - 0.4 is positive
    first = 1 - NormalDist(0.34 - 0.4, 0.3 * math.sqrt(1 / 2.5 + 1)).cdf(0)
    assert rule.shares(BOTH) == pytest.approx([first, 1 - first], abs=1e-8)


def test_thompson_adds_how_far_success_moved_up_or_down():
    rule = Thompson((2,), discount=0.5, spread=0.3, prior=0.0, slope_weight=2.0)
    rule.learn(seen([[0.0], [0.0]], [[0.2], [0.9]]))  # no past: no change is known
    rule.learn(seen([[0.0], [0.0]], [[0.5], [0.6]]))  # both moved by 0.3
    rule.learn(seen([[0.0], [NONE]], [[0.5], [NONE]]))
    # before the last update success was (0.5 x 0.2 + 0.5) / 1.5 = 0.4, so it moved by 0.1; the first arm's changes
    # count 1.5 with sum 0.5 x 0.3 + 0.1 = 0.25, the other's 0.5 with sum 0.15
    mean, deviation = rule.posterior()
    assert mean == pytest.approx([2 * 0.25 / 2.5, 2 * 0.15 / 1.5])
    # looks at the payoff: 1 + 0.5 + 0.25 and 0.5 + 0.25
    assert deviation == pytest.approx([0.3 * math.sqrt(1 / 2.75 + 4 / 2.5), 0.3 * math.sqrt(1 / 1.75 + 4 / 1.5)])


def test_an_arm_that_was_long_not_looked_at_becomes_uncertain_again():
    rule = Thompson((2,), discount=0.5)
    for _ in range(5):
        rule.learn(seen([[0.3], [0.3]], [[0.5], [0.5]]))
    for _ in range(5):
        rule.learn(seen([[0.3], [NONE]], [[0.5], [NONE]]))
    _, deviation = rule.posterior()
    assert deviation[1] > 1.3 * deviation[0]


def test_the_probability_to_be_the_best_agrees_with_sampling():
    means, deviations = np.array([0.1, 0.5, 0.55, 2.0]), np.array([0.5, 0.05, 0.3, 0.01])
    allowed = np.array([True, True, True, False])
    draws = np.random.default_rng(0).normal(means[:3], deviations[:3], size=(200_000, 3))
    sampled = np.bincount(draws.argmax(axis=1), minlength=4) / len(draws)
    # 5 standard deviations of a share near one half, of 200,000
    assert best_of(means, deviations, allowed) == pytest.approx(sampled, abs=5 * 0.5 / math.sqrt(200_000))


def test_the_success_target_moves_up_when_more_than_half_succeed():
    rule = SuccessTarget((4,), DIFFICULTIES, eta=1.0, alpha=2.0)
    everything = np.ones(4, dtype=bool)
    assert rule.shares(everything).tolist() == [1, 0, 0, 0]
    # two arms, three problems: R = (1 + 0.9 + 0.8) / 3 = 0.9, T = 1 + tanh(2 x 0.4) = 1.664, nearest to 2
    rule.learn(seen(np.zeros((4, 2)), [[1.0, 0.9], [0.8, NONE], [NONE, NONE], [NONE, NONE]]))
    assert rule.memory()["target"] == pytest.approx([1 + math.tanh(0.8)])
    assert rule.shares(everything).tolist() == [0, 1, 1, 0]
    assert rule.shares(np.array([True, False, False, True])).tolist() == [1, 0, 0, 0]
    rule.learn(seen(np.zeros((4, 1)), np.zeros((4, 1))))  # down by tanh(1) = 0.76, to the least
    assert rule.memory()["target"] == pytest.approx([1.0])
    rule.learn(seen(np.zeros((4, 1)), np.full((4, 1), NONE)))  # nothing judged
    assert rule.memory()["target"] == pytest.approx([1.0])


def test_arms_equally_near_to_the_target_share():
    rule = SuccessTarget((3,), np.array([1, 2, 3]), eta=0.5 / math.tanh(1.0), alpha=2.0)
    rule.learn(seen(np.zeros((3, 1)), np.ones((3, 1))))  # T = 1.5
    assert rule.shares(np.ones(3, dtype=bool)).tolist() == [1, 1, 0]


def test_easy_to_hard_moves_its_centre_over_the_plan():
    rule = EasyToHard((4,), DIFFICULTIES, updates=4, width=1.0, power=0.5)
    rule.learn(seen(np.zeros((4, 1))))
    # a quarter of the plan: centre 1 + 3 x sqrt(1/4) = 2.5; distances 1.5, 0.5, 0.5, 1.5
    shares = rule.shares(np.ones(4, dtype=bool))
    assert shares / shares[1] == pytest.approx([math.exp(-1.125 + 0.125), 1, 1, math.exp(-1.125 + 0.125)])
    for _ in range(9):
        rule.learn(seen(np.zeros((4, 1))))
    assert rule.shares(np.ones(4, dtype=bool))[3] == 1  # the plan is over: the centre stays at the hardest


def test_orders_give_each_difficulty_an_equal_part_of_the_plan():
    turns = {Ordered: [], ReverseOrdered: []}
    for kind, drawn in turns.items():
        rule = kind((4,), DIFFICULTIES, updates=6)
        for _ in range(8):
            drawn.append(rule.shares(np.ones(4, dtype=bool)).tolist())
            rule.learn(seen(np.zeros((4, 1))))
    easy, middle, hard = [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]
    assert turns[Ordered] == [easy, easy, middle, middle, hard, hard, hard, hard]
    assert turns[ReverseOrdered] == [hard, hard, middle, middle, easy, easy, easy, easy]


def test_an_order_draws_the_nearest_arm_where_the_turn_is_locked():
    rule = ReverseOrdered((4,), DIFFICULTIES, updates=6)
    assert rule.shares(np.array([True, True, False, False])).tolist() == [0, 1, 0, 0]


def test_weights_multiply_the_shares_and_the_floor_is_spread_over_what_is_allowed():
    shares, weights = np.array([0.6, 0.2, 0.2, 0.0]), np.array([1.0, 3.0, 5.0, 1.0])
    allowed = np.array([True, True, False, True])
    # 0.6 x 1 and 0.2 x 3, so half each; a tenth spread over three
    found = draw_probabilities(shares * allowed, weights, allowed, 0.1)
    assert found == pytest.approx([0.45 + 0.1 / 3, 0.45 + 0.1 / 3, 0, 0.1 / 3])


def test_a_rule_that_prefers_none_leaves_it_to_the_weights():
    allowed = np.array([True, True, False])
    assert draw_probabilities(np.zeros(3), np.array([1.0, 3.0, 9.0]), allowed, 0.0).tolist() == [0.25, 0.75, 0]


@pytest.mark.parametrize("name", RULES)
def test_curricula_side_by_side_never_meet(name):
    random = np.random.default_rng(0)
    together, alone = build(name, (2, 4)), [build(name, (4,)), build(name, (4,))]
    allowed = np.array([[True] * 4, [True, True, False, True]])
    for _ in range(5):
        payoffs, successes = random.uniform(size=(2, 2, 4, 3))
        payoffs[:, random.integers(4)] = np.nan
        probabilities = random.dirichlet(np.ones(4), size=2)
        together.learn(Seen(payoffs, successes, probabilities))
        for row, rule in enumerate(alone):
            rule.learn(Seen(payoffs[row], successes[row], probabilities[row]))
    apart = [rule.shares(allowed[row]) for row, rule in enumerate(alone)]
    assert np.allclose(np.broadcast_to(together.shares(allowed), (2, 4)), apart, rtol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_nothing_locked_has_a_share_however_much_it_paid(name):
    rule = build(name, (4,))
    for _ in range(50):
        rule.learn(seen([[0.0], [0.0], [1.0], [0.0]], [[0.0], [0.0], [1.0], [0.0]], np.full(4, 0.25)))
    shares = rule.shares(np.array([True, True, False, True]))
    assert shares[2] == 0 and shares.sum() > 0 and np.isfinite(shares).all()


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("sec", {"tau": 0.0}, "temperature tau 0.0 is not positive and finite; a small one"),
        ("sec", {"tau": -1.0}, "temperature tau -1.0"),
        ("sec", {"tau": math.inf}, "temperature tau inf"),
        ("sec", {"alpha": 0.0}, r"alpha 0.0 is not in \(0, 1\]; 1 keeps the newest"),
        ("sec", {"alpha": 1.5}, "alpha 1.5"),
        ("sec", {"undrawn": "forget"}, "undrawn 'forget' is not keep or decay"),
        ("ucb", {"tau": 0.0}, "temperature tau 0.0"),
        ("ucb", {"window": 0}, "window 0 is not at least 1"),
        ("exp3s", {"gamma": 0.0}, r"gamma 0.0 is not in \(0, 1\]"),
        ("exp3s", {"alpha": -0.1}, r"alpha -0.1 is not in \[0, 1\]"),
        ("variance", {"alpha": math.nan}, "alpha nan"),
        ("variance", {"initial": 0.0}, "initial 0.0 is not positive"),
        ("thompson", {"discount": 1.0}, r"discount 1.0 is not in \[0, 0.99\]"),
        ("thompson", {"spread": 0.0}, "spread 0.0 is not positive"),
        ("thompson", {"prior": math.nan}, "prior nan is not finite"),
        ("thompson", {"slope_weight": -1.0}, "slope_weight -1.0 is not 0 or positive"),
        ("success_target", {"eta": 0.0}, "eta 0.0 is not positive"),
        ("success_target", {"alpha": -2.0}, "alpha -2.0 is not positive"),
        ("easy_to_hard", {"updates": 0}, "updates 0 is not at least 1"),
        ("easy_to_hard", {"updates": 9, "width": 0.0}, "width 0.0 is not positive"),
        ("easy_to_hard", {"updates": 9, "power": 0.0}, "power 0.0 is not positive"),
        ("ordered", {"updates": -3}, "updates -3 is not at least 1"),
        ("thomson", {}, "curriculum 'thomson' is not one of .*; did you mean 'thompson'"),
    ],
)
def test_parameters_out_of_range_are_refused_with_value_range_and_remedy(name, parameters, words):
    with pytest.raises(RecipeError, match=words):
        build_rule(name, (4,), DIFFICULTIES, **parameters)
