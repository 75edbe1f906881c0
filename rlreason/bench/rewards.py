"""`rlreason bench rewards`: how fast completions are checked and scored, and what the worker processes cost.

Everything is measured on the quickstart's task, three hops, over completions of which every other one is wrong. Rates
are of one core: one thread works at a time (in the pool's own figures, its worker and the thread that watches it).
"""

from __future__ import annotations

import os
import pickle
import platform
import time
from collections.abc import Callable, Sequence
from statistics import quantiles
from typing import Any

from rlreason.bench import hang
from rlreason.bench.rl import processor
from rlreason.errors import RewardError, RunFailed
from rlreason.recipe import load_recipe
from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards.failures import FailureKind, kind_of
from rlreason.rewards.grading import Grader, Request, Setup
from rlreason.rewards.loader import resolve
from rlreason.rewards.pool import ScoringPool
from rlreason.rewards.rubric import parts_of
from rlreason.tasks import Task, build_task, task_spec
from rlreason.tasks.sampling import sample
from rlreason.types import DerivationCheck, Problem, Score

CELL = "complementary/3"
BATCH, GROUP = 512, 8
BUILTIN = tuple(Reward(spec=f"rlreason.rewards.builtin:{name}") for name in ("answer", "derivation", "format"))
HANG = Reward(spec="rlreason.bench.hang:score", deadline_s=1.0)
MATHS = "rewards/boxed_math.py:score"
EXPRESSIONS = (
    (r"\frac{1}{2}", r"\boxed{0.5}"),
    (r"x^2 + 2x + 1", r"so we get \boxed{(x+1)^2}"),
    (r"\sqrt{8}", r"$\boxed{2\sqrt{2}}$"),
    (r"\{1, 2, 3\}", r"\boxed{\{3, 2, 1\}}"),
    (r"(0, \infty)", r"\boxed{x > 0}"),
    (r"12", r"\boxed{13}"),
    (r"\frac{\pi}{4}", r"\boxed{\pi/4}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{pmatrix}1\\3\end{pmatrix}}"),
)
"""Gold answer and completion, of the forms that mathematics benchmarks have."""
BARS = {"checks_per_s": 20_000.0, "pool_overhead": 0.15, "recovery_beyond_deadline_s": 2.0}
"""What the figures are held against: at least, under, under."""


def bench_rewards(seconds: float = 2.0) -> dict[str, Any]:
    """All figures.

    Args:
        seconds: about how long each rate is measured.
    Returns:
        machine; checks_per_s, graded_per_s, math_verify_per_s ({low, median, high}: quartiles over rounds; the last is
        None where math-verify is not installed); pool (see `pool_overhead`); fresh_ms (a completion, see
        `fresh_cost`); recovery (see `recovery`); bars and met, by name.
    Raises:
        RewardError: a worker cannot be started.
    """
    entry = load_recipe("quickstart").recipe.tasks["people"]
    task = build_task("people", entry.type, entry.parameters)
    requests = batch(task)
    grader = _grader(task)
    figures: dict[str, Any] = {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "checks_per_s": rate(lambda: _check(task, requests), seconds),
        "graded_per_s": rate(lambda: _grade(grader, requests), seconds),
        "math_verify_per_s": math_verify_rate(seconds),
        "pool": pool_overhead(task, grader, requests, seconds),
        "fresh_ms": fresh_cost(task, requests, seconds),
        "recovery": recovery(task, requests),
    }
    met = {
        "checks_per_s": figures["checks_per_s"]["median"] >= BARS["checks_per_s"],
        "pool_overhead": figures["pool"]["overhead"]["median"] < BARS["pool_overhead"],
        "recovery_beyond_deadline_s": figures["recovery"]["beyond_deadline_s"] < BARS["recovery_beyond_deadline_s"],
    }
    return {**figures, "bars": BARS, "met": met}


