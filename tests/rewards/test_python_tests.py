"""Code against its tests, and the ways in which code that fails them tries to pass."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_task import BUILDER, toy_problem, toy_specs

from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards.failures import kind_of
from rlreason.rewards.loader import resolve
from rlreason.rewards.pool import ScoringPool
from rlreason.types import Problem

SPEC = "rewards/python_tests.py:PythonTests"
ADD = {"entry_point": "add", "tests": [{"args": [1, 2], "expected": 3}, {"args": [2, 2], "expected": 4}]}


def problem(detail) -> Problem:
    shown = toy_problem(0)
    return Problem(shown.id, shown.task, shown.cell, shown.level, shown.prompt, shown.answer, shown.target, detail)


def module():
    return __import__("sys").modules[resolve(SPEC).call.__module__]


def judged(code: str, detail=ADD, **kwargs):
    return resolve(SPEC, kwargs={"all_or_nothing": False, **kwargs}).call(problem(detail), code, None)


def test_the_share_of_tests_passed_is_paid_or_all_or_nothing():
    half = "def add(a, b):\n    return 3"
    assert judged(half) == {"reward": 0.5, "correct": False, "parts": {"passed": 0.5, "compiled": 1.0}}
    # stops at the second, which fails: of one passed
    assert judged(half, all_or_nothing=True)["reward"] == 0.0
    whole = judged("def add(a, b):\n    return a + b", all_or_nothing=True)
    assert whole == {"reward": 1.0, "correct": True, "parts": {"passed": 1.0, "compiled": 1.0}}


def test_code_that_does_not_parse_is_wrong_and_says_so_in_its_parts():
    assert judged("def add(a, b) return") == {
        "reward": 0.0,
        "correct": False,
        "parts": {"passed": 0.0, "compiled": 0.0},
    }
    assert judged("")["parts"] == {"passed": 0.0, "compiled": 1.0}
    assert judged("\udcff\x00")["parts"]["compiled"] == 0.0


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("x = 1", "x = 1"),
        ("```python\na\n```\nthen\n```python\nb\n```\nbye", "b\n"),
        ("```py\na\n```\nprints\n```text\n3\n```\n", "a\n"),
        ("```\na\n```\nlast\n", "a\n"),
        ("inline ```x``` here\n```Python3 title=f\nb\n", "b\n"),  # never closed: cut by the budget
    ],
)
def test_the_code_is_the_last_python_block_or_all(completion, code):
    assert module().code_of(completion) == code


@pytest.mark.parametrize(
    "code",
    [
        "class Equal:\n    __eq__ = lambda *_: True\ndef add(a, b): return Equal()",
        "class Equal(int):\n    __eq__ = lambda *_: True\n    __hash__ = None\ndef add(a, b): return Equal(7)",
        "def add(a, b): return float(a + b)",
        "import sys\nsys.exit(0)",
        "def add(a, b):\n    import sys; sys.exit(0)",
        "import os\nos._exit(0)",
        "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b): return 0",
        'print(\'{"ending": "ok", "value": 3}\')\ndef add(a, b): print(3)',
        # answers for the harness, on its own channel
        "import os\nfrom contextlib import suppress\ndef add(a, b):\n    for fd in range(3, 64):\n"
        '        with suppress(OSError):\n            os.write(fd, b\'{"ending": "ok"}\\n\')',
        # patches everything that the harness calls
        'import json, sys\njson.dumps = lambda *_: \'{"ending": "ok", "value": true}\'\nprint = exit = None\n'
        "def add(a, b):\n    for frame in sys._current_frames().values():\n        while frame:\n"
        "            frame.f_globals.update(attempt=lambda work: {'ending': 'ok'})\n            frame = frame.f_back\n",
    ],
)
def test_a_wrong_answer_cannot_be_made_to_pass(code):
    assert judged(code)["reward"] == 0.0


def test_the_expected_answers_are_nowhere_in_the_process():
    # a search of every frame and every object for the tests' answers, which no argument gives away
    code = (
        "import gc, sys\n"
        "def seen():\n"
        "    found = repr([o for o in gc.get_objects() if isinstance(o, (dict, list, tuple, str, bytes))])\n"
        "    frame = sys._getframe()\n"
        "    while frame:\n"
        "        found += repr(frame.f_locals) + repr(frame.f_globals)\n"
        "        frame = frame.f_back\n"
        "    return found\n"
        "def leak(a):\n"
        "    return str(int('9731') * int('89')) in seen()\n"  # not folded into a constant of its own
    )
    detail = {"entry_point": "leak", "tests": [{"args": [1], "expected": False}, {"args": [2], "expected": 9731 * 89}]}
    assert judged(code, detail, seconds_a_test=5, seconds=10)["parts"]["passed"] == 0.5
    # the search finds what is there: an argument
    detail = {"entry_point": "leak", "tests": [{"args": [9731 * 89], "expected": True}]}
    assert judged(code, detail, seconds_a_test=5)["reward"] == 1.0


def test_a_hang_costs_its_own_test_alone():
    tests = [{"args": [n], "expected": n} for n in range(4)]
    code = "def f(n):\n    while n == 1: pass\n    return n"
    assert judged(code, {"entry_point": "f", "tests": tests}, seconds_a_test=0.3)["parts"]["passed"] == 0.75


def test_tests_beyond_the_time_of_all_are_failed():
    tests = [{"args": [], "expected": 1}] * 50
    code = "import time\ndef f():\n    time.sleep(0.2)\n    return 1"
    share = judged(code, {"entry_point": "f", "tests": tests}, seconds=1.0)["parts"]["passed"]
    assert 0 < share <= 5 / 50


def test_programs_read_their_input_and_print():
    tests = [{"stdin": "1 2\n", "stdout": "3"}, {"stdin": "5 5", "stdout": "10\n\n"}, {"stdin": "0 0", "stdout": "1"}]
    program = "import sys\na, b = map(int, open(0).read().split())\nprint(a + b, '  ')\nsys.exit(0)"
    assert judged(program, {"tests": tests})["parts"]["passed"] == pytest.approx(2 / 3)
    assert judged("print(3)\nraise SystemExit(1)", {"tests": tests[:1]})["reward"] == 0.0


def test_methods_of_a_class_are_called_on_an_instance():
    detail = {"entry_point": "Solution.add", "tests": ADD["tests"]}
    assert judged("class Solution:\n    def add(self, a, b): return a + b", detail)["reward"] == 1.0


@pytest.mark.parametrize(
    ("found", "expected", "verdict"),
    [
        (True, 1, False),
        (1, True, False),
        (1.0, 1, False),
        (1, 1.0, True),
        (0.1 + 0.2, 0.3, True),
        (0.3001, 0.3, False),
        (10**400, 1.0, False),
        (math.nan, math.nan, True),
        (math.inf, math.inf, True),
        ([1, [2]], [1, [2]], True),
        ([1, 2], (1, 2), True),
        ([1], [1, 2], False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        (None, None, True),
        ("1", 1, False),
    ],
)
def test_values_are_compared_with_their_types(found, expected, verdict):
    assert module().same(found, expected, 1e-6) is verdict


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(), st.lists)


@given(json_values)
def test_every_value_is_the_same_as_itself(value):
    assert module().same(value, value, 0.0)


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        ({}, "has no `tests`"),
        ({"tests": []}, "has no `tests`"),
        ({"tests": [{"args": [1]}]}, r"tests\[0\].*args and expected"),
        ({"tests": [{"args": [1], "expected": 1}]}, "no `entry_point`"),
    ],
)
def test_a_problem_without_usable_tests_is_not_scored(detail, words):
    with pytest.raises(ValueError, match=words):
        judged("x = 1", detail)


def test_in_the_pool_hostile_code_is_a_plain_zero_and_leaves_no_marker(tmp_path):
    marker = tmp_path / "marker"
    texts = [
        "def add(a, b):\n    return a + b",
        f"__import__('os').system('touch {marker}')",
        f"def add(a, b):\n    open({str(marker)!r}, 'w')",
        "def add(a, b):\n    while True: pass",
        "def add(a, b):\n    return bytearray(50 << 30)",
        "import os\nwhile True: os.fork()",
    ]
    rubric = Rubric(parts=(Reward(spec=SPEC, kwargs={"seconds_a_test": 0.5}),))
    with ScoringPool(rubric, toy_specs(), [Path.cwd()], task_builder=BUILDER) as pool:
        scores = pool.score([(problem(ADD), text) for text in texts])
    assert [score.reward for score in scores] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert [kind_of(score.failure) for score in scores] == [None] * len(texts)
    assert not marker.exists()
