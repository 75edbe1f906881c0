"""`rlreason bench curriculum`: every policy on every synthetic learner, many seeds side by side, no model anywhere.

The rules are the ones that train; so are payoffs, floor and gate. Only the learner is made up (`curriculum_learners`).
One update is 16 problems of 8 rollouts. What is reported of a policy on a learner, each with a bootstrap interval over
seeds: updates until all arms that can be learned are mastered at the same time, mean success at the end, and regret,
the mean success that the oracle had more, averaged over updates. The oracle knows the learner and greedily takes the
arm with the largest true gain; it is a yardstick, not an optimum.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from rlreason.algorithms.advantages import group_relative_advantages
from rlreason.algorithms.seeding import derive_seed
from rlreason.bench.curriculum_learners import LEARNERS, SyntheticLearner
from rlreason.curriculum.by_difficulty import Planned
from rlreason.curriculum.gate import Mastery
from rlreason.curriculum.payoffs import mean_absolute_advantage, reward_variance
from rlreason.curriculum.policies import RULES, build_rule
from rlreason.curriculum.rules import Rule, Seen, draw_probabilities
from rlreason.errors import UserError, one_of

PROBLEMS, GROUP = 16, 8
MASTERED = 0.85
"""Success from which an arm counts as mastered."""
RESAMPLES = 1000
ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)
TAUS = (0.05, 0.1, 0.2, 0.4, 1.0)

_VERDICTS = (np.arange(GROUP) < np.arange(GROUP + 1)[:, None]).astype(np.float64)
_SCORED = np.ones_like(_VERDICTS, dtype=bool)
VARIANCE = reward_variance(_VERDICTS, _SCORED)
ADVANTAGE = mean_absolute_advantage(group_relative_advantages(_VERDICTS, _SCORED), _SCORED)
"""[GROUP + 1] payoffs of a problem by how many of its rollouts are right."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One row of the comparison.

    Attributes:
        rule: name in `RULES`, or "oracle".
        payoffs: [GROUP + 1] what a problem pays by how many of its rollouts are right.
        gated: composites wait for what they are made of.
        parameters: the rule's own; its defaults where left out.
    """

    rule: str
    payoffs: np.ndarray = field(default_factory=lambda: ADVANTAGE)
    gated: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


ORACLE = "oracle"
POLICIES: dict[str, Policy] = {
    **{name: Policy(name) for name in RULES},
    "variance": Policy("variance", VARIANCE),
    "sec_decay": Policy("sec", parameters={"undrawn": "decay"}),
    "gate": Policy("uniform", gated=True),
    "gate+sec": Policy("sec", gated=True),
    "gate+thompson": Policy("thompson", gated=True),
    ORACLE: Policy(ORACLE),
}
"""All are paid the mean |advantage|, but for variance, which is paid what it was made for. SEC's parameters and UCB's
are the published ones; those of Thompson sampling and EXP3.S are the best of a coarse search on these learners.
"proportional" has half as many problems of difficulty 2 as of difficulty 1, and so on."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What one policy did with one learner.

    Attributes:
        mastered_at: [S] int, updates until all learnable arms were mastered; the budget where they never were.
        reached: [S] bool, whether they were.
        success: [T, S] mean success over the learnable arms after each update.
        draws: [T, A] probability of each arm, mean over seeds.
    """

    mastered_at: np.ndarray
    reached: np.ndarray
    success: np.ndarray
    draws: np.ndarray


class Oracle(Rule):
    """Takes the arm with the largest true gain in the success of what is not mastered yet, or of all where all is."""

    def __init__(self, learner: SyntheticLearner, skill: np.ndarray) -> None:
        """`skill`: [S, A], the learner's live state."""
        super().__init__(skill.shape)
        self._learner, self._skill = learner, skill

    def shares(self, allowed: np.ndarray) -> np.ndarray:
        """1 for that arm."""
        waiting = self._learner.learnable & (self._learner.success(self._skill) < MASTERED)
        counted = np.where(waiting.any(axis=-1, keepdims=True), waiting, self._learner.learnable)
        gain = np.where(allowed, self._learner.gain(self._skill, counted), -np.inf)
        return (gain == gain.max(axis=-1, keepdims=True)).astype(np.float64)

    def learn(self, seen: Seen) -> None:
        """It knows already."""


def bench_curriculum(
    learners: Collection[str] = (),
    policies: Collection[str] = (),
    *,
    seeds: int = 200,
    updates: int = 150,
    floor: float = 0.05,
) -> dict[str, Any]:
    """Compare policies on learners.

    Args:
        learners, policies: names; all where empty. Gated policies run on learners with prerequisites only, and the
            oracle always runs.
        seeds: how many, at least 2.
        updates: the budget.
        floor: share of the draws spread evenly, the same for all but the oracle.
    Returns:
        setting: the constants. learners: name -> policy -> {updates_to_mastery, mastered, final_success, regret
        ({value, low, high}; mastered is a share), draws [A][T]}.
    Raises:
        UserError: an unknown name.
    """
    chosen = _known("--learner", learners, LEARNERS)
    wanted = [name for name in _known("--policy", policies, POLICIES) if name != ORACLE]
    found: dict[str, Any] = {}
    for name in chosen:
        learner = LEARNERS[name]
        run = partial(simulate, learner, seeds=seeds, updates=updates, seed=derive_seed(name))
        oracle = run(POLICIES[ORACLE], floor=0.0)
        traces = {
            policy: run(POLICIES[policy], floor=floor)
            for policy in wanted
            if learner.parts or not POLICIES[policy].gated
        }
        found[name] = {policy: figures(trace, oracle) for policy, trace in {**traces, ORACLE: oracle}.items()}
    setting = {"seeds": seeds, "updates": updates, "floor": floor, "mastered": MASTERED}
    return {"setting": {**setting, "problems": PROBLEMS, "group": GROUP}, "learners": found}


