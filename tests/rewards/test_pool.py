"""What no reward can do to a run: the faults of the pool's contract, each in a real worker process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_task import BUILDER, toy_problem, toy_specs

from rlreason.errors import RewardError, ScoringFailed, TaskError
from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards import pool as pool_module
from rlreason.rewards.failures import kind_of
from rlreason.rewards.pool import ScoringPool

ACT = "hostile.py:act"


def asked(*texts: str):
    """One problem a text; its right answer is "= INDEX+1"."""
    return [(toy_problem(index), text) for index, text in enumerate(texts)]


def right(count: int, start: int = 0):
    return [(toy_problem(index), f"ok = {index + 1}") for index in range(start, start + count)]


def kinds(scores):
    return [str(kind_of(score.failure) or score.reward) for score in scores]


def test_scores_come_in_order_with_the_tasks_own_verdict(make_pool):
    requests = [*right(150), *asked("ok no = 1", "no idea")]
    scores = make_pool("rlreason.rewards.builtin:answer", workers=2).score(requests)
    assert [score.reward for score in scores] == [1.0] * 151 + [0.0]
    wrong_steps, no_answer = scores[150:]
    # the right answer by a wrong second step
    assert (wrong_steps.correct, wrong_steps.derivation_correct) == (True, False)
    assert (wrong_steps.first_error, wrong_steps.first_error_kind) == (1, "slip")
    assert [step.verdict for step in wrong_steps.steps] == ["right", "wrong"]
    assert (no_answer.correct, no_answer.answer, no_answer.failure) == (False, None, "")


def test_a_reward_that_lies_does_not_change_the_verdict(make_pool):
    pool = make_pool("hostile.py:pid")
    (score,) = pool.score(asked("= 99"))
    assert score.reward > 1 and score.correct is False and score.answer == "99"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("raise", "PluginRaised", "KeyError: 'missing' (hostile.py line"),
        ("exit", "PluginRaised", "SystemExit"),
        ("nan", "InvalidScore", "as nan"),
        ("inf", "InvalidScore", "as inf"),
        ("none", "InvalidScore", "NoneType"),
        ("str", "InvalidScore", "of type str"),
        ("huge", "InvalidScore", "OverflowError"),
        ("equal", "InvalidScore", "AlwaysEqual"),
        ("poisoned", "InvalidScore", "RuntimeError"),
        ("unknown key", "InvalidScore", "'rewrad'"),
        ("decline", "Unscorable", "no unit tests given"),
    ],
)
def test_one_bad_verdict_costs_one_score(shared_pool, text, kind, words):
    before, failed, after = shared_pool.score([*right(1), (toy_problem(1), text), *right(1, start=2)])
    assert (before.reward, after.reward) == (1.0, 1.0)
    assert failed.reward is None and failed.correct is False
    assert kind_of(failed.failure) == kind and ACT in failed.failure and words in failed.failure


@pytest.fixture(scope="module")
def shared_pool():
    rubric = Rubric(parts=(Reward(spec=ACT, deadline_s=5),))
    with ScoringPool(rubric, toy_specs(), [Path(__file__).parent], task_builder=BUILDER) as pool:
        yield pool


def test_a_reward_that_raises_on_all_scores_none(shared_pool):
    scores = shared_pool.score(asked(*["raise"] * 100))
    assert kinds(scores) == ["PluginRaised"] * 100


def test_a_task_whose_check_raises_is_named_as_the_culprit(shared_pool):
    raised, fine = shared_pool.score([(toy_problem(0), "check: raise"), *right(1, start=1)])
    assert raised.failure.startswith("CheckFailed: raised RuntimeError: toy check (toy_task.py line")
    assert raised.correct is None and fine.reward == 1.0


@pytest.mark.parametrize("loop", ["python loop", "c loop", "c power"])
def test_a_hang_costs_one_score_within_the_deadline(make_pool, loop):
    pool = make_pool(ACT)
    pool.warm_up()
    started = time.monotonic()
    scores = pool.score([*right(10), (toy_problem(10), loop), *right(20, start=11)])
    assert kinds(scores) == ["1.0"] * 10 + ["PluginTimeout"] + ["1.0"] * 20
    assert scores[10].failure == "PluginTimeout: hostile.py:act took over 0.7 s"
    assert scores[10].correct is False  # judged by the check, in another worker
    assert 0.7 < time.monotonic() - started < 0.7 + 5.0  # recovery takes 0.5 s on a quiet machine


def test_more_hangs_than_workers_leave_the_pool_whole(make_pool):
    pool = make_pool(ACT, workers=2, deadline_s=0.5)
    hung = pool.score(asked(*["c loop"] * 5))
    assert kinds(hung) == ["PluginTimeout"] * 5
    assert kinds(pool.score(right(200))) == ["1.0"] * 200


def test_a_reward_that_always_hangs_stops_the_scoring(make_pool, monkeypatch):
    monkeypatch.setattr(pool_module, "LOSSES", 3)
    pool = make_pool(ACT, deadline_s=0.3)
    with pytest.raises(ScoringFailed, match=r"3 completions hung or crashed.*act took over 0.3 s.*deadline_s"):
        pool.score(asked(*["c loop"] * 40))
    assert kinds(pool.score(right(5))) == ["1.0"] * 5
    # where others of the batch have their rewards, hangs cost their own alone
    assert kinds(pool.score([*right(4), *asked(*["c loop"] * 4)])) == ["1.0"] * 4 + ["PluginTimeout"] * 4


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("segfault", "PluginCrashed", "killed by signal 11"),
        ("hard exit", "PluginCrashed", "exited with status 0"),
        ("memory", "PluginOutOfMemory", "the cap of 2 GiB"),
    ],
)
def test_a_death_costs_one_score(make_pool, text, kind, words):
    scores = make_pool(ACT, deadline_s=5).score([*right(10), (toy_problem(10), text), *right(20, start=11)])
    assert kinds(scores) == ["1.0"] * 10 + [kind] + ["1.0"] * 20
    assert words in scores[10].failure and scores[10].correct is False


@pytest.mark.parametrize("text", ["garble channel", "garble progress"])
def test_nonsense_from_a_worker_costs_the_completion_that_wrote_it(make_pool, text):
    # what it wrote over may be taken for another's fault at first: each suspect is then scored alone
    scores = make_pool(ACT, deadline_s=5).score([*right(10), (toy_problem(10), text), *right(5, start=11)])
    assert kinds(scores[:10] + scores[11:]) == ["1.0"] * 15
    assert kind_of(scores[10].failure) is not None and scores[10].reward is None


def test_a_death_that_another_completion_left_behind_is_not_blamed_on_the_next(make_pool):
    # the bomb of the first goes off while the second is scored; of eight completions four travel together first
    scores = make_pool(ACT, deadline_s=5).score([*asked("leave bomb", "wait"), *right(6, start=2)])
    assert kinds(scores) == ["0.5", "0.25"] + ["1.0"] * 6


def test_a_child_left_behind_is_killed(make_pool, tmp_path):
    pool = make_pool(Reward(spec=ACT, kwargs={"directory": str(tmp_path)}, deadline_s=10))
    assert kinds(pool.score([*asked("leave child"), *right(3, start=1)])) == ["0.5", "1.0", "1.0", "1.0"]
    child = int((tmp_path / "child").read_text())
    assert gone(child)
    assert kinds(pool.score(right(3))) == ["1.0"] * 3


def test_a_plug_in_that_forks_answers_once(make_pool):
    # both sides return from os.fork(): the child must not serve the rest of the chunk too
    scores = make_pool(ACT, deadline_s=5).score([*asked("fork"), *right(30, start=1)])
    assert scores[0].reward > 1 and kinds(scores[1:]) == ["1.0"] * 30


def test_model_text_is_never_executed(shared_pool, tmp_path):
    marker = tmp_path / "marker"
    shell = f"__import__('os').system('touch {marker}')"
    texts = [shell, f"= {shell}", f"${{{shell}}}", f"cos\nsystem\n(S'touch {marker}'\ntR.", "\udcff \x00 = 1"]
    scores = shared_pool.score(asked(*texts))
    assert [score.failure for score in scores] == [""] * len(texts)
    assert not marker.exists()


def test_scores_are_the_same_from_threads(shared_pool):
    requests = [*right(60), *asked("raise", "= 1", "nan")]
    here, there = shared_pool.score(requests), []
    threads = [threading.Thread(target=lambda: there.append(shared_pool.score(requests))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert there == [here] * 4


def test_a_pool_made_inside_a_thread_works_after_that_thread_ended():
    made: list[ScoringPool] = []
    rubric = Rubric(parts=(Reward(spec=ACT, deadline_s=0.5),))
    arguments = (rubric, toy_specs(), [Path(__file__).parent])
    maker = threading.Thread(target=lambda: made.append(ScoringPool(*arguments, task_builder=BUILDER)))
    maker.start()
    maker.join()
    with made[0] as pool:
        assert kinds(pool.score([*right(2), (toy_problem(2), "c loop")])) == ["1.0", "1.0", "PluginTimeout"]


def test_batch_rewards_lose_only_the_guilty(make_pool):
    pool = make_pool("hostile.py:act_on_batch", deadline_s=0.5)
    assert kinds(pool.score([*right(3), (toy_problem(3), "nan")])) == ["1.0", "1.0", "1.0", "InvalidScore"]
    # chunks are of one completion where there are few, here of 16, 8, 4 and 4
    assert kinds(pool.score([*right(31), (toy_problem(31), "c loop")])) == ["1.0"] * 31 + ["PluginTimeout"]
    assert kinds(pool.score([*right(31), (toy_problem(31), "segfault")])) == ["1.0"] * 31 + ["PluginCrashed"]


def test_a_batch_reward_of_the_wrong_length_scores_none_of_its_chunk(make_pool):
    scores = make_pool("hostile.py:act_on_batch").score([*right(31), (toy_problem(31), "batch: short")])
    assert kinds(scores) == ["1.0"] * 28 + ["InvalidScore"] * 4
    assert "returned 1 verdicts for 4 completions" in scores[31].failure


def test_async_rewards_of_a_chunk_wait_together(make_pool):
    pool = make_pool("hostile.py:act_async", deadline_s=2)
    pool.warm_up()
    started = time.monotonic()
    scores = pool.score([*right(62), (toy_problem(62), "sleep"), (toy_problem(63), "raise")])
    # four chunks, each 0.2 s but for the last's deadline of 2 s; one after the other they would take 14 s
    assert time.monotonic() - started < 6
    assert kinds(scores) == ["1.0"] * 62 + ["PluginTimeout", "PluginRaised"]


def test_parts_are_recorded_by_name(make_pool):
    rewards = [
        Reward(spec="rlreason.rewards.builtin:answer", weight=2),
        Reward(spec="rewards/answer_and_steps.py:score", name="mixed", weight=0.5, kwargs={"steps_share": 0.4}),
    ]
    (score,) = make_pool(*rewards).score(asked("ok no = 1"))
    # mixed: 0.6 x 1 + 0.4 x 1/2 = 0.8; in all 2 x 1 + 0.5 x 0.8 = 2.4
    assert score.reward == pytest.approx(2.4)
    assert score.parts == pytest.approx({"answer": 1.0, "mixed": 0.8, "mixed/answer": 1.0, "mixed/steps": 0.5})


def test_what_plug_ins_print_goes_to_the_log(make_pool, tmp_path, capfd):
    pool = make_pool("hostile.py:prints", log=tmp_path / "rewards.log")
    pool.score(asked("hello"))
    assert "seen hello" in (tmp_path / "rewards.log").read_text()
    assert capfd.readouterr() == ("", "")


def test_a_reward_that_cannot_be_loaded_is_refused_with_the_near_names(make_pool):
    pool = make_pool("hostile.py:atc", workers=2)
    with pytest.raises(RewardError, match=r"'atc' is not one of .*did you mean 'act'"):
        pool.warm_up()
    with pytest.raises(RewardError, match="did you mean 'act'"):
        pool.score(right(100))


def test_a_worker_that_dies_at_import_is_reported(make_pool, tmp_path):
    plugin = tmp_path / "dies.py"
    plugin.write_text("import os\nos._exit(3)\n")
    with pytest.raises(RewardError, match="exited with status 3 while it built the tasks"):
        make_pool(f"{plugin}:score").warm_up()


def test_a_problem_of_an_unknown_task_is_refused(shared_pool):
    with pytest.raises(TaskError, match="'people' is not one of sums"):
        shared_pool.score([(toy_problem(0, task="people"), "= 1")])


def test_closing_ends_a_score_under_way_and_leaves_no_process(make_pool):
    others = set(psutil.Process().children())
    pool = make_pool(ACT, workers=2, deadline_s=60)
    pool.warm_up()
    workers = set(psutil.Process().children()) - others
    errors: list[BaseException] = []

    def score():
        try:
            pool.score(asked(*["python loop"] * 9))
        except ScoringFailed as error:
            errors.append(error)

    thread = threading.Thread(target=score)
    thread.start()
    time.sleep(0.3)
    pool.close()
    thread.join(timeout=5)
    assert len(errors) == 1 and "closed" in str(errors[0])
    assert len(workers) == 2 and not any(worker.is_running() for worker in workers)
    with pytest.raises(ScoringFailed, match="make a new one"):
        pool.score(right(1))


def test_workers_die_with_a_parent_that_is_killed(tmp_path):
    # hung in C, so that no worker could notice by itself
    driver = tmp_path / "driver.py"
    driver.write_text(
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from pathlib import Path\nimport psutil, threading\n"
        "from toy_task import *\nfrom rlreason.recipe.schema import *\nfrom rlreason.rewards.pool import ScoringPool\n"
        f"rubric = Rubric(parts=(Reward(spec={ACT!r}, deadline_s=60),))\n"
        f"pool = ScoringPool(rubric, toy_specs(), [Path({str(Path(__file__).parent)!r})], task_builder=BUILDER)\n"
        "pool.warm_up()\nthreading.Timer(0.3, lambda: print(psutil.Process().children()[0].pid, flush=True)).start()\n"
        "pool.score([(toy_problem(0), 'c loop')])\n"
    )
    with subprocess.Popen([sys.executable, driver], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert not gone(worker, within_s=0)
        os.kill(parent.pid, signal.SIGKILL)
    assert gone(worker)


def gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether the process ends, or is already a zombie that nobody here has to reap."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


@given(st.integers(1, 2000), st.integers(1, 64))
def test_chunks_hold_every_completion_once_and_end_small(count, workers):
    sizes = list(pool_module._chunk_sizes(count, workers))
    assert sum(sizes) == count and min(sizes) >= 1 and max(sizes) <= pool_module.CHUNK
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= max(1, count // (8 * workers))
