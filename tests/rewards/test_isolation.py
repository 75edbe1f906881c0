"""One completion does not decide over the next: what is noticed, what a fork keeps apart, and where all this works."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from toy_task import BUILDER, toy_problem, toy_specs

from rlreason.errors import RewardError, ScoringFailed
from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards import pool as pool_module
from rlreason.rewards.failures import kind_of
from rlreason.rewards.pool import ScoringPool

TRACES, ACT = "hostile.py:leaves_traces", "hostile.py:act"


def right(count: int, start: int = 0):
    return [(toy_problem(index), f"ok = {index + 1}") for index in range(start, start + count)]


def kinds(scores):
    return [str(kind_of(score.failure) or score.reward) for score in scores]


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("patch grader", "rlreason.rewards.contract.to_score"),
        ("patch builtin", "builtins.len"),
        ("patch helper", "rlreason_plugin_hostile"),
        ("patch method", ".Judge.mark"),
        ("patch task", "toy_task.ToyTask.check"),
        ("hide builtin", "rlreason.rewards.contract.isinstance"),
        ("exec: import builtins; builtins.all = lambda _: True", "builtins.all"),
        ("exec: import sys; sys.modules['rlreason.rewards.rubric'].combine = None", "rlreason.rewards.rubric.combine"),
    ],
)
def test_a_completion_that_patches_the_grader_is_named_and_the_others_are_scored_without_it(make_pool, text, changed):
    # twenty of forty travel together first, so that some of the guilty one's chunk come before it and some after
    scores = make_pool(TRACES, deadline_s=5).score([*right(13), (toy_problem(13), text), *right(26, start=14)])
    assert kinds(scores) == ["1.0"] * 13 + ["PluginTampered"] + ["1.0"] * 26
    assert changed in scores[13].failure and "while scoring this completion" in scores[13].failure
    assert scores[13].correct is False  # the task's verdict, from another worker


def test_a_problem_that_a_completion_changed_is_whole_for_the_next_of_its_group(make_pool):
    shared = replace(toy_problem(0), detail={"tests": ["one"]})
    group = [(shared, text) for text in ["ok = 1"] * 3 + ["change problem"] + ["ok = 1"] * 4]
    scores = make_pool(TRACES, deadline_s=5).score(group * 2)
    assert kinds(scores) == (["1.0"] * 3 + ["PluginTampered"] + ["1.0"] * 4) * 2
    assert "the detail of problem 'train/toy/1/0'" in scores[3].failure


def test_values_that_are_filled_in_late_are_no_tampering(make_pool):
    scores = make_pool(TRACES).score([(toy_problem(0), "count")] * 20)
    assert sorted(score.reward for score in scores) == [*range(1, 21)]  # one worker, warm


def test_a_reward_that_always_tampers_stops_the_scoring(make_pool, monkeypatch):
    monkeypatch.setattr(pool_module, "LOSSES", 3)
    with pytest.raises(ScoringFailed, match=r"3 completions.*PluginTampered"):
        make_pool(TRACES).score([(toy_problem(index), "patch builtin") for index in range(8)])


def fresh(spec: str, **fields) -> Reward:
    return Reward(spec=spec, fresh=True, **{"deadline_s": 5.0, **fields})


def test_a_fresh_reward_meets_the_same_worker_every_time(make_pool):
    texts = ["count", "patch grader", "patch builtin", "patch helper", "count", "change problem", "ok = 1"]
    shared = replace(toy_problem(0), detail={"tests": ["one"]})
    scores = make_pool(fresh(TRACES)).score([(shared, text) for text in texts * 5])
    # the counter starts anew each time, and nothing is missed in the end
    assert [score.reward for score in scores] == [1.0, 0.5, 0.5, 0.5, 1.0, 0.5, 1.0] * 5


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("raise", "PluginRaised", "KeyError: 'missing' (hostile.py line"),
        ("exit", "PluginRaised", "SystemExit: 0"),
        ("hard exit", "PluginCrashed", "exited with status 0"),
        ("segfault", "PluginCrashed", "killed by signal 11"),
        ("memory", "PluginOutOfMemory", "the cap of 2 GiB"),
        ("nan", "InvalidScore", "as nan"),
        ("equal", "InvalidScore", "AlwaysEqual"),
        ("decline", "Unscorable", "no unit tests given"),
    ],
)
def test_what_ends_a_fresh_completion_is_typed_and_costs_no_worker(fresh_pool, text, kind, words):
    before = workers()
    scores = fresh_pool.score([*right(3), (toy_problem(3), text), *right(3, start=4)])
    assert kinds(scores) == ["1.0"] * 3 + [kind] + ["1.0"] * 3
    assert words in scores[3].failure and ACT in scores[3].failure
    assert workers() == before


def workers() -> set[int]:
    """Scoring workers and their forks that were started from here."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if "rewards.worker" in " ".join(child.cmdline())}