def sweep_sec(learners: Collection[str] = (), *, seeds: int = 200, updates: int = 150, floor: float = 0.05) -> Any:
    """How SEC depends on its two parameters.

    Returns:
        learner -> [{alpha, tau, updates_to_mastery, regret}, ...] over `ALPHAS` x `TAUS`.
    Raises:
        UserError: an unknown name.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for name in _known("--learner", learners, LEARNERS):
        run = partial(simulate, LEARNERS[name], seeds=seeds, updates=updates, seed=derive_seed(name))
        oracle = run(POLICIES[ORACLE], floor=0.0)
        found[name] = []
        for alpha in ALPHAS:
            for tau in TAUS:
                trace = run(Policy("sec", parameters={"alpha": alpha, "tau": tau}), floor=floor)
                shown = figures(trace, oracle)
                kept = {key: shown[key] for key in ("updates_to_mastery", "regret")}
                found[name].append({"alpha": alpha, "tau": tau, **kept})
    return found


def simulate(learner: SyntheticLearner, policy: Policy, *, seeds: int, updates: int, seed: int, floor: float) -> Trace:
    """Train a synthetic learner under a policy, `seeds` times side by side."""
    rng = np.random.default_rng(seed)
    skill = learner.begin(seeds)
    rule = _rule(policy, learner, skill, updates)
    gate = Mastery(skill.shape, learner.needs if policy.gated else np.zeros_like(learner.needs))
    weights = 1 / np.array(learner.difficulties) if policy.rule == "proportional" else np.ones(skill.shape[-1])
    success, draws, mastered_at = [], [], np.full(seeds, updates)
    reached = np.zeros(seeds, dtype=bool)
    for update in range(updates):
        allowed = gate.unlocked()
        probabilities = draw_probabilities(rule.shares(allowed), weights, allowed, floor)
        payoffs, successes, signal = rollouts(learner, skill, probabilities, policy.payoffs, rng)
        learner.train(skill, signal)
        rule.learn(Seen(payoffs, successes, probabilities))
        if policy.gated:
            gate.observe(successes)
        right = learner.success(skill)[:, learner.learnable]
        done = (right >= MASTERED).all(axis=-1)
        mastered_at[done & ~reached] = update + 1
        reached |= done
        success.append(right.mean(axis=-1))
        draws.append(probabilities.mean(axis=0))
    return Trace(mastered_at, reached, np.array(success), np.array(draws))


def rollouts(
    learner: SyntheticLearner,
    skill: np.ndarray,
    probabilities: np.ndarray,
    payoffs: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw an update's problems and roll them out.

    Args:
        skill: [S, A].
        probabilities: [S, A] of the draws.
        payoffs: [GROUP + 1] by how many rollouts are right.
    Returns:
        (payoffs [S, A, PROBLEMS] NaN where the problem is of another arm, successes alike, signal [S, A]).
    """
    counts = rng.multinomial(PROBLEMS, probabilities)
    arms = (np.arange(PROBLEMS)[:, None] >= counts.cumsum(axis=-1)[:, None, :]).sum(axis=-1)
    right = rng.binomial(GROUP, np.take_along_axis(learner.success(skill), arms, axis=-1))
    seen = right - rng.binomial(right, learner.noise) + rng.binomial(GROUP - right, learner.noise)
    mine = arms[:, None, :] == np.arange(skill.shape[-1])[:, None]
    signal = np.where(mine, 4 * VARIANCE[right][:, None, :], 0.0).sum(axis=-1)
    return (
        np.where(mine, payoffs[seen][:, None, :], np.nan),
        np.where(mine, seen[:, None, :] / GROUP, np.nan),
        signal,
    )


def figures(trace: Trace, oracle: Trace) -> dict[str, Any]:
    """What is reported of a policy on a learner; see `bench_curriculum`."""
    regret = (oracle.success - trace.success).mean(axis=0)
    return {
        "updates_to_mastery": interval(trace.mastered_at),
        "mastered": float(trace.reached.mean()),
        "final_success": interval(trace.success[-1]),
        "regret": interval(regret),
        "draws": np.round(trace.draws.T, 4).tolist(),
    }


def interval(values: np.ndarray) -> dict[str, float]:
    """Mean of [S] values with its 95% percentile bootstrap interval over seeds."""
    seeds = len(values)
    draws = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES)
    low, high = np.quantile(draws @ values / seeds, [0.025, 0.975])
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}


def _rule(policy: Policy, learner: SyntheticLearner, skill: np.ndarray, updates: int) -> Rule:
    if policy.rule == ORACLE:
        return Oracle(learner, skill)
    plan = {"updates": updates} if issubclass(RULES[policy.rule], Planned) else {}
    return build_rule(policy.rule, skill.shape, np.array(learner.difficulties), **plan, **policy.parameters)


def _known(option: str, names: Collection[str], allowed: Mapping[str, object]) -> list[str]:
    for name in names:
        if name not in allowed:
            raise UserError(one_of(option, name, allowed))
    return list(names or allowed)
