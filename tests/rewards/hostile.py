"""Reward plug-ins that misbehave on demand: what a completion's text asks for is what happens."""

import asyncio
import contextlib
import ctypes
import os
import re
import stat
import subprocess
import sys
import threading
import time

from rlreason.rewards.contract import reward
from rlreason.types import Score


class AlwaysEqual:
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0


class Poisoned(dict):
    def __iter__(self):
        raise RuntimeError("poison")


def _leave_child_behind(directory):
    # in a session of its own and orphaned: neither the group nor the parent chain leads to it, but for the subreaper
    script = (
        "import os, time\nif os.fork() == 0:\n os.setsid()\n open('{}', 'w').write(str(os.getpid()))\n time.sleep(60)"
    )
    subprocess.run([sys.executable, "-c", script.format(os.path.join(directory, "child"))], check=True)
    while not os.path.exists(os.path.join(directory, "child")):
        time.sleep(0.01)


def _fork():
    child = os.fork()
    if child:
        time.sleep(0.2)  # so that the child would be the first to answer
    return child


def _leave_bomb():
    threading.Timer(0.1, os._exit, [1]).start()
    return 0.5


def _wait():
    time.sleep(0.3)
    return 0.25


def _garble(kind, text):
    """Write over every open socket, or file: among them what the worker and its watcher speak through."""
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            if kind(os.fstat(descriptor).st_mode):
                os.write(descriptor, text)
    os._exit(1)


ACTIONS = {
    "raise": lambda: {}["missing"],
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "none": lambda: None,
    "str": lambda: "1.0",
    "huge": lambda: 10**400,
    "equal": AlwaysEqual,
    "poisoned": Poisoned,
    "unknown key": lambda: {"reward": 1.0, "rewrad": 2.0},
    "decline": lambda: Score(reward=None, failure="no unit tests given"),
    "python loop": lambda: [None for _ in iter(int, 1)],
    "c loop": lambda: re.match(r"(a+)+$", "a" * 60 + "b"),
    "c power": lambda: len(str(3 ** (10**8))),
    "memory": lambda: bytearray(50 * 2**30),
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: sys.exit(0),
    "hard exit": lambda: os._exit(0),
    "garble channel": lambda: _garble(stat.S_ISSOCK, b"\0\0\0\5junk!"),
    "garble progress": lambda: _garble(stat.S_ISREG, b"\7" * 8),
    "fork": _fork,
    "leave bomb": _leave_bomb,
    "wait": _wait,
}


@reward
def act(problem, completion, derivation, directory=""):
    """Do what the completion names; else pay the right answer."""
    if completion == "leave child":
        _leave_child_behind(directory)
        return 0.5
    if completion in ACTIONS:
        return ACTIONS[completion]()
    return derivation.answer_correct


@reward(batch=True)
def act_on_batch(problems, completions, derivations):
    if "batch: raise" in completions:
        raise ValueError("whole batch")
    if "batch: short" in completions:
        return [1.0]
    return [act(*given) for given in zip(problems, completions, derivations, strict=True)]


@reward
async def act_async(problem, completion, derivation):
    if completion == "sleep":
        await asyncio.sleep(60)
    await asyncio.sleep(0.2)
    return act(problem, completion, derivation)


def pid(problem, completion, derivation):
    return os.getpid()


def prints(problem, completion, derivation):
    print("seen", completion, flush=True)
    return 1.0


remembered = None


def add_one(value):
    return value + 1


class Judge:
    def mark(self):
        return 1.0


def _replace(target, name, value):
    setattr(target, name, value)
    return 0.5


def _run_model_code(code):
    # what a careless plug-in does, and no plug-in should: the pool must still keep it from the next completion
    exec(code, {})
    return 0.5


def leaves_traces(problem, completion, derivation):
    """Changes what its text names; else pays the right answer, by helpers that can be replaced."""
    import builtins

    from rlreason.rewards import contract

    global remembered
    module = sys.modules[__name__]
    remembered = remembered or Judge()  # filled in late: allowed
    match completion:
        case "patch grader":
            return _replace(contract, "to_score", lambda *_: Score(1.0))
        case "patch builtin":
            return _replace(builtins, "len", lambda _: 7)
        case "patch helper":
            return _replace(module, "add_one", lambda value: 99)
        case "patch method":
            return _replace(Judge, "mark", lambda self: 99.0)
        case "patch task":
            return _replace(sys.modules["toy_task"].ToyTask, "check", lambda *_: derivation)
        case "hide builtin":
            return _replace(contract, "isinstance", lambda *_: True)
        case "change problem":
            problem.detail["tests"].clear()
            return 0.5
        case "count":
            module.counted = getattr(module, "counted", 0) + 1
            return module.counted
        case _ if completion.startswith("exec: "):
            return _run_model_code(completion.removeprefix("exec: "))
    return remembered.mark() * (add_one(0) == derivation.answer_correct) * len(problem.detail.get("tests", "x"))


def scores_steps(problem, completion, derivation):
    return {"reward": 1.0, "steps": [0.5] * (len(derivation.steps) + ("short" in completion))}
