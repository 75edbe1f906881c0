"""The rollouts of one update: problems picked, completions sampled and scored, and which of them are learned from.

Who asks for them, and with which weights they are sampled, is in `sources`; what is learned from them in `rl`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from rlreason.algorithms.advantages import rewards_differ
from rlreason.algorithms.seeding import derive_seed
from rlreason.errors import ScoringFailed
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.stages import OnPolicyStage
from rlreason.stages.context import Context
from rlreason.stages.rollouts import complete, sampling_settings, score
from rlreason.stages.schedule import Schedule
from rlreason.stages.steps import score_steps
from rlreason.types import Completion, Group, Problem


class Clock:
    """Seconds by phase of one update; what no phase claims is "other"."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._phases: dict[str, float] = {}
        self.spans: list[tuple[str, float, float]] = []
        """(phase, start, end) of all that was timed, in seconds of the epoch."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens within."""
        at, start = time.time(), time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self._phases[name] = self._phases.get(name, 0.0) + seconds
        self.spans.append((name, at, at + seconds))

    def seconds(self, name: str) -> float:
        """Of that phase so far."""
        return self._phases.get(name, 0.0)

    def metrics(self) -> dict[str, float]:
        """seconds, seconds_PHASE for each, and seconds_other."""
        total = time.perf_counter() - self._start
        named = {f"seconds_{name}": seconds for name, seconds in self._phases.items()}
        return {"seconds": total, **named, "seconds_other": total - sum(named.values())}


@dataclass(frozen=True, slots=True)
class Drawn:
    """The scored groups of an update.

    Attributes:
        groups: P of them, all that were sampled.
        rewards: [P, G] float, NaN where unscored.
        scored: [P, G] bool.
        trained: [K] int, the groups that the update learns from.
        probabilities: bandit arm -> probability with which the problems were drawn.
        generate_s: seconds that the sampling took.
    """

    groups: list[Group]
    rewards: np.ndarray
    scored: np.ndarray
    trained: np.ndarray
    probabilities: Mapping[str, float]
    generate_s: float


def draw_groups(
    context: Context,
    stage: PlannedStage,
    config: OnPolicyStage,
    update: int,
    schedule: Schedule,
    clock: Clock,
    again: Drawn | None = None,
) -> Drawn:
    """Problems picked, sampled and scored; with dynamic sampling until enough groups have something to teach.

    Args:
        again: a draw that was dropped. Its problems come before those that the schedule has next, and were drawn with
            its probabilities: the schedule's are of a later draw by now.
    Raises:
        ScoringFailed: not one rollout could be scored.
    """
    groups: list[Group] = []
    waiting, count = [group.problem for group in again.groups] if again else [], config.prompts_per_update
    rounds = config.dynamic_sampling.max_rounds if config.dynamic_sampling else 1
    for _ in range(rounds):
        problems, waiting = waiting[:count] or schedule.next(count), waiting[count:]
        groups += sample(context, stage, config, update, problems, clock)
        rewards, scored = rewards_of(groups)
        differ = rewards_differ(rewards, scored)
        if differ.sum() >= count:
            break
    probabilities = again.probabilities if again else dict(schedule.probabilities)
    return Drawn(groups, rewards, scored, learned_from(differ, config), probabilities, clock.seconds("generate"))


def sample(
    context: Context, stage: PlannedStage, config: OnPolicyStage, update: int, problems: Sequence[Problem], clock: Clock
) -> list[Group]:
    """The problems' groups, sampled and scored; in shares, of which each but the last is scored while others are
    sampled."""
    settings = sampling_settings(config.sampling)
    seeds = sample_seeds(stage, update, problems, config.group_size)

    def completed(share: np.ndarray) -> tuple[list[Problem], list[list[Completion]]]:
        own = [problems[index] for index in share]
        with clock.phase("generate"):
            return own, complete(context, own, [seeds[index] for index in share], settings)

    *earlier, last = np.array_split(np.arange(len(problems)), min(config.scoring_shares, len(problems)))
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring-shares") as scoring:
        scored = [scoring.submit(score, context, *completed(share)) for share in earlier]
        rest = completed(last)
        with clock.phase("score"):
            groups = [group for share in scored for group in share.result()]
            return score_steps(context, stage, [*groups, *score(context, *rest)])


def learned_from(differ: np.ndarray, config: OnPolicyStage) -> np.ndarray:
    """[K] int, the groups that an update learns from. With dynamic sampling those with something to teach come first,
    each kind in the order drawn.

    Args:
        differ: [P] bool, the rewards of the group are not all equal.
    """
    order = np.argsort(~differ, kind="stable") if config.dynamic_sampling else np.arange(len(differ))
    return np.sort(order[: config.prompts_per_update])


def rewards_of(groups: Sequence[Group]) -> tuple[np.ndarray, np.ndarray]:
    """(rewards [P, G] float with NaN where unscored, scored [P, G] bool).

    Raises:
        ScoringFailed: not one rollout could be scored; names the most frequent cause.
    """
    rewards = np.array(
        [
            [np.nan if rollout.score.reward is None else rollout.score.reward for rollout in group.rollouts]
            for group in groups
        ]
    )
    scored = ~np.isnan(rewards)
    if not scored.any():
        causes = [rollout.score.failure for group in groups for rollout in group.rollouts]
        common = max(set(causes), key=causes.count)
        raise ScoringFailed(
            f"none of {rewards.size} rollouts could be scored; {causes.count(common)} times: {common}. "
            "No step was made; mend the reward and run again (the run resumes)"
        )
    return rewards, scored


def sample_seeds(stage: PlannedStage, update: int, problems: Sequence[Problem], group_size: int) -> list[list[int]]:
    """[P][G] seeds that follow from what they are for: order, workers and restarts change none of them.

    A problem that an update asks again goes on with the samples' numbers.
    """
    asked: Counter[str] = Counter()
    seeds = []
    for problem in problems:
        first = asked[problem.id] * group_size
        asked[problem.id] += 1
        numbers = range(first, first + group_size)
        seeds.append([derive_seed(stage.seed, stage.id, update, problem.id, number) for number in numbers])
    return seeds