def batch(task: Task) -> list[Request]:
    """`BATCH` completions in groups of `GROUP`: the gold derivation, and the same with another problem's answer."""
    problems = sample(task, "train", [CELL], BATCH // GROUP)
    requests = []
    for problem in problems:
        other = next(other.answer for other in problems if other.answer != problem.answer)
        wrong = problem.target.removesuffix(problem.answer) + other
        requests += [Request(problem, text) for text in (problem.target, wrong) * (GROUP // 2)]
    return requests


def rate(work: Callable[[], int], seconds: float) -> dict[str, float]:
    """How many a second, over rounds: `work` does one round and says how many it did. A first one warms up."""
    work()
    rates: list[float] = []
    until = time.perf_counter() + seconds
    while not rates or time.perf_counter() < until:
        begun = time.perf_counter()
        done = work()
        rates.append(done / (time.perf_counter() - begun))
    return quartiles(rates)


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """The median, and low and high: half of the values lie between. On a machine that others use too, extremes only
    tell what the others did."""
    low, median, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * list(values)
    return {"low": low, "median": median, "high": high}


def pool_overhead(task: Task, grader: Grader, requests: list[Request], seconds: float) -> dict[str, Any]:
    """A pool of one worker beside the same grading in this process, in turns, so that both see the same machine.

    Returns:
        in_process_ms, pool_ms: of a batch. overhead: the pool's time over the other's, minus 1, pair by pair.
        plain_pickling: time to pickle and unpickle the batch and its Scores, over the in-process time: what a pool
            that sends plain objects there and back adds at least.
    """
    alone: list[float] = []
    pooled: list[float] = []
    pickled: list[float] = []
    asked = [(request.problem, request.completion) for request in requests]
    with _pool(BUILTIN, task) as pool:
        scores = pool.score(asked)
        until = time.perf_counter() + 2 * seconds
        while not alone or time.perf_counter() < until:
            alone.append(_timed(lambda: _grade(grader, requests)))
            pooled.append(_timed(lambda: pool.score(asked)))
            pickled.append(_timed(lambda: [pickle.loads(pickle.dumps(one)) for one in (requests, scores)]))
    return {
        "batch": len(requests),
        "in_process_ms": quartiles([1e3 * value for value in alone]),
        "pool_ms": quartiles([1e3 * value for value in pooled]),
        "overhead": quartiles([theirs / ours - 1 for ours, theirs in zip(alone, pooled, strict=True)]),
        "plain_pickling": quartiles([theirs / ours for ours, theirs in zip(alone, pickled, strict=True)]),
    }


def fresh_cost(task: Task, requests: list[Request], seconds: float) -> dict[str, float]:
    """Milliseconds a completion of a reward whose every call has a process of its own (`fresh: true`)."""
    reward = BUILTIN[0].model_copy(update={"fresh": True})
    asked = [(request.problem, request.completion) for request in requests[:64]]
    with _pool((reward,), task) as pool:
        rates = rate(lambda: len(pool.score(asked)), seconds)
    return {"low": 1e3 / rates["high"], "median": 1e3 / rates["median"], "high": 1e3 / rates["low"]}


def math_verify_rate(seconds: float) -> dict[str, float] | None:
    """Calls a second of the shipped grader of LaTeX mathematics; None where it cannot be imported."""
    try:
        score = resolve(MATHS).call
    except RewardError:
        return None
    check = DerivationCheck(None, answer_correct=False, derivation_correct=False)
    pairs = [
        (Problem(gold, "maths", "maths/1", "train", "", gold, completion), completion)
        for gold, completion in EXPRESSIONS
    ]

    def work() -> int:
        for problem, completion in pairs:
            score(problem, completion, check)
        return len(pairs)

    return rate(work, seconds)


def recovery(task: Task, requests: list[Request]) -> dict[str, float]:
    """How long until completions are scored again after both workers of a pool hang in C code at the same time.

    Returns:
        deadline_s: of the reward that hangs; seconds: from handing in two completions that hang to the last Score of
        the 64 good ones handed in after them; beyond_deadline_s: the difference.
    Raises:
        RunFailed: what hung was not recorded as a time-out, or a good completion was not scored.
    """
    hanging = [(requests[0].problem, hang.HANGS)] * 2
    good = [(request.problem, request.completion) for request in requests[:64]]
    with _pool((HANG,), task, workers=2) as pool:
        pool.score(good)
        begun = time.perf_counter()
        hung, scored = pool.score(hanging), pool.score(good)
        seconds = time.perf_counter() - begun
    late = [kind_of(score.failure) == FailureKind.PLUGIN_TIMEOUT for score in hung]
    if not all(late) or any(score.reward is None for score in scored):
        raise RunFailed(f"the pool did not recover from two hangs: {[score.failure for score in (*hung, *scored)]}")
    return {"deadline_s": HANG.deadline_s, "seconds": seconds, "beyond_deadline_s": seconds - HANG.deadline_s}


def _pool(parts: tuple[Reward, ...], task: Task, workers: int = 1) -> ScoringPool:
    pool = ScoringPool(Rubric(parts=parts, workers=workers), {task.name: task_spec(task)})
    pool.warm_up()
    return pool


def _grader(task: Task) -> Grader:
    rubric = Rubric(parts=BUILTIN)
    return Grader(
        Setup(
            task_builder="rlreason.tasks.registry:build_task",
            tasks={task.name: task_spec(task)},
            combine=rubric.combine,
            parts=parts_of(rubric),
            folders=(),
            memory_bytes=int(rubric.memory_gib * 2**30),
        )
    )


def _check(task: Task, requests: list[Request]) -> int:
    for request in requests:
        task.check(request.problem, request.completion)
    return len(requests)


def _grade(grader: Grader, requests: list[Request]) -> int:
    scores: list[Score] = []
    grader.grade(requests, lambda item, phase: None, scores.append)
    return len(scores)


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