@pytest.fixture(scope="module")
def fresh_pool():
    with ScoringPool(Rubric(parts=(fresh(ACT),)), toy_specs(), [Path(__file__).parent], task_builder=BUILDER) as pool:
        pool.warm_up()
        yield pool


def test_a_fresh_completion_that_hangs_is_killed_at_its_deadline(make_pool):
    pool = make_pool(fresh(ACT, deadline_s=0.5))
    pool.warm_up()
    before = workers()
    started = time.monotonic()
    scores = pool.score([*right(2), (toy_problem(2), "c power"), *right(2, start=3)])
    assert time.monotonic() - started < 0.5 + 5
    assert kinds(scores) == ["1.0", "1.0", "PluginTimeout", "1.0", "1.0"]
    pool.close()
    assert len(before - workers()) == 1 and not workers() - before


def test_what_a_fresh_completion_started_is_killed(make_pool, tmp_path):
    pool = make_pool(fresh(ACT, kwargs={"directory": str(tmp_path)}, deadline_s=10))
    scores = pool.score([(toy_problem(0), "leave child"), *right(3, start=1)])
    assert kinds(scores) == ["0.5", "1.0", "1.0", "1.0"]
    assert not psutil.pid_exists(int((tmp_path / "child").read_text()))


def test_a_fresh_plug_in_that_forks_answers_once(fresh_pool):
    scores = fresh_pool.score([(toy_problem(0), "fork"), *right(5, start=1)])
    assert scores[0].reward > 1 and kinds(scores[1:]) == ["1.0"] * 5


def test_fresh_and_warm_rewards_give_the_same_scores_parts_and_steps(make_pool):
    specs = ["rewards/answer_and_steps.py:score", "hostile.py:scores_steps"]
    texts = ["ok no = 1", "ok ok = 1", "", "short ok = 2"]
    requests = [(toy_problem(0), text) for text in texts]
    warm = make_pool(*[Reward(spec=spec, name=f"part{index}") for index, spec in enumerate(specs)]).score(requests)
    forked = make_pool(*[fresh(spec, name=f"part{index}") for index, spec in enumerate(specs)]).score(requests)
    assert forked == warm
    assert [len(score.step_scores.get("part1", ())) for score in warm] == [2, 2, 0, 0]


def test_step_scores_of_the_wrong_length_are_an_invalid_score(make_pool):
    fine, short = make_pool("hostile.py:scores_steps").score([(toy_problem(0), t) for t in ("ok = 1", "short ok = 1")])
    assert fine.reward == 1.0 and fine.failure == ""
    assert kinds([short]) == ["InvalidScore"]
    assert "2 step scores for a derivation of 1 steps" in short.failure


@pytest.mark.parametrize(("name", "form"), [("act_on_batch", "a batch"), ("act_async", "an async")])
def test_batch_and_async_rewards_cannot_be_fresh(make_pool, name, form):
    with pytest.raises(RewardError, match=rf"'{name}' \(hostile.py:{name}\) is {form} reward.*drop `fresh`"):
        make_pool(fresh(f"hostile.py:{name}")).warm_up()


def test_an_installed_entry_point_is_a_reward(make_pool, tmp_path, monkeypatch):
    (tmp_path / "installed_grader.py").write_text("def grade(problem, completion, derivation):\n    return 0.125\n")
    record = tmp_path / "installed_grader-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-grader\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[rlreason.rewards]\neighth = installed_grader:grade\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert kinds(make_pool("eighth").score(right(2))) == ["0.125", "0.125"]
    with pytest.raises(RewardError, match=r"'eigth' is not one of .*did you mean 'eighth'"):
        make_pool("eigth").warm_up()
