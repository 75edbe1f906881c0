"""A Ctrl-C that a library swallows stops the run all the same, at its next update."""

import contextlib
import os
import signal
import threading

import pytest

from rlreason.stages import rl
from rlreason.stages.interrupts import interrupts_kept
from tests.stages.small import Recorder, run, write_recipe


def swallowed_interrupt() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        signal.sigtimedwait([], 1)  # the handler runs here at the latest


def test_a_swallowed_interrupt_is_remembered_until_the_end_and_no_longer():
    before = signal.getsignal(signal.SIGINT)
    with interrupts_kept() as check:
        check()
        swallowed_interrupt()
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is before


def test_beside_the_main_thread_nothing_is_remembered_and_nothing_breaks():
    raised = []

    def work():
        with interrupts_kept() as check:
            check()
            raised.append(False)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert raised == [False]


def test_a_run_stops_at_the_update_in_which_it_was_asked_to(tmp_path, monkeypatch):
    whole = rl.outcome_metrics
    calls = []

    def swallowing(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            swallowed_interrupt()
        return whole(*arguments)

    monkeypatch.setattr(rl, "outcome_metrics", swallowing)
    progress = Recorder()
    with pytest.raises(KeyboardInterrupt):
        run(write_recipe(tmp_path / "recipe"), tmp_path / "run", progress=progress)
    assert progress.advanced[-1] == ("rl", 3)
